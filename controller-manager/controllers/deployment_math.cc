// helper: the arithmetic of rolling updates, for deployment.cc.
#include "controller-manager/controllers/deployment_math.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/bytes.h"
#include "controller-manager/common/int_or_percent.h"
#include "controller-manager/common/labels.h"
#include "machinery/client/micro_time.h"

namespace controller_manager {
namespace {

// The same bytes for the same message: maps are sorted.
std::string Canonical(const google::protobuf::MessageLite& m) {
  std::string out;
  {
    google::protobuf::io::StringOutputStream stream(&out);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    m.SerializePartialToCodedStream(&coded);
  }
  return out;
}

bool OlderFirst(const apps::ReplicaSet* a, const apps::ReplicaSet* b) {
  int64_t ta = a->metadata().creationtimestamp().seconds(), tb = b->metadata().creationtimestamp().seconds();
  return ta != tb ? ta < tb : a->metadata().name() < b->metadata().name();
}

// What a field can hold: numbers of objects that nobody validated may be anything, and their sums more.
int32_t Fit(int64_t n) {
  return static_cast<int32_t>(
      std::clamp<int64_t>(n, std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max()));
}
// A number of replicas that may be asked for.
int32_t Replicas(int64_t n) { return Fit(std::max<int64_t>(n, 0)); }

int32_t AnnotatedNumber(const apps::ReplicaSet& rs, const char* key) {
  return Replicas(std::strtoll(Annotation(rs.metadata(), key).c_str(), nullptr, 10));
}

template <class F>
int64_t Sum(const Sets& sets, F of) {
  int64_t out = 0;
  for (const auto* s : sets) out += of(*s);
  return out;
}

// How many replicas a set's share of the deployment's new size would add or take (rounded).
int64_t Share(const apps::Deployment& d, const apps::ReplicaSet& rs) {
  if (d.spec().replicas() == 0) return -int64_t{rs.spec().replicas()};
  int32_t before = AnnotatedNumber(rs, kMaxReplicas);
  if (before == 0) before = d.status().replicas();
  if (before <= 0) return 0;
  double size = static_cast<double>(rs.spec().replicas()) * (double{1} * d.spec().replicas() + MaxSurge(d)) / before;
  return std::llround(std::clamp(size, 0.0, double{std::numeric_limits<int32_t>::max()})) - rs.spec().replicas();
}
}  // namespace

bool IsRollingUpdate(const apps::Deployment& d) { return d.spec().strategy().type() == "RollingUpdate"; }

int32_t MaxSurge(const apps::Deployment& d) {
  if (!IsRollingUpdate(d)) return 0;
  return std::max(Resolve(d.spec().strategy().rollingupdate().maxsurge(), d.spec().replicas(), true), 0);
}

int32_t MaxUnavailable(const apps::Deployment& d) {
  if (!IsRollingUpdate(d) || d.spec().replicas() == 0) return 0;
  int32_t out = std::max(Resolve(d.spec().strategy().rollingupdate().maxunavailable(), d.spec().replicas(), false), 0);
  // Both zero would stand still for ever; a deployment that rounds to that may lose one.
  if (out == 0 && MaxSurge(d) == 0) out = 1;
  return std::min(out, d.spec().replicas());
}

bool HasProgressDeadline(const apps::Deployment& d) {
  return d.spec().has_progressdeadlineseconds() &&
         d.spec().progressdeadlineseconds() != std::numeric_limits<int32_t>::max();
}

bool EqualIgnoreHash(const core::PodTemplateSpec& a, const core::PodTemplateSpec& b) {
  auto stripped = [](core::PodTemplateSpec t) {
    t.mutable_metadata()->mutable_labels()->erase(kTemplateHash);
    return Canonical(t);
  };
  return stripped(a) == stripped(b);
}

std::string TemplateHash(const core::PodTemplateSpec& t, int32_t collision_count) {
  std::string bytes = Canonical(t);
  if (collision_count > 0) base::PutLittleEndian32(bytes, static_cast<uint32_t>(collision_count));
  // Vowels, and digits that look like them, are left out so that no words arise.
  constexpr char kSafe[] = "bcdfghjklmnpqrstvwxz2456789";
  std::string out = std::to_string(base::Fnv1a32(bytes));
  for (auto& c : out) c = kSafe[static_cast<uint8_t>(c) % 27];
  return out;
}

int64_t RevisionOfSet(const apps::ReplicaSet& rs) {
  // There is one more after it, whatever somebody wrote there.
  return std::min<int64_t>(std::strtoll(Annotation(rs.metadata(), kRevision).c_str(), nullptr, 10),
                           std::numeric_limits<int64_t>::max() - 1);
}

int64_t SpecReplicas(const Sets& sets) {
  return Sum(sets, [](const auto& s) { return s.spec().replicas(); });
}
int64_t ActualReplicas(const Sets& sets) {
  return Sum(sets, [](const auto& s) { return s.status().replicas(); });
}
int64_t ReadyReplicas(const Sets& sets) {
  return Sum(sets, [](const auto& s) { return s.status().readyreplicas(); });
}
int64_t AvailableReplicas(const Sets& sets) {
  return Sum(sets, [](const auto& s) { return s.status().availablereplicas(); });
}

int32_t NewSetReplicas(const apps::Deployment& d, const Sets& all, const apps::ReplicaSet& newest) {
  if (!IsRollingUpdate(d)) return Replicas(d.spec().replicas());
  int64_t total = SpecReplicas(all), most = int64_t{d.spec().replicas()} + MaxSurge(d);
  int64_t now = newest.spec().replicas();
  if (total >= most) return newest.spec().replicas();
  return Replicas(now + std::min(most - total, d.spec().replicas() - now));
}

std::vector<Step> ShrinkOldSets(const apps::Deployment& d, const Sets& all, Sets old, const apps::ReplicaSet* newest) {
  std::vector<Step> out;
  if (SpecReplicas(old) == 0) return out;
  int64_t least = int64_t{d.spec().replicas()} - MaxUnavailable(d);
  int64_t new_unavailable = newest ? int64_t{newest->spec().replicas()} - newest->status().availablereplicas() : 0;
  int64_t room = SpecReplicas(all) - least - new_unavailable;
  if (room <= 0) return out;
  std::ranges::sort(old, OlderFirst);
  std::map<const apps::ReplicaSet*, int64_t> size;
  int64_t unhealthy = 0;
  for (auto* s : old) {
    size[s] = s->spec().replicas();
    int64_t useless = std::max<int64_t>(int64_t{s->spec().replicas()} - s->status().availablereplicas(), 0);
    int64_t take = std::min(room - unhealthy, useless);
    size[s] -= take;
    unhealthy += take;
  }
  int64_t spare = AvailableReplicas(all) - least;
  for (auto* s : old) {
    if (spare <= 0) break;
    int64_t take = std::min(size[s], spare);
    size[s] -= take;
    spare -= take;
  }
  for (auto* s : old)
    if (size[s] != s->spec().replicas()) out.push_back({s, Replicas(size[s])});
  return out;
}

std::vector<Step> Proportional(const apps::Deployment& d, Sets active) {
  int64_t allowed = d.spec().replicas() > 0 ? int64_t{d.spec().replicas()} + MaxSurge(d) : 0;
  int64_t to_add = allowed - SpecReplicas(active);
  // The largest first; of equals the newer one grows first and the older one shrinks first.
  std::ranges::sort(active, [&](const auto* a, const auto* b) {
    if (a->spec().replicas() != b->spec().replicas()) return a->spec().replicas() > b->spec().replicas();
    return to_add > 0 ? OlderFirst(b, a) : OlderFirst(a, b);
  });
  std::vector<Step> out;
  int64_t added = 0;
  for (auto* s : active) {
    int64_t change = 0;
    if (to_add != 0 && s->spec().replicas() != 0 && to_add != added) {
      int64_t left = to_add - added;
      change = to_add > 0 ? std::min(Share(d, *s), left) : std::max(Share(d, *s), left);
    }
    added += change;
    out.push_back({s, Replicas(s->spec().replicas() + change)});
  }
  if (!out.empty() && to_add != 0) out[0].replicas = Replicas(out[0].replicas + to_add - added);
  return out;
}

apps::DeploymentStatus CalculateStatus(const apps::Deployment& d, const Sets& all, const apps::ReplicaSet* newest,
                                       base::WallTime now) {
  apps::DeploymentStatus s;
  int64_t total = ActualReplicas(all), available = AvailableReplicas(all);
  s.set_observedgeneration(d.metadata().generation());
  s.set_replicas(Fit(total));
  s.set_updatedreplicas(newest ? newest->status().replicas() : 0);
  s.set_readyreplicas(Fit(ReadyReplicas(all)));
  s.set_availablereplicas(Fit(available));
  s.set_unavailablereplicas(Replicas(total - available));
  if (d.status().has_collisioncount()) s.set_collisioncount(d.status().collisioncount());
  s.set_terminatingreplicas(Fit(Sum(all, [](const auto& rs) { return rs.status().terminatingreplicas(); })));
  *s.mutable_conditions() = d.status().conditions();
  if (available >= int64_t{d.spec().replicas()} - MaxUnavailable(d))
    SetCondition(
        s, MakeCondition("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", now));
  else
    SetCondition(s, MakeCondition("Available", "False", "MinimumReplicasUnavailable",
                                  "Deployment does not have minimum availability.", now));
  return s;
}

bool IsComplete(const apps::Deployment& d, const apps::DeploymentStatus& s) {
  int32_t n = d.spec().replicas();
  return s.updatedreplicas() == n && s.replicas() == n && s.availablereplicas() == n &&
         s.observedgeneration() >= d.metadata().generation();
}

bool IsProgressing(const apps::DeploymentStatus& before, const apps::DeploymentStatus& after) {
  return after.updatedreplicas() > before.updatedreplicas() ||
         int64_t{after.replicas()} - after.updatedreplicas() < int64_t{before.replicas()} - before.updatedreplicas() ||
         after.readyreplicas() > before.readyreplicas() || after.availablereplicas() > before.availablereplicas();
}

bool HasTimedOut(const apps::Deployment& d, const apps::DeploymentStatus& s, base::WallTime now) {
  const auto* c = FindCondition(s, "Progressing");
  if (!HasProgressDeadline(d) || !c || c->reason() == "NewReplicaSetAvailable") return false;
  if (c->reason() == "ProgressDeadlineExceeded") return true;
  return machinery::client::ToWallTime(c->lastupdatetime()) + std::chrono::seconds(d.spec().progressdeadlineseconds()) <
         now;
}

const apps::DeploymentCondition* FindCondition(const apps::DeploymentStatus& s, const std::string& type) {
  for (const auto& c : s.conditions())
    if (c.type() == type) return &c;
  return nullptr;
}

apps::DeploymentCondition MakeCondition(const std::string& type, const std::string& status, const std::string& reason,
                                        const std::string& message, base::WallTime now) {
  apps::DeploymentCondition c;
  c.set_type(type);
  c.set_status(status);
  c.set_reason(reason);
  c.set_message(message);
  machinery::client::SetTime(*c.mutable_lastupdatetime(), now);
  machinery::client::SetTime(*c.mutable_lasttransitiontime(), now);
  return c;
}

void SetCondition(apps::DeploymentStatus& s, apps::DeploymentCondition condition) {
  const auto* known = FindCondition(s, condition.type());
  if (known && known->status() == condition.status() && known->reason() == condition.reason()) return;
  if (known && known->status() == condition.status())
    *condition.mutable_lasttransitiontime() = known->lasttransitiontime();
  RemoveCondition(s, condition.type());
  *s.add_conditions() = std::move(condition);
}

void RemoveCondition(apps::DeploymentStatus& s, const std::string& type) {
  auto* all = s.mutable_conditions();
  all->erase(std::remove_if(all->begin(), all->end(), [&](const auto& c) { return c.type() == type; }), all->end());
}

}  // namespace controller_manager
