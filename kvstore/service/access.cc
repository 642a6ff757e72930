#include "kvstore/service/access.h"

#include <algorithm>

namespace kvstore::service {

namespace {

bool Lists(const std::vector<std::string>& list, std::string_view word) {
  return list.empty() || std::ranges::any_of(list, [&](const std::string& s) { return s == "*" || s == word; });
}

}  // namespace

base::net::Headers AccessControl::AnswerHeaders(const base::net::Headers& request) const {
  base::net::Headers h;
  bool everybody = Lists(origins, "*");
  std::string_view origin = request.Get("origin");
  if (!everybody && !Lists(origins, origin)) return h;
  h.Add("access-control-allow-methods", "POST, GET, OPTIONS, PUT, DELETE");
  h.Add("access-control-allow-origin", everybody ? "*" : std::string(origin));
  h.Add("access-control-allow-headers", "accept, content-type, authorization");
  return h;
}

std::string_view HostName(std::string_view host) {
  size_t colon = host.rfind(':');
  if (colon == host.npos) return host;
  std::string_view name = host.substr(0, colon);
  if (name.starts_with('[') && name.ends_with(']')) return name.substr(1, name.size() - 2);
  return name.find(':') == name.npos ? name : host;
}

bool AccessControl::HostAllowed(std::string_view host) const { return Lists(hosts, HostName(host)); }

std::string UnknownHostText(std::string_view host) {
  return "\netcd received your request, but the Host header was unrecognized.\n\n"
         "To fix this, choose one of the following options:\n"
         "- Enable TLS, then any HTTPS request will be allowed.\n"
         "- Add the hostname you want to use to the whitelist in settings.\n"
         "  - e.g. etcd --host-whitelist \"" +
         std::string(HostName(host)) +
         "\"\n\nThis requirement has been added to help prevent \"DNS Rebinding\" attacks (CVE-2018-5702).\n\n";
}

}  // namespace kvstore::service
