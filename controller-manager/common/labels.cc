#include "controller-manager/common/labels.h"

#include <algorithm>

#include "machinery/client/micro_time.h"

namespace controller_manager {
namespace {
bool Meets(const meta::LabelSelectorRequirement& r, const LabelMap& labels) {
  auto it = labels.find(r.key());
  bool there = it != labels.end();
  const auto& op = r.operator_();
  if (op == "Exists") return there;
  if (op == "DoesNotExist") return !there;
  bool listed = there && std::ranges::find(r.values(), it->second) != r.values().end();
  return op == "In" ? listed : op == "NotIn" && !listed;
}
}  // namespace

bool Contains(const LabelMap& labels, const LabelMap& wanted) {
  return std::ranges::all_of(wanted, [&](const auto& pair) {
    auto it = labels.find(pair.first);
    return it != labels.end() && it->second == pair.second;
  });
}

bool Matches(const meta::LabelSelector& selector, const LabelMap& labels) {
  return Contains(labels, selector.matchlabels()) &&
         std::ranges::all_of(selector.matchexpressions(), [&](const auto& r) { return Meets(r, labels); });
}

bool IsEmpty(const meta::LabelSelector& selector) {
  return selector.matchlabels().empty() && selector.matchexpressions().empty();
}

const std::string& Annotation(const meta::ObjectMeta& m, const std::string& key) {
  static const std::string none;
  auto it = m.annotations().find(key);
  return it == m.annotations().end() ? none : it->second;
}

const meta::OwnerReference* ControllerRef(const meta::ObjectMeta& m) {
  for (const auto& o : m.ownerreferences())
    if (o.controller()) return &o;
  return nullptr;
}

std::string ControllerUid(const meta::ObjectMeta& m) {
  const auto* ref = ControllerRef(m);
  return ref ? ref->uid() : std::string();
}

bool RemoveOwner(meta::ObjectMeta& m, const std::string& uid) {
  auto* owners = m.mutable_ownerreferences();
  auto it = std::find_if(owners->begin(), owners->end(), [&](const auto& o) { return o.uid() == uid; });
  if (it == owners->end()) return false;
  owners->erase(it);
  return true;
}

bool IsTerminal(const core::Pod& pod) {
  return pod.status().phase() == "Succeeded" || pod.status().phase() == "Failed";
}

bool IsActive(const core::Pod& pod) { return !IsTerminal(pod) && !pod.metadata().has_deletiontimestamp(); }

const core::PodCondition* Condition(const core::Pod& pod, std::string_view type) {
  for (const auto& c : pod.status().conditions())
    if (c.type() == type) return &c;
  return nullptr;
}

bool IsReady(const core::Pod& pod) {
  const auto* c = Condition(pod, "Ready");
  return c && c->status() == "True";
}

bool IsAvailable(const core::Pod& pod, int32_t min_ready_seconds, base::WallTime now) {
  if (!IsReady(pod)) return false;
  if (min_ready_seconds == 0) return true;
  const auto* c = Condition(pod, "Ready");
  if (!c->has_lasttransitiontime()) return false;
  return machinery::client::ToWallTime(c->lasttransitiontime()) + std::chrono::seconds(min_ready_seconds) <= now;
}

}  // namespace controller_manager
