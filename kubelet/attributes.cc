#include "kubelet/attributes.h"

namespace kubelet {
namespace {

struct Rule {
  std::string_view path, subresource;
};
constexpr Rule kFine[] = {
    {"/pods", "pods"}, {"/healthz", "healthz"}, {"/configz", "configz"}, {"/runningpods", "pods"}};
constexpr Rule kOwn[] = {{"/stats", "stats"},           {"/metrics", "metrics"}, {"/logs", "log"},
                         {"/checkpoint", "checkpoint"}, {"/statusz", "statusz"}, {"/flagz", "configz"}};

bool IsBelow(std::string_view path, std::string_view top) {
  return path.starts_with(top) && (path.size() == top.size() || path[top.size()] == '/');
}

}  // namespace

std::string VerbOf(std::string_view method) {
  if (method == "GET") return "get";
  if (method == "POST") return "create";
  if (method == "PUT") return "update";
  if (method == "PATCH") return "patch";
  if (method == "DELETE") return "delete";
  return "";
}

std::vector<std::string> SubresourcesOf(std::string_view path) {
  std::vector<std::string> out;
  for (const Rule& r : kFine)
    if (out.empty() && IsBelow(path, r.path)) out.emplace_back(r.subresource);
  for (const Rule& r : kOwn)
    if (IsBelow(path, r.path)) {
      out.emplace_back(r.subresource);
      return out;
    }
  out.emplace_back("proxy");
  return out;
}

}  // namespace kubelet
