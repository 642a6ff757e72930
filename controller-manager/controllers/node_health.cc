// helper: what node conditions mean, for node_lifecycle.cc, taint_eviction.cc and pod_gc.cc.
#include "controller-manager/controllers/node_health.h"

#include <algorithm>
#include <limits>

#include "machinery/client/micro_time.h"

namespace controller_manager {
namespace {
using core::Node;
using core::NodeCondition;
using core::Taint;
using core::Toleration;

struct ConditionTaint {
  const char *condition, *status, *taint;
};
constexpr char kNotReady[] = "node.kubernetes.io/not-ready";
constexpr char kUnreachable[] = "node.kubernetes.io/unreachable";
constexpr char kUnschedulable[] = "node.kubernetes.io/unschedulable";
constexpr ConditionTaint kTaints[] = {
    {"Ready", "False", kNotReady},
    {"Ready", "Unknown", kUnreachable},
    {"MemoryPressure", "True", "node.kubernetes.io/memory-pressure"},
    {"DiskPressure", "True", "node.kubernetes.io/disk-pressure"},
    {"PIDPressure", "True", "node.kubernetes.io/pid-pressure"},
    {"NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"},
};

std::vector<std::string> WantedNoSchedule(const Node& node) {
  std::vector<std::string> out;
  for (const auto& t : kTaints) {
    const auto* c = FindCondition(node, t.condition);
    if (c && c->status() == t.status) out.emplace_back(t.taint);
  }
  if (node.spec().unschedulable()) out.emplace_back(kUnschedulable);
  return out;
}

bool IsOurNoSchedule(const Taint& t) {
  return t.effect() == "NoSchedule" &&
         (t.key() == kUnschedulable || std::ranges::any_of(kTaints, [&](const auto& k) { return t.key() == k.taint; }));
}

bool IsReadiness(const Taint& t) {
  return t.effect() == "NoExecute" && (t.key() == kNotReady || t.key() == kUnreachable);
}

// Replaces the taints that `ours` picks by these keys; what is there already keeps its time.
template <class Ours>
bool Fix(Node& node, const std::vector<std::string>& keys, const std::string& effect, base::WallTime now, Ours ours) {
  auto* all = node.mutable_spec()->mutable_taints();
  int before = all->size();
  all->erase(std::remove_if(all->begin(), all->end(),
                            [&](const Taint& t) { return ours(t) && std::ranges::find(keys, t.key()) == keys.end(); }),
             all->end());
  bool changed = all->size() != before;
  for (const auto& key : keys) {
    if (std::ranges::any_of(*all, [&](const Taint& t) { return t.key() == key && t.effect() == effect; })) continue;
    auto* t = all->Add();
    t->set_key(key);
    t->set_effect(effect);
    machinery::client::SetTime(*t->mutable_timeadded(), now);
    changed = true;
  }
  return changed;
}

bool Tolerates(const Toleration& toleration, const Taint& taint) {
  if (!toleration.effect().empty() && toleration.effect() != taint.effect()) return false;
  if (!toleration.key().empty() && toleration.key() != taint.key()) return false;
  return toleration.operator_() == "Exists" || toleration.value() == taint.value();
}
}  // namespace

const NodeCondition* FindCondition(const Node& node, std::string_view type) {
  for (const auto& c : node.status().conditions())
    if (c.type() == type) return &c;
  return nullptr;
}

bool MarkUnknown(Node& node, base::WallTime now) {
  bool changed = false;
  for (std::string type : {"Ready", "MemoryPressure", "DiskPressure", "PIDPressure"}) {
    auto* all = node.mutable_status()->mutable_conditions();
    auto it = std::find_if(all->begin(), all->end(), [&](const auto& c) { return c.type() == type; });
    bool fresh = it == all->end();
    NodeCondition* c = fresh ? all->Add() : &*it;
    if (c->status() == "Unknown") continue;
    c->set_type(type);
    c->set_status("Unknown");
    c->set_reason(fresh ? "NodeStatusNeverUpdated" : "NodeStatusUnknown");
    c->set_message(fresh ? "Kubelet never posted node status." : "Kubelet stopped posting node status.");
    machinery::client::SetTime(*c->mutable_lasttransitiontime(), now);
    if (fresh) *c->mutable_lastheartbeattime() = node.metadata().creationtimestamp();
    changed = true;
  }
  return changed;
}

bool FixNoScheduleTaints(Node& node, base::WallTime now) {
  return Fix(node, WantedNoSchedule(node), "NoSchedule", now, IsOurNoSchedule);
}

std::string NoExecuteTaint(const Node& node) {
  const auto* ready = FindCondition(node, "Ready");
  if (!ready || ready->status() == "True") return {};
  return ready->status() == "False" ? kNotReady : kUnreachable;
}

bool FixNoExecuteTaint(Node& node, const std::string& wanted, base::WallTime now) {
  std::vector<std::string> keys;
  if (!wanted.empty()) keys.push_back(wanted);
  return Fix(node, keys, "NoExecute", now, IsReadiness);
}

bool HasNoExecuteTaint(const Node& node, const std::string& key) {
  return std::ranges::any_of(node.spec().taints(),
                             [&](const Taint& t) { return t.effect() == "NoExecute" && t.key() == key; });
}

bool HasReadinessTaint(const Node& node) { return std::ranges::any_of(node.spec().taints(), IsReadiness); }

std::optional<base::WallTime> EvictionTime(const core::PodSpec& pod, const core::NodeSpec& node,
                                           base::WallTime noticed) {
  std::optional<base::WallTime> out;
  for (const auto& taint : node.taints()) {
    if (taint.effect() != "NoExecute") continue;
    constexpr int64_t kForEver = std::numeric_limits<int64_t>::max();
    int64_t patience = -1;  // nobody tolerates it
    for (const auto& t : pod.tolerations()) {
      if (!Tolerates(t, taint)) continue;
      int64_t seconds = t.has_tolerationseconds() ? std::max<int64_t>(t.tolerationseconds(), 0) : kForEver;
      patience = patience < 0 ? seconds : std::min(patience, seconds);
    }
    if (patience < 0) return base::WallTime::min();
    // A century is for ever, and does not overflow a time.
    if (patience > int64_t{100} * 365 * 86400) continue;
    base::WallTime added = taint.has_timeadded() ? machinery::client::ToWallTime(taint.timeadded()) : noticed;
    base::WallTime due = added + std::chrono::seconds(patience);
    if (!out || due < *out) out = due;
  }
  return out;
}

std::string ZoneOf(const Node& node) {
  auto label = [&](const char* key, const char* old) {
    const auto& all = node.metadata().labels();
    auto it = all.find(key);
    if (it == all.end()) it = all.find(old);
    return it == all.end() ? std::string() : it->second;
  };
  std::string zone = label("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone");
  std::string region = label("topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region");
  if (zone.empty() && region.empty()) return {};
  // The zero byte keeps a region "a" with zone "b" apart from anything a label may hold.
  return region + ":" + std::string(1, '\0') + ":" + zone;
}

Hearing::Verdict Hearing::Begin(bool answered, base::MonoTime now) {
  // A process that stood still, or a machine that slept, heard nobody either.
  if (begun_ && now - last_ > 2 * period_ + std::chrono::seconds(5)) deaf_ = true;
  begun_ = true;
  last_ = now;
  if (!answered) deaf_ = true;
  if (!answered) return Verdict::kDeaf;
  return std::exchange(deaf_, false) ? Verdict::kBack : Verdict::kGood;
}

void Hearing::End(bool failed, base::MonoTime now) {
  last_ = now;
  deaf_ = deaf_ || failed;
}

ZoneState StateOf(const ZoneCounts& zone, double unhealthy_threshold) {
  if (zone.ready == 0 && zone.not_ready > 0) return ZoneState::kFullDisruption;
  if (zone.not_ready > 2 && zone.not_ready >= unhealthy_threshold * zone.size()) return ZoneState::kPartialDisruption;
  return ZoneState::kNormal;
}

void Disruption::Fill(Zone& zone, base::MonoTime now) {
  double seconds = std::chrono::duration<double>(now - zone.filled).count();
  zone.tokens = std::min(1.0, zone.tokens + seconds * zone.rate);
  zone.filled = now;
}

void Disruption::SetRate(Zone& zone, double rate, base::MonoTime now) {
  Fill(zone, now);
  zone.rate = rate;
}

Disruption::Zone& Disruption::Of(const std::string& zone, base::MonoTime now) {
  auto [it, fresh] = zones_.try_emplace(zone);
  if (fresh) {
    it->second.rate = rates_.normal;
    it->second.filled = now;
  }
  return it->second;
}

double Disruption::RateFor(ZoneState state, int size) const {
  if (state != ZoneState::kPartialDisruption) return rates_.normal;
  return size > rates_.large_zone ? rates_.secondary : 0;
}

Disruption::Change Disruption::Update(const std::map<std::string, ZoneCounts>& counts, base::MonoTime now) {
  for (const auto& [name, c] : counts) Of(name, now);
  std::erase_if(zones_, [&](const auto& z) { return !counts.contains(z.first); });
  std::map<std::string, ZoneState> states;
  bool all_now = true, all_before = true;
  for (auto& [name, zone] : zones_) {
    states[name] = StateOf(counts.at(name), rates_.unhealthy_threshold);
    all_now &= states[name] == ZoneState::kFullDisruption;
    all_before &= zone.state == ZoneState::kFullDisruption;
  }
  if (zones_.empty() || (all_now && all_before)) return Change::kNone;
  for (auto& [name, zone] : zones_) {
    if (all_now || all_before || zone.state != states[name])
      SetRate(zone, all_now ? 0 : RateFor(states[name], counts.at(name).size()), now);
    zone.state = states[name];
  }
  return all_now ? Change::kEntered : all_before ? Change::kLeft : Change::kNone;
}

bool Disruption::MayEmptyNode(const std::string& zone_name, base::MonoTime now) {
  Zone& zone = Of(zone_name, now);
  Fill(zone, now);
  // A zone that is cut off with its neighbours keeps the permission it had, for when it may use it.
  if (zone.rate <= 0 || zone.tokens < 1) return false;
  zone.tokens -= 1;
  return true;
}

}  // namespace controller_manager
