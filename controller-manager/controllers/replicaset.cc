// ReplicaSet: keeps as many pods of a template as wanted. Pods are adopted and released by label, created in growing
// batches, and the least useful ones are deleted first.
#include <algorithm>
#include <cmath>

#include "base/json_writer.h"
#include "base/log.h"
#include "controller-manager/common/context.h"
#include "controller-manager/common/labels.h"
#include "controller-manager/common/writes.h"
#include "machinery/client/micro_time.h"
#include "machinery/object/api_error.h"
#include "proto/k8s/apps/v1/replicaset.pb.h"

namespace controller_manager {
namespace {
using core::Pod;
using k8s::io::api::apps::v1::ReplicaSet;
using k8s::io::api::apps::v1::ReplicaSetCondition;
using k8s::io::api::apps::v1::ReplicaSetStatus;
using PodPtr = std::shared_ptr<const Pod>;

constexpr int kBurst = 500;
constexpr base::Duration kRecheck = std::chrono::seconds(1);

// --- what to delete first (the original's ActivePodsWithRanks) ---

int PhaseRank(const Pod& p) { return p.status().phase() == "Pending" ? 0 : p.status().phase() == "Unknown" ? 1 : 2; }

int64_t DeletionCost(const Pod& p) {
  const auto& text = Annotation(p.metadata(), "controller.kubernetes.io/pod-deletion-cost");
  return text.empty() ? 0 : std::strtoll(text.c_str(), nullptr, 10);
}

int MostRestarts(const Pod& p) {
  int most = 0;
  for (const auto& c : p.status().containerstatuses()) most = std::max(most, c.restartcount());
  return most;
}

int64_t ReadySince(const Pod& p) {
  const auto* c = Condition(p, "Ready");
  return c && c->status() == "True" ? c->lasttransitiontime().seconds() : 0;
}

// How many halvings apart: pods of about the same age count as equally old.
int AgeRank(int64_t then, int64_t now) {
  return then == 0 ? 0 : static_cast<int>(std::log2(std::max<int64_t>(now - then, 1) + 1));
}

// True when `a` should go before `b`. `crowd` is how many related pods share the pod's node.
bool GoesFirst(const Pod& a, const Pod& b, const std::map<std::string, int>& crowd, int64_t now) {
  if (a.spec().nodename().empty() != b.spec().nodename().empty()) return a.spec().nodename().empty();
  if (PhaseRank(a) != PhaseRank(b)) return PhaseRank(a) < PhaseRank(b);
  if (IsReady(a) != IsReady(b)) return !IsReady(a);
  if (DeletionCost(a) != DeletionCost(b)) return DeletionCost(a) < DeletionCost(b);
  auto crowd_of = [&](const Pod& p) {
    auto it = crowd.find(p.spec().nodename());
    return it == crowd.end() ? 0 : it->second;
  };
  if (crowd_of(a) != crowd_of(b)) return crowd_of(a) > crowd_of(b);
  if (IsReady(a) && ReadySince(a) != ReadySince(b)) {
    int ra = AgeRank(ReadySince(a), now), rb = AgeRank(ReadySince(b), now);
    if (ra != rb) return ra < rb;
  }
  if (MostRestarts(a) != MostRestarts(b)) return MostRestarts(a) > MostRestarts(b);
  int64_t ca = a.metadata().creationtimestamp().seconds(), cb = b.metadata().creationtimestamp().seconds();
  if (AgeRank(ca, now) != AgeRank(cb, now)) return AgeRank(ca, now) < AgeRank(cb, now);
  return a.metadata().uid() < b.metadata().uid();
}

std::string Json(std::string_view text) {
  std::string out;
  base::AppendJsonString(out, text);
  return out;
}

Pod PodFrom(const ReplicaSet& rs) {
  Pod pod;
  const auto& from = rs.spec().template_().metadata();
  auto* m = pod.mutable_metadata();
  *m->mutable_labels() = from.labels();
  *m->mutable_annotations() = from.annotations();
  *m->mutable_finalizers() = from.finalizers();
  m->set_namespace_(rs.metadata().namespace_());
  m->set_generatename(rs.metadata().name() + "-");
  AddControllerRef(*m, rs, "apps/v1", "ReplicaSet");
  *pod.mutable_spec() = rs.spec().template_().spec();
  return pod;
}

class ReplicaSetController final : public RunnableController {
 public:
  explicit ReplicaSetController(ManagerContext& context)
      : context_(context),
        client_(context.client),
        events_(context.events("replicaset-controller")),
        sets_(context.informers.Of<ReplicaSet>()),
        pods_(context.informers.Of<Pod>()),
        controller_(context.executor, "replicaset", context.Workers("replicaset-controller", 5),
                    [this](base::Context ctx, client::Key key) { return Reconcile(std::move(ctx), std::move(key)); }) {
    context.informers.Index<Pod>("controller", [](const Pod& p) { return std::vector{ControllerUid(p.metadata())}; });
    context.informers.Index<ReplicaSet>("controller",
                                        [](const ReplicaSet& r) { return std::vector{ControllerUid(r.metadata())}; });
    controller_.For<ReplicaSet>(sets_).Owns<ReplicaSet, Pod>(pods_);
    controller_.Watches<Pod>(pods_, [this](const client::Change<Pod>& c) { return Adopters(c.any()); });
  }
  base::Task<void> Run(base::Context ctx) override { return controller_.Run(std::move(ctx)); }

 private:
  using Result = base::Task<base::Result<client::Done>>;

  // Sets that may want a pod nobody controls.
  std::vector<client::Key> Adopters(const Pod& pod) {
    std::vector<client::Key> out;
    if (ControllerRef(pod.metadata()) || !IsActive(pod)) return out;
    for (const auto& rs : sets_.ListNamespace(pod.metadata().namespace_()))
      if (!IsEmpty(rs->spec().selector()) && Matches(rs->spec().selector(), pod.metadata().labels()))
        out.push_back(client::KeyOf(*rs));
    return out;
  }

  Result Reconcile(base::Context ctx, client::Key key) {
    auto rs = sets_.Get(key);
    if (!rs) {
      writes_.Forget(key);
      co_return client::Done{};
    }
    if (!writes_.SeenBy(key, pods_.resource_version())) co_return client::Done{kRecheck};
    CO_TRY_ASSIGN(auto claimed, co_await Claim(ctx, rs));
    std::vector<PodPtr> active;
    int terminating = 0;
    for (auto& pod : claimed) {
      const auto& uid = pod->metadata().uid();
      if (pod->metadata().has_deletiontimestamp()) writes_.Settle(key, uid);
      if (IsTerminal(*pod)) continue;
      if (pod->metadata().has_deletiontimestamp() || writes_.IsDeleted(key, uid))
        ++terminating;
      else
        active.push_back(std::move(pod));
    }
    for (const auto& uid : writes_.Deletions(key))
      if (std::ranges::none_of(claimed, [&](const auto& p) { return p && p->metadata().uid() == uid; }))
        if (!StillThere(*rs, uid)) writes_.Settle(key, uid);
    base::Status failure;
    if (!rs->metadata().has_deletiontimestamp()) failure = co_await Manage(ctx, key, rs, active);
    CO_TRY(co_await WriteStatus(ctx, rs, active, terminating, failure));
    CO_TRY(failure);
    co_return WakeForAvailability(*rs, active);
  }

  bool StillThere(const ReplicaSet& rs, const std::string& uid) {
    return std::ranges::any_of(pods_.ByIndex("controller", rs.metadata().uid()),
                               [&](const auto& p) { return p->metadata().uid() == uid; });
  }

  // The set's pods: adopts matching orphans, lets go of pods that no longer match.
  base::Task<base::Result<std::vector<PodPtr>>> Claim(base::Context ctx, std::shared_ptr<const ReplicaSet> rs) {
    std::vector<PodPtr> out;
    for (auto& pod : pods_.ByIndex("controller", rs->metadata().uid())) {
      if (pod->metadata().namespace_() != rs->metadata().namespace_()) continue;
      if (Matches(rs->spec().selector(), pod->metadata().labels()))
        out.push_back(std::move(pod));
      else if (!rs->metadata().has_deletiontimestamp())
        CO_TRY(co_await Release(ctx, *rs, *pod));
    }
    if (rs->metadata().has_deletiontimestamp() || IsEmpty(rs->spec().selector())) co_return out;
    for (auto& pod : pods_.ByIndex("controller", "")) {
      if (pod->metadata().namespace_() != rs->metadata().namespace_() || !IsActive(*pod)) continue;
      if (!Matches(rs->spec().selector(), pod->metadata().labels())) continue;
      CO_TRY_ASSIGN(auto adopted, co_await Adopt(ctx, *rs, *pod));
      if (adopted) out.push_back(std::move(adopted));
    }
    co_return out;
  }

  base::Task<base::Result<PodPtr>> Adopt(base::Context ctx, const ReplicaSet& rs, const Pod& pod) {
    // Not from the copy: the owner may be a ghost by now, and the pod somebody else's.
    CO_TRY_ASSIGN(auto owner, co_await client_.Get<ReplicaSet>(ctx, rs.metadata().namespace_(), rs.metadata().name()));
    if (owner.metadata().uid() != rs.metadata().uid() || owner.metadata().has_deletiontimestamp()) co_return PodPtr();
    // The uid makes the patch fail on another pod of this name.
    std::string patch = R"({"metadata":{"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":)" +
                        Json(rs.metadata().name()) + R"(,"uid":)" + Json(rs.metadata().uid()) +
                        R"(,"controller":true,"blockOwnerDeletion":true}],"uid":)" + Json(pod.metadata().uid()) + "}}";
    auto adopted = co_await client_.Patch<Pod>(ctx, pod.metadata().namespace_(), pod.metadata().name(),
                                               machinery::request::PatchType::kStrategicMerge, std::move(patch));
    if (!adopted && Settled(adopted.error())) co_return PodPtr();
    if (!adopted) co_return base::Err(adopted.error());
    co_return PodPtr(std::make_shared<const Pod>(std::move(*adopted)));
  }

  base::Task<base::Status> Release(base::Context ctx, const ReplicaSet& rs, const Pod& pod) {
    std::string patch = R"({"metadata":{"ownerReferences":[{"$patch":"delete","uid":)" + Json(rs.metadata().uid()) +
                        R"(}],"uid":)" + Json(pod.metadata().uid()) + "}}";
    auto released = co_await client_.Patch<Pod>(ctx, pod.metadata().namespace_(), pod.metadata().name(),
                                                machinery::request::PatchType::kStrategicMerge, std::move(patch));
    co_return released || Settled(released.error()) ? base::Ok() : released.error();
  }

  // The pod is gone, or another one has its name: nothing is left to do.
  static bool Settled(const base::Status& s) {
    return machinery::object::IsNotFound(s) || machinery::object::HttpCodeOf(s) == 422;
  }

  base::Task<base::Status> Manage(base::Context ctx, client::Key key, std::shared_ptr<const ReplicaSet> rs,
                                  const std::vector<PodPtr>& active) {
    int64_t diff = static_cast<int64_t>(active.size()) - std::max(rs->spec().replicas(), 0);
    if (diff < 0)
      co_return co_await CreatePods(ctx, std::move(key), rs, static_cast<int>(std::min<int64_t>(-diff, kBurst)));
    if (diff > 0)
      co_return co_await DeletePods(ctx, std::move(key), rs, active, static_cast<int>(std::min<int64_t>(diff, kBurst)));
    co_return base::Ok();
  }

  // One at first, then twice as many at a time: a set whose pods are all refused (quota) does not flood the server.
  base::Task<base::Status> CreatePods(base::Context ctx, client::Key key, std::shared_ptr<const ReplicaSet> rs, int n) {
    base::Status failure;
    for (int batch = 1, left = n; left > 0 && failure.ok(); batch *= 2) {
      int now = std::min(batch, left);
      left -= now;
      base::TaskScope scope(context_.executor, ctx);
      for (int i = 0; i < now; ++i) scope.Spawn(CreateOne(scope.context(), key, rs, &failure));
      co_await scope.Join();
    }
    co_return failure;
  }

  base::Task<void> CreateOne(base::Context ctx, client::Key key, std::shared_ptr<const ReplicaSet> rs,
                             base::Status* failure) {
    auto made = co_await client_.Create<Pod>(ctx, PodFrom(*rs));
    if (made) {
      writes_.Created(key, made->metadata().resourceversion());
      events_.Event(client::ReferenceTo(*rs), "Normal", "SuccessfulCreate", "Created pod: " + made->metadata().name());
      co_return;
    }
    *failure = made.error();
    // A namespace that is going away refuses every creation; there is nobody to tell.
    if (made.error().message().find("because it is being terminated") != std::string_view::npos) co_return;
    events_.Event(client::ReferenceTo(*rs), "Warning", "FailedCreate",
                  "Error creating: " + std::string(made.error().message()));
  }

  base::Task<base::Status> DeletePods(base::Context ctx, client::Key key, std::shared_ptr<const ReplicaSet> rs,
                                      std::vector<PodPtr> active, int n) {
    if (n < static_cast<int>(active.size())) {
      auto crowd = Crowd(*rs);
      int64_t now = std::chrono::floor<std::chrono::seconds>(context_.executor.WallNow()).time_since_epoch().count();
      std::ranges::sort(active, [&](const auto& a, const auto& b) { return GoesFirst(*a, *b, crowd, now); });
      active.resize(static_cast<size_t>(n));
    }
    base::Status failure;
    for (const auto& pod : active) {
      const auto& m = pod->metadata();
      auto status = co_await client_.Delete<Pod>(ctx, m.namespace_(), m.name(), {.uid = m.uid()});
      if (status.ok() || machinery::object::IsNotFound(status) || machinery::object::IsConflict(status)) {
        writes_.Deleted(key, m.uid());
        if (status.ok())
          events_.Event(client::ReferenceTo(*rs), "Normal", "SuccessfulDelete", "Deleted pod: " + m.name());
        continue;
      }
      failure = status;
      events_.Event(client::ReferenceTo(*rs), "Warning", "FailedDelete",
                    "Error deleting: " + std::string(status.message()));
    }
    co_return failure;
  }

  // Active pods per node of all sets with the same owner: during a rollout crowded nodes are relieved first.
  std::map<std::string, int> Crowd(const ReplicaSet& rs) {
    std::vector<std::string> related = {rs.metadata().uid()};
    if (const auto* owner = ControllerRef(rs.metadata()))
      for (const auto& other : sets_.ByIndex("controller", owner->uid())) related.push_back(other->metadata().uid());
    std::ranges::sort(related);
    related.erase(std::unique(related.begin(), related.end()), related.end());
    std::map<std::string, int> out;
    for (const auto& uid : related)
      for (const auto& pod : pods_.ByIndex("controller", uid))
        if (IsActive(*pod)) ++out[pod->spec().nodename()];
    return out;
  }

  base::Task<base::Status> WriteStatus(base::Context ctx, std::shared_ptr<const ReplicaSet> rs,
                                       const std::vector<PodPtr>& active, int terminating, base::Status failure) {
    ReplicaSet object = *rs;
    auto* status = object.mutable_status();
    int labeled = 0, ready = 0, available = 0;
    for (const auto& pod : active) {
      labeled += Contains(pod->metadata().labels(), rs->spec().template_().metadata().labels());
      ready += IsReady(*pod);
      available += IsAvailable(*pod, rs->spec().minreadyseconds(), context_.executor.WallNow());
    }
    status->set_replicas(static_cast<int>(active.size()));
    status->set_fullylabeledreplicas(labeled);
    status->set_readyreplicas(ready);
    status->set_availablereplicas(available);
    status->set_terminatingreplicas(terminating);
    status->set_observedgeneration(std::max(rs->metadata().generation(), rs->status().observedgeneration()));
    SetFailure(*status, failure, static_cast<int64_t>(active.size()) < rs->spec().replicas());
    if (SameStatus(*status, rs->status())) co_return base::Ok();
    auto updated = co_await client_.UpdateStatus<ReplicaSet>(ctx, std::move(object));
    if (!updated && machinery::object::IsNotFound(updated.error())) co_return base::Ok();
    co_return base::StatusOf(updated);
  }

  static bool SameStatus(const ReplicaSetStatus& a, const ReplicaSetStatus& b) {
    auto failure = [](const ReplicaSetStatus& s) {
      for (const auto& c : s.conditions())
        if (c.type() == "ReplicaFailure") return c.reason() + c.message();
      return std::string();
    };
    return a.replicas() == b.replicas() && a.fullylabeledreplicas() == b.fullylabeledreplicas() &&
           a.readyreplicas() == b.readyreplicas() && a.availablereplicas() == b.availablereplicas() &&
           a.terminatingreplicas() == b.terminatingreplicas() && b.has_terminatingreplicas() &&
           a.observedgeneration() == b.observedgeneration() && failure(a) == failure(b);
  }

  void SetFailure(ReplicaSetStatus& status, const base::Status& failure, bool too_few) {
    auto* conditions = status.mutable_conditions();
    auto it = std::find_if(conditions->begin(), conditions->end(),
                           [](const auto& c) { return c.type() == "ReplicaFailure"; });
    if (failure.ok()) {
      if (it != conditions->end()) conditions->erase(it);
      return;
    }
    if (it != conditions->end()) return;
    auto* c = conditions->Add();
    c->set_type("ReplicaFailure");
    c->set_status("True");
    c->set_reason(too_few ? "FailedCreate" : "FailedDelete");
    c->set_message(std::string(failure.message()));
    client::SetTime(*c->mutable_lasttransitiontime(), context_.executor.WallNow());
  }

  // With minReadySeconds a pod becomes available without any event.
  client::Done WakeForAvailability(const ReplicaSet& rs, const std::vector<PodPtr>& active) {
    int32_t wait = rs.spec().minreadyseconds();
    if (wait == 0) return {};
    auto now = context_.executor.WallNow();
    for (const auto& pod : active)
      if (IsReady(*pod) && !IsAvailable(*pod, wait, now)) return {std::chrono::seconds(1)};
    return {};
  }

  ManagerContext& context_;
  client::Client& client_;
  client::EventRecorder& events_;
  client::Informer<ReplicaSet>& sets_;
  client::Informer<Pod>& pods_;
  Writes writes_{context_.executor};
  client::Controller controller_;
};
}  // namespace

std::unique_ptr<RunnableController> MakeReplicaSet(ManagerContext& context) {
  return std::make_unique<ReplicaSetController>(context);
}

}  // namespace controller_manager
