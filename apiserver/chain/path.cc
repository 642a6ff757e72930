#include "apiserver/chain/rest.h"

namespace apiserver::chain {

namespace {

// Takes the next segment off `rest`, percent-decoded.
std::string Segment(std::string_view& rest) {
  auto slash = rest.find('/');
  std::string out = base::net::PercentDecode(rest.substr(0, slash));
  rest = slash == rest.npos ? std::string_view() : rest.substr(slash + 1);
  return out;
}

}  // namespace

ParsedPath ParseResourcePath(std::string_view path) {
  ParsedPath p;
  while (path.ends_with('/')) path.remove_suffix(1);
  if (path.starts_with("/api/")) {
    path.remove_prefix(5);
  } else if (path.starts_with("/apis/")) {
    path.remove_prefix(6);
    p.group = Segment(path);
    if (p.group.empty()) return p;
  } else {
    return p;
  }
  p.version = Segment(path);
  if (path.empty()) return p;
  std::string first = Segment(path);
  if (first == "watch" && !path.empty()) {
    p.watch_prefix = true;
    first = Segment(path);
  }
  // "namespaces/x/pods" scopes; "namespaces/x" and its own subresources are the namespace itself.
  if (first == "namespaces" && !path.empty()) {
    std::string ns = Segment(path);
    std::string_view ahead = path;
    std::string next = Segment(ahead);
    if (next.empty() || ((next == "status" || next == "finalize") && ahead.empty())) {
      p.resource_name = first;
      p.name = ns;
      p.subresource = next;
      p.resource = true;
      return p;
    }
    p.namespace_name = ns;
    first = next;
    path = ahead;
  }
  p.resource = true;
  p.resource_name = first;
  p.name = Segment(path);
  p.subresource = Segment(path);
  p.subpath = path;
  return p;
}

}  // namespace apiserver::chain
