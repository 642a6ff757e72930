#include "scheduler/node_selector.h"

#include <algorithm>
#include <charconv>

#include "proto/k8s/core/v1/node.pb.h"
#include "proto/k8s/core/v1/pod.pb.h"

namespace scheduler {
namespace {
using k8s::io::api::core::v1::NodeSelector;
using k8s::io::api::core::v1::NodeSelectorRequirement;
using k8s::io::api::core::v1::NodeSelectorTerm;

bool ToNumber(const std::string& text, int64_t& out) {
  auto r = std::from_chars(text.data(), text.data() + text.size(), out);
  return r.ec == std::errc() && r.ptr == text.data() + text.size();
}

bool Meets(const NodeSelectorRequirement& r, const std::string* value) {
  const auto& op = r.operator_();
  if (op == "Exists") return value != nullptr;
  if (op == "DoesNotExist") return value == nullptr;
  bool listed = value && std::ranges::find(r.values(), *value) != r.values().end();
  if (op == "In") return listed;
  if (op == "NotIn") return !listed;
  int64_t have = 0, wanted = 0;
  if (!value || r.values_size() != 1 || !ToNumber(*value, have) || !ToNumber(r.values(0), wanted)) return false;
  return op == "Gt" ? have > wanted : op == "Lt" && have < wanted;
}
}  // namespace

bool Matches(const NodeSelectorTerm& term, const Node& node) {
  if (term.matchexpressions().empty() && term.matchfields().empty()) return false;
  const auto& labels = node.metadata().labels();
  for (const auto& r : term.matchexpressions()) {
    auto it = labels.find(r.key());
    if (!Meets(r, it == labels.end() ? nullptr : &it->second)) return false;
  }
  for (const auto& r : term.matchfields())
    if (!Meets(r, r.key() == "metadata.name" ? &node.metadata().name() : nullptr)) return false;
  return true;
}

bool Matches(const NodeSelector& selector, const Node& node) {
  return std::ranges::any_of(selector.nodeselectorterms(), [&](const auto& t) { return Matches(t, node); });
}

bool RequiredAffinityMatches(const Pod& pod, const Node& node) {
  const auto& labels = node.metadata().labels();
  for (const auto& [key, value] : pod.spec().nodeselector()) {
    auto it = labels.find(key);
    if (it == labels.end() || it->second != value) return false;
  }
  const auto& affinity = pod.spec().affinity().nodeaffinity();
  if (!affinity.has_requiredduringschedulingignoredduringexecution()) return true;
  return Matches(affinity.requiredduringschedulingignoredduringexecution(), node);
}

}  // namespace scheduler
