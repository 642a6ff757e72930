#include "kubelet/model/fields.h"

#include <algorithm>

#include "base/json_writer.h"
#include "base/strings.h"
#include "kubelet/model/resources.h"

namespace kubelet {
namespace {

std::string FormatMap(const google::protobuf::Map<std::string, std::string>& map) {
  std::map<std::string, std::string> sorted(map.begin(), map.end());
  std::string out;
  for (const auto& [k, v] : sorted) {
    if (!out.empty()) out += '\n';
    out += k + "=" + base::GoQuote(v);
  }
  return out;
}

// "metadata.labels['x']" -> "metadata.labels", "x".
bool SplitSubscript(const std::string& path, std::string& base_path, std::string& key) {
  size_t open = path.find("['");
  if (open == std::string::npos || !path.ends_with("']")) return false;
  base_path = path.substr(0, open);
  key = path.substr(open + 2, path.size() - open - 4);
  return true;
}

}  // namespace

base::Result<std::string> FieldText(const api::Pod& pod, const std::string& path, const NodeFacts& node) {
  const auto& m = pod.metadata();
  std::string base_path, key;
  if (SplitSubscript(path, base_path, key)) {
    const auto* map = base_path == "metadata.labels"        ? &m.labels()
                      : base_path == "metadata.annotations" ? &m.annotations()
                                                            : nullptr;
    if (!map) return base::Err(base::InvalidArgument("fieldPath \"" + path + "\" does not support subscript"));
    auto it = map->find(key);
    return it == map->end() ? std::string() : it->second;
  }
  if (path == "metadata.name") return m.name();
  if (path == "metadata.namespace") return m.namespace_();
  if (path == "metadata.uid") return m.uid();
  if (path == "metadata.labels") return FormatMap(m.labels());
  if (path == "metadata.annotations") return FormatMap(m.annotations());
  if (path == "spec.nodeName") return pod.spec().nodename().empty() ? node.node_name : pod.spec().nodename();
  if (path == "spec.serviceAccountName") return pod.spec().serviceaccountname();
  if (path == "status.hostIP") return node.host_ip;
  if (path == "status.hostIPs") return base::Join(node.host_ips, ",");
  if (path == "status.podIP") return node.pod_ips.empty() ? std::string() : node.pod_ips.front();
  if (path == "status.podIPs") return base::Join(node.pod_ips, ",");
  return base::Err(base::InvalidArgument("unsupported fieldPath: " + path));
}

base::Result<std::string> ResourceText(const api::Pod& pod, const api::ResourceFieldSelector& selector,
                                       const std::string& own_container, const NodeFacts& node) {
  const std::string& name = selector.containername().empty() ? own_container : selector.containername();
  ContainerPtr c = FindContainer(pod, name);
  if (!c) return base::Err(base::NotFound("container " + name + " not found"));
  const std::string& field = selector.resource();
  bool limits = field.starts_with("limits.");
  if (!limits && !field.starts_with("requests."))
    return base::Err(base::InvalidArgument("unsupported container resource : " + field));
  std::string resource = field.substr(field.find('.') + 1);
  int64_t milli;
  const auto& list = limits ? c->resources().limits() : c->resources().requests();
  if (auto v = QuantityIn(list, resource)) {
    milli = *v;
  } else if (!limits) {
    milli = 0;
  } else if (resource == "cpu") {
    milli = node.allocatable_milli_cpu;
  } else if (resource == "memory") {
    milli = node.allocatable_memory * 1000;
  } else if (resource == "ephemeral-storage") {
    milli = node.allocatable_storage * 1000;
  } else {
    milli = 0;
  }
  int64_t divisor = ParseMilli(selector.divisor().string()).value_or(0);
  if (divisor <= 0) divisor = 1000;
  return std::to_string(milli / divisor + (milli % divisor ? 1 : 0));
}

}  // namespace kubelet
