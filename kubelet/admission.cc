#include "kubelet/admission.h"

#include <fmt/format.h>

#include <algorithm>

#include "kubelet/model/resources.h"
#include "kubelet/pod/app_armor.h"

namespace kubelet {
namespace {

using Labels = google::protobuf::Map<std::string, std::string>;

bool Matches(const api::NodeSelectorRequirement& r, const std::string* value) {
  const auto& op = r.operator_();
  if (op == "Exists") return value != nullptr;
  if (op == "DoesNotExist") return value == nullptr;
  bool in = value && std::ranges::find(r.values(), *value) != r.values().end();
  if (op == "In") return in;
  if (op == "NotIn") return !in;
  if ((op != "Gt" && op != "Lt") || !value || r.values_size() != 1) return false;
  long long have = atoll(value->c_str()), bound = atoll(r.values(0).c_str());
  return op == "Gt" ? have > bound : have < bound;
}

bool Matches(const api::NodeSelectorTerm& term, const api::Node& node) {
  if (term.matchexpressions().empty() && term.matchfields().empty()) return false;
  for (const auto& r : term.matchexpressions()) {
    auto it = node.metadata().labels().find(r.key());
    if (!Matches(r, it == node.metadata().labels().end() ? nullptr : &it->second)) return false;
  }
  for (const auto& r : term.matchfields())
    if (r.key() != "metadata.name" || !Matches(r, &node.metadata().name())) return false;
  return true;
}

bool AffinityHolds(const api::Pod& pod, const api::Node& node) {
  for (const auto& [k, v] : pod.spec().nodeselector()) {
    auto it = node.metadata().labels().find(k);
    if (it == node.metadata().labels().end() || it->second != v) return false;
  }
  const auto& affinity = pod.spec().affinity().nodeaffinity();
  if (!affinity.has_requiredduringschedulingignoredduringexecution()) return true;
  const auto& terms = affinity.requiredduringschedulingignoredduringexecution().nodeselectorterms();
  return std::ranges::any_of(terms, [&](const auto& t) { return Matches(t, node); });
}

template <class F>
void ForHostPorts(const api::Pod& pod, F f) {
  for (const auto& c : pod.spec().containers())
    for (const auto& p : c.ports()) {
      int port = pod.spec().hostnetwork() && !p.hostport() ? p.containerport() : p.hostport();
      if (port > 0) f(p.hostip().empty() ? "0.0.0.0" : p.hostip(), p.protocol().empty() ? "TCP" : p.protocol(), port);
    }
}

bool PortsFree(const AdmissionInput& in) {
  bool free = true;
  ForHostPorts(in.pod, [&](const std::string& ip, const std::string& protocol, int port) {
    for (const auto& other : in.active)
      ForHostPorts(*other, [&](const std::string& ip2, const std::string& protocol2, int port2) {
        if (port == port2 && protocol == protocol2 && (ip == ip2 || ip == "0.0.0.0" || ip2 == "0.0.0.0")) free = false;
      });
  });
  return free;
}

// The numbers of the original's text: CPU in thousandths, everything else whole.
int64_t Shown(const std::string& resource, int64_t milli) {
  return resource == "cpu" ? milli : milli / 1000 + (milli % 1000 ? 1 : 0);
}

}  // namespace

std::optional<pod::WaitReason> Admit(const AdmissionInput& in) {
  if (in.sysctls)
    if (auto why = in.sysctls->Forbidden(in.pod)) return pod::WaitReason{"SysctlForbidden", *why};
  std::map<std::string, int64_t> used;
  for (const auto& p : in.active)
    for (const auto& [name, milli] : Aggregate(*p).requests) used[name] += milli;
  used["pods"] = static_cast<int64_t>(in.active.size()) * 1000;
  std::map<std::string, int64_t> wanted = Aggregate(in.pod).requests;
  wanted["pods"] = 1000;
  // The count of pods goes first, then CPU and memory, as the scheduler's own check does.
  std::vector<std::string> order = {"pods", "cpu", "memory", "ephemeral-storage"};
  for (const auto& [name, milli] : wanted)
    if (std::ranges::find(order, name) == order.end()) order.push_back(name);
  for (const auto& name : order) {
    auto want = wanted.find(name);
    if (want == wanted.end() || want->second == 0) continue;
    auto have = in.allocatable.find(name);
    int64_t capacity = have == in.allocatable.end() ? 0 : have->second;
    if (used[name] + want->second <= capacity) continue;
    return pod::WaitReason{
        "OutOf" + name, fmt::format("Node didn't have enough resource: {}, requested: {}, used: {}, capacity: {}", name,
                                    Shown(name, want->second), Shown(name, used[name]), Shown(name, capacity))};
  }
  if (in.node && !AffinityHolds(in.pod, *in.node))
    return pod::WaitReason{"NodeAffinity",
                           "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"};
  if (!PortsFree(in))
    return pod::WaitReason{"NodePorts",
                           "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"};
  if (in.pod.spec().os().name() == "windows")
    return pod::WaitReason{"PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS"};
  if (auto why = pod::AppArmorRefusal(in.pod, in.app_armor)) return pod::WaitReason{"AppArmor", *why};
  return std::nullopt;
}

}  // namespace kubelet
