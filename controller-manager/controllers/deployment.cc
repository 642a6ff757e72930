// Deployment: a template and how to get there. Owns one ReplicaSet per template, moves replicas from the old ones to
// the newest within maxSurge and maxUnavailable, keeps revisions and tells about progress.
#include <algorithm>

#include "base/log.h"
#include "controller-manager/common/context.h"
#include "controller-manager/common/labels.h"
#include "controller-manager/common/writes.h"
#include "controller-manager/controllers/deployment_math.h"
#include "machinery/client/micro_time.h"
#include "machinery/object/api_error.h"

namespace controller_manager {
namespace {
using apps::Deployment;
using apps::DeploymentStatus;
using apps::ReplicaSet;
using core::Pod;

constexpr size_t kMaxHistoryChars = 2000;
constexpr base::Duration kRecheck = std::chrono::milliseconds(500);

// Annotations that are the deployment's own and do not go down to its sets.
bool IsOwnAnnotation(const std::string& key) {
  constexpr std::string_view kOwn[] = {"kubectl.kubernetes.io/last-applied-configuration",
                                       kRevision,
                                       kRevisionHistory,
                                       kDesiredReplicas,
                                       kMaxReplicas,
                                       "deprecated.deployment.rollback.to"};
  return std::ranges::find(kOwn, key) != std::end(kOwn);
}

bool SetAnnotation(meta::ObjectMeta& m, const std::string& key, const std::string& value) {
  auto [it, fresh] = m.mutable_annotations()->insert({key, value});
  if (!fresh && it->second == value) return false;
  it->second = value;
  return true;
}

bool CopyAnnotations(const Deployment& d, ReplicaSet& rs) {
  bool changed = false;
  for (const auto& [key, value] : d.metadata().annotations())
    if (!IsOwnAnnotation(key)) changed |= SetAnnotation(*rs.mutable_metadata(), key, value);
  return changed;
}

bool AnnotateReplicas(const Deployment& d, ReplicaSet& rs) {
  bool changed = SetAnnotation(*rs.mutable_metadata(), kDesiredReplicas, std::to_string(d.spec().replicas()));
  changed |=
      SetAnnotation(*rs.mutable_metadata(), kMaxReplicas, std::to_string(int64_t{d.spec().replicas()} + MaxSurge(d)));
  return changed;
}

// A set that becomes the newest again gets a new number and remembers the ones it had.
bool AnnotateRevision(ReplicaSet& rs, int64_t revision) {
  std::string old = Annotation(rs.metadata(), kRevision);
  if (RevisionOfSet(rs) >= revision) return false;
  SetAnnotation(*rs.mutable_metadata(), kRevision, std::to_string(revision));
  if (old.empty()) return true;
  std::string history = Annotation(rs.metadata(), kRevisionHistory);
  history += (history.empty() ? "" : ",") + old;
  while (history.size() > kMaxHistoryChars && history.find(',') != history.npos)
    history.erase(0, history.find(',') + 1);
  SetAnnotation(*rs.mutable_metadata(), kRevisionHistory, history);
  return true;
}

// One reconcile's view: copies it may change, so that later steps see earlier ones.
struct World {
  Deployment d;
  std::vector<std::unique_ptr<ReplicaSet>> owned;
  ReplicaSet* newest = nullptr;
  Sets all() const {
    Sets out;
    for (const auto& rs : owned) out.push_back(rs.get());
    return out;
  }
  Sets old() const {
    Sets out;
    for (const auto& rs : owned)
      if (rs.get() != newest) out.push_back(rs.get());
    return out;
  }
  Sets active() const {
    Sets out;
    for (const auto& rs : owned)
      if (rs->spec().replicas() > 0) out.push_back(rs.get());
    return out;
  }
};

class DeploymentController final : public RunnableController {
 public:
  explicit DeploymentController(ManagerContext& context)
      : executor_(context.executor),
        client_(context.client),
        events_(context.events("deployment-controller")),
        deployments_(context.informers.Of<Deployment>()),
        sets_(context.informers.Of<ReplicaSet>()),
        pods_(context.informers.Of<Pod>()),
        controller_(context.executor, "deployment", context.Workers("deployment-controller", 5),
                    [this](base::Context ctx, client::Key key) { return Reconcile(std::move(ctx), std::move(key)); }) {
    context.informers.Index<ReplicaSet>("controller",
                                        [](const ReplicaSet& r) { return std::vector{ControllerUid(r.metadata())}; });
    context.informers.Index<Pod>("controller", [](const Pod& p) { return std::vector{ControllerUid(p.metadata())}; });
    controller_.For<Deployment>(deployments_).Owns<Deployment, ReplicaSet>(sets_);
    controller_.Watches<ReplicaSet>(sets_, [this](const client::Change<ReplicaSet>& c) { return Adopters(c.any()); });
    // Recreate waits for the last old pod to go.
    controller_.Watches<Pod>(pods_, [this](const client::Change<Pod>& c) { return OfGonePod(c); });
  }
  base::Task<void> Run(base::Context ctx) override { return controller_.Run(std::move(ctx)); }

 private:
  using Result = base::Task<base::Result<client::Done>>;
  base::WallTime Now() const { return executor_.WallNow(); }

  std::vector<client::Key> Adopters(const ReplicaSet& rs) {
    std::vector<client::Key> out;
    if (ControllerRef(rs.metadata())) return out;
    for (const auto& d : deployments_.ListNamespace(rs.metadata().namespace_()))
      if (!IsEmpty(d->spec().selector()) && Matches(d->spec().selector(), rs.metadata().labels()))
        out.push_back(client::KeyOf(*d));
    return out;
  }

  std::vector<client::Key> OfGonePod(const client::Change<Pod>& c) {
    if (c.current && !IsTerminal(*c.current)) return {};
    const auto* ref = ControllerRef(c.any().metadata());
    if (!ref || ref->kind() != "ReplicaSet") return {};
    auto rs = sets_.Get(c.any().metadata().namespace_(), ref->name());
    if (!rs) return {};
    const auto* owner = ControllerRef(rs->metadata());
    if (!owner || owner->kind() != "Deployment") return {};
    auto d = deployments_.Get(rs->metadata().namespace_(), owner->name());
    if (!d || IsRollingUpdate(*d)) return {};
    return {client::KeyOf(*d)};
  }

  Result Reconcile(base::Context ctx, client::Key key) {
    auto found = deployments_.Get(key);
    if (!found) {
      writes_.Forget(key);
      co_return client::Done{};
    }
    // New sets are sized by what the others have: not from a copy that lacks our own last writes.
    if (!writes_.SeenBy(key, sets_.resource_version())) co_return client::Done{kRecheck};
    World w;
    w.d = *found;
    if (IsEmpty(w.d.spec().selector())) {
      events_.Event(client::ReferenceTo(w.d), "Warning", "SelectingAll",
                    "This deployment is selecting all pods. A non-empty selector is required.");
      co_return client::Done{};
    }
    CO_TRY(co_await Claim(ctx, w));
    FindNewest(w);
    if (w.d.metadata().has_deletiontimestamp()) {
      CO_TRY(co_await WriteStatus(ctx, w, CalculateStatus(w.d, w.all(), w.newest, Now())));
      co_return client::Done{};
    }
    CO_TRY(co_await MarkPaused(ctx, w));
    if (w.d.spec().paused() || IsScalingEvent(w)) {
      CO_TRY(co_await Number(ctx, w, false));
      CO_TRY(co_await Scale(ctx, w));
      if (w.d.spec().paused()) CO_TRY(co_await CleanUp(ctx, w));
      CO_TRY(co_await WriteStatus(ctx, w, CalculateStatus(w.d, w.all(), w.newest, Now())));
      co_return client::Done{};
    }
    CO_TRY(IsRollingUpdate(w.d) ? co_await RollOut(ctx, w) : co_await Recreate(ctx, w));
    co_return co_await WriteProgress(ctx, w);
  }

  // --- sets ---

  base::Task<base::Status> Claim(base::Context ctx, World& w) {
    const auto& d = w.d;
    for (const auto& rs : sets_.ByIndex("controller", d.metadata().uid())) {
      if (rs->metadata().namespace_() != d.metadata().namespace_()) continue;
      if (Matches(d.spec().selector(), rs->metadata().labels())) {
        w.owned.push_back(std::make_unique<ReplicaSet>(*rs));
      } else if (!d.metadata().has_deletiontimestamp()) {
        ReplicaSet freed = *rs;
        RemoveOwner(*freed.mutable_metadata(), d.metadata().uid());
        CO_TRY(co_await client_.Update<ReplicaSet>(ctx, std::move(freed)));
      }
    }
    if (d.metadata().has_deletiontimestamp()) co_return base::Ok();
    for (const auto& rs : sets_.ByIndex("controller", "")) {
      if (rs->metadata().namespace_() != d.metadata().namespace_() || rs->metadata().has_deletiontimestamp()) continue;
      if (!Matches(d.spec().selector(), rs->metadata().labels())) continue;
      CO_TRY_ASSIGN(auto owner, co_await client_.Get<Deployment>(ctx, d.metadata().namespace_(), d.metadata().name()));
      if (owner.metadata().uid() != d.metadata().uid() || owner.metadata().has_deletiontimestamp()) continue;
      ReplicaSet mine = *rs;
      AddControllerRef(*mine.mutable_metadata(), d, "apps/v1", "Deployment");
      CO_TRY_ASSIGN(auto updated, co_await client_.Update<ReplicaSet>(ctx, std::move(mine)));
      w.owned.push_back(std::make_unique<ReplicaSet>(std::move(updated)));
    }
    co_return base::Ok();
  }

  static void FindNewest(World& w) {
    std::ranges::sort(w.owned, [](const auto& a, const auto& b) {
      int64_t ta = a->metadata().creationtimestamp().seconds(), tb = b->metadata().creationtimestamp().seconds();
      return ta != tb ? ta < tb : a->metadata().name() < b->metadata().name();
    });
    for (const auto& rs : w.owned) {
      if (!EqualIgnoreHash(rs->spec().template_(), w.d.spec().template_())) continue;
      w.newest = rs.get();
      return;
    }
  }

  // Gives the newest set its revision (and makes it when there is none and `create` says so), and the deployment the
  // same number.
  base::Task<base::Status> Number(base::Context ctx, World& w, bool create) {
    int64_t revision = 1;
    for (const auto* rs : w.old()) revision = std::max(revision, RevisionOfSet(*rs) + 1);
    if (!w.newest && !create) co_return base::Ok();
    if (!w.newest) co_return co_await MakeNewest(ctx, w, revision);
    ReplicaSet& rs = *w.newest;
    bool changed = AnnotateRevision(rs, revision);
    changed |= CopyAnnotations(w.d, rs);
    if (rs.spec().minreadyseconds() != w.d.spec().minreadyseconds()) {
      rs.mutable_spec()->set_minreadyseconds(w.d.spec().minreadyseconds());
      changed = true;
    }
    if (changed) CO_TRY(co_await Write(ctx, w, rs));
    bool found = HasProgressDeadline(w.d) && !FindCondition(w.d.status(), "Progressing");
    std::string text = found ? "Found new replica set \"" + rs.metadata().name() + "\"" : "";
    co_return co_await Announce(ctx, w, "FoundNewReplicaSet", text);
  }

  base::Task<base::Status> MakeNewest(base::Context ctx, World& w, int64_t revision) {
    const Deployment& d = w.d;
    ReplicaSet rs;
    std::string hash = TemplateHash(d.spec().template_(), d.status().collisioncount());
    auto* m = rs.mutable_metadata();
    m->set_namespace_(d.metadata().namespace_());
    m->set_name(d.metadata().name() + "-" + hash);
    AddControllerRef(*m, d, "apps/v1", "Deployment");
    auto* spec = rs.mutable_spec();
    *spec->mutable_template_() = d.spec().template_();
    (*spec->mutable_template_()->mutable_metadata()->mutable_labels())[kTemplateHash] = hash;
    *m->mutable_labels() = spec->template_().metadata().labels();
    *spec->mutable_selector() = d.spec().selector();
    (*spec->mutable_selector()->mutable_matchlabels())[kTemplateHash] = hash;
    if (d.spec().minreadyseconds()) spec->set_minreadyseconds(d.spec().minreadyseconds());
    spec->set_replicas(0);
    spec->set_replicas(NewSetReplicas(d, w.all(), rs));
    AnnotateRevision(rs, revision);
    CopyAnnotations(d, rs);
    AnnotateReplicas(d, rs);

    auto made = co_await client_.Create<ReplicaSet>(ctx, rs);
    bool existed = !made && machinery::object::IsAlreadyExists(made.error());
    if (existed) {
      CO_TRY(co_await Existing(ctx, w, *m));
    } else if (!made) {
      CO_TRY(co_await FailedToMake(ctx, w, rs, made.error()));
    } else {
      writes_.Created(client::KeyOf(d), made->metadata().resourceversion());
      w.owned.push_back(std::make_unique<ReplicaSet>(std::move(*made)));
      w.newest = w.owned.back().get();
      if (w.newest->spec().replicas() > 0)
        events_.Event(
            client::ReferenceTo(d), "Normal", "ScalingReplicaSet",
            "Scaled up replica set " + m->name() + " from 0 to " + std::to_string(w.newest->spec().replicas()));
    }
    std::string text = existed ? "" : "Created new replica set \"" + m->name() + "\"";
    co_return co_await Announce(ctx, w, "NewReplicaSetCreated", HasProgressDeadline(d) ? text : "");
  }

  // The name is taken: by our own set that the copy does not show yet, or by another template with the same hash.
  base::Task<base::Status> Existing(base::Context ctx, World& w, const meta::ObjectMeta& m) {
    CO_TRY_ASSIGN(auto there, co_await client_.Get<ReplicaSet>(ctx, m.namespace_(), m.name()));
    if (ControllerUid(there.metadata()) == w.d.metadata().uid() &&
        EqualIgnoreHash(there.spec().template_(), w.d.spec().template_())) {
      w.owned.push_back(std::make_unique<ReplicaSet>(std::move(there)));
      w.newest = w.owned.back().get();
      co_return base::Ok();
    }
    DeploymentStatus status = w.d.status();
    status.set_collisioncount(status.collisioncount() + 1);
    CO_TRY(co_await WriteStatus(ctx, w, std::move(status)));
    co_return base::AlreadyExists("hash collision for deployment " + w.d.metadata().name());
  }

  base::Task<base::Status> FailedToMake(base::Context ctx, World& w, const ReplicaSet& rs, base::Status why) {
    if (why.message().find("because it is being terminated") != std::string_view::npos) co_return why;
    std::string text =
        "Failed to create new replica set \"" + rs.metadata().name() + "\": " + std::string(why.message());
    if (HasProgressDeadline(w.d)) {
      DeploymentStatus status = w.d.status();
      SetCondition(status, MakeCondition("Progressing", "False", "ReplicaSetCreateError", text, Now()));
      (void)co_await WriteStatus(ctx, w, std::move(status));
    }
    events_.Event(client::ReferenceTo(w.d), "Warning", "ReplicaSetCreateError", text);
    co_return why;
  }

  // The deployment's revision follows the newest set's; `text` becomes a Progressing condition. The annotation goes
  // with the status, as in the original: an ordinary update of annotations would count as a new generation.
  base::Task<base::Status> Announce(base::Context ctx, World& w, const std::string& reason, const std::string& text) {
    bool numbered = SetAnnotation(*w.d.mutable_metadata(), kRevision, Annotation(w.newest->metadata(), kRevision));
    DeploymentStatus status = w.d.status();
    if (!text.empty()) SetCondition(status, MakeCondition("Progressing", "True", reason, text, Now()));
    if (!numbered) co_return co_await WriteStatus(ctx, w, std::move(status));
    *w.d.mutable_status() = std::move(status);
    CO_TRY_ASSIGN(w.d, co_await client_.UpdateStatus<Deployment>(ctx, w.d));
    co_return base::Ok();
  }

  base::Task<base::Status> Write(base::Context ctx, const World& w, ReplicaSet& rs) {
    client::Key key = client::KeyOf(w.d);
    auto updated = co_await client_.Update<ReplicaSet>(ctx, rs);
    if (updated) {
      writes_.Created(key, updated->metadata().resourceversion());
      rs = std::move(*updated);
      co_return base::Ok();
    }
    // No answer: it may have been written all the same. Wait for what is there now.
    if (!machinery::object::AsApiError(updated.error())) {
      auto live = co_await client_.Get<ReplicaSet>(ctx, rs.metadata().namespace_(), rs.metadata().name());
      if (live) writes_.Created(key, live->metadata().resourceversion());
    }
    co_return updated.error();
  }

  base::Task<base::Status> Resize(base::Context ctx, const World& w, ReplicaSet& rs, int32_t replicas) {
    int32_t before = rs.spec().replicas();
    bool annotated = AnnotateReplicas(w.d, rs);
    if (before == replicas && !annotated) co_return base::Ok();
    rs.mutable_spec()->set_replicas(replicas);
    CO_TRY(co_await Write(ctx, w, rs));
    if (before != replicas)
      events_.Event(client::ReferenceTo(w.d), "Normal", "ScalingReplicaSet",
                    std::string("Scaled ") + (replicas > before ? "up" : "down") + " replica set " +
                        rs.metadata().name() + " from " + std::to_string(before) + " to " + std::to_string(replicas));
    co_return base::Ok();
  }

  // --- strategies ---

  base::Task<base::Status> RollOut(base::Context ctx, World& w) {
    CO_TRY(co_await Number(ctx, w, true));
    int32_t wanted = w.newest->spec().replicas() > w.d.spec().replicas() ? w.d.spec().replicas()
                                                                         : NewSetReplicas(w.d, w.all(), *w.newest);
    if (wanted != w.newest->spec().replicas()) co_return co_await Resize(ctx, w, *w.newest, wanted);
    auto steps = ShrinkOldSets(w.d, w.all(), w.old(), w.newest);
    for (auto& step : steps) CO_TRY(co_await Resize(ctx, w, *step.set, step.replicas));
    if (steps.empty() && IsComplete(w.d, w.d.status())) co_return co_await CleanUp(ctx, w);
    co_return base::Ok();
  }

  base::Task<base::Status> Recreate(base::Context ctx, World& w) {
    CO_TRY(co_await Number(ctx, w, false));
    bool shrunk = false;
    for (auto* rs : w.old()) {
      if (rs->spec().replicas() == 0) continue;
      CO_TRY(co_await Resize(ctx, w, *rs, 0));
      shrunk = true;
    }
    if (shrunk || OldPodsRun(w)) co_return base::Ok();
    CO_TRY(co_await Number(ctx, w, true));
    if (w.newest->spec().replicas() != w.d.spec().replicas())
      CO_TRY(co_await Resize(ctx, w, *w.newest, w.d.spec().replicas()));
    if (IsComplete(w.d, w.d.status())) co_return co_await CleanUp(ctx, w);
    co_return base::Ok();
  }

  bool OldPodsRun(const World& w) {
    if (ActualReplicas(w.old()) > 0) return true;
    for (const auto* rs : w.old())
      for (const auto& pod : pods_.ByIndex("controller", rs->metadata().uid()))
        if (!IsTerminal(*pod)) return true;
    return false;
  }

  static bool IsScalingEvent(const World& w) {
    return std::ranges::any_of(w.active(), [&](const auto* rs) {
      const auto& desired = Annotation(rs->metadata(), kDesiredReplicas);
      return !desired.empty() && desired != std::to_string(w.d.spec().replicas());
    });
  }

  base::Task<base::Status> Scale(base::Context ctx, World& w) {
    Sets active = w.active();
    ReplicaSet* only = active.size() == 1 ? active[0] : nullptr;
    if (active.empty()) only = w.newest ? w.newest : w.owned.empty() ? nullptr : w.owned.back().get();
    if (only || active.empty()) {
      if (only && only->spec().replicas() != w.d.spec().replicas())
        CO_TRY(co_await Resize(ctx, w, *only, w.d.spec().replicas()));
      co_return base::Ok();
    }
    if (IsSaturated(w)) {
      for (auto* rs : w.old()) CO_TRY(co_await Resize(ctx, w, *rs, 0));
      co_return base::Ok();
    }
    if (!IsRollingUpdate(w.d)) co_return base::Ok();
    for (auto& step : Proportional(w.d, active)) CO_TRY(co_await Resize(ctx, w, *step.set, step.replicas));
    co_return base::Ok();
  }

  static bool IsSaturated(const World& w) {
    if (!w.newest) return false;
    int32_t n = w.d.spec().replicas();
    return Annotation(w.newest->metadata(), kDesiredReplicas) == std::to_string(n) &&
           w.newest->spec().replicas() == n && w.newest->status().availablereplicas() == n;
  }

  // Old sets beyond revisionHistoryLimit go, the oldest revision first.
  base::Task<base::Status> CleanUp(base::Context ctx, World& w) {
    if (!w.d.spec().has_revisionhistorylimit()) co_return base::Ok();
    Sets old = w.old();
    std::erase_if(old, [](const auto* rs) { return rs->metadata().has_deletiontimestamp(); });
    std::ranges::sort(old, {}, [](const auto* rs) { return RevisionOfSet(*rs); });
    int64_t extra = static_cast<int64_t>(old.size()) - w.d.spec().revisionhistorylimit();
    for (int64_t i = 0; i < extra; ++i) {
      const ReplicaSet& rs = *old[static_cast<size_t>(i)];
      if (rs.status().replicas() != 0 || rs.spec().replicas() != 0 ||
          rs.metadata().generation() > rs.status().observedgeneration())
        continue;
      auto status = co_await client_.Delete<ReplicaSet>(ctx, rs.metadata().namespace_(), rs.metadata().name(), {});
      if (!status.ok() && !machinery::object::IsNotFound(status)) co_return status;
    }
    co_return base::Ok();
  }

  // --- status ---

  base::Task<base::Status> MarkPaused(base::Context ctx, World& w) {
    if (!HasProgressDeadline(w.d)) co_return base::Ok();
    const auto* c = FindCondition(w.d.status(), "Progressing");
    // A deadline that has passed already is told whatever comes after.
    if (c && c->reason() == "ProgressDeadlineExceeded") co_return base::Ok();
    bool marked = c && c->reason() == "DeploymentPaused";
    if (w.d.spec().paused() == marked) co_return base::Ok();
    DeploymentStatus status = w.d.status();
    if (w.d.spec().paused())
      SetCondition(status, MakeCondition("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused", Now()));
    else
      SetCondition(status,
                   MakeCondition("Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed", Now()));
    co_return co_await WriteStatus(ctx, w, std::move(status));
  }

  base::Task<base::Status> WriteStatus(base::Context ctx, World& w, DeploymentStatus status) {
    if (status.SerializeAsString() == w.d.status().SerializeAsString() || SameNumbers(status, w.d.status()))
      co_return base::Ok();
    Deployment object = w.d;
    *object.mutable_status() = std::move(status);
    auto updated = co_await client_.UpdateStatus<Deployment>(ctx, std::move(object));
    if (!updated && machinery::object::IsNotFound(updated.error())) co_return base::Ok();
    if (!updated) co_return updated.error();
    w.d = std::move(*updated);
    co_return base::Ok();
  }

  // Equal but for how absent zeros are written.
  static bool SameNumbers(const DeploymentStatus& a, const DeploymentStatus& b) {
    if (a.conditions_size() != b.conditions_size() || !b.has_terminatingreplicas()) return false;
    for (int i = 0; i < a.conditions_size(); ++i)
      if (a.conditions(i).SerializeAsString() != b.conditions(i).SerializeAsString()) return false;
    return a.observedgeneration() == b.observedgeneration() && a.replicas() == b.replicas() &&
           a.updatedreplicas() == b.updatedreplicas() && a.readyreplicas() == b.readyreplicas() &&
           a.availablereplicas() == b.availablereplicas() && a.unavailablereplicas() == b.unavailablereplicas() &&
           a.terminatingreplicas() == b.terminatingreplicas() && a.collisioncount() == b.collisioncount();
  }

  // The status of a deployment on its way, with its progress; comes back when the deadline may pass.
  Result WriteProgress(base::Context ctx, World& w) {
    DeploymentStatus status = CalculateStatus(w.d, w.all(), w.newest, Now());
    if (!HasProgressDeadline(w.d)) RemoveCondition(status, "Progressing");
    const auto* current = FindCondition(w.d.status(), "Progressing");
    bool settled =
        status.replicas() == status.updatedreplicas() && current && current->reason() == "NewReplicaSetAvailable";
    if (HasProgressDeadline(w.d) && !settled) Progress(w, status, current);
    RemoveCondition(status, "ReplicaFailure");
    if (auto failure = Failure(w)) SetCondition(status, std::move(*failure));
    CO_TRY(co_await WriteStatus(ctx, w, std::move(status)));
    co_return client::Done{UntilDeadline(w)};
  }

  void Progress(const World& w, DeploymentStatus& status, const apps::DeploymentCondition* current) {
    std::string who = w.newest ? "ReplicaSet \"" + w.newest->metadata().name() + "\""
                               : "Deployment \"" + w.d.metadata().name() + "\"";
    if (IsComplete(w.d, status)) {
      SetCondition(status, MakeCondition("Progressing", "True", "NewReplicaSetAvailable",
                                         who + " has successfully progressed.", Now()));
    } else if (IsProgressing(w.d.status(), status)) {
      auto c = MakeCondition("Progressing", "True", "ReplicaSetUpdated", who + " is progressing.", Now());
      if (current && current->status() == "True") *c.mutable_lasttransitiontime() = current->lasttransitiontime();
      RemoveCondition(status, "Progressing");
      SetCondition(status, std::move(c));
    } else if (HasTimedOut(w.d, status, Now())) {
      SetCondition(status, MakeCondition("Progressing", "False", "ProgressDeadlineExceeded",
                                         who + " has timed out progressing.", Now()));
    }
  }

  static std::optional<apps::DeploymentCondition> Failure(const World& w) {
    auto of = [](const ReplicaSet& rs) -> std::optional<apps::DeploymentCondition> {
      for (const auto& c : rs.status().conditions()) {
        if (c.type() != "ReplicaFailure") continue;
        apps::DeploymentCondition out;
        out.set_type(c.type());
        out.set_status(c.status());
        out.set_reason(c.reason());
        out.set_message(c.message());
        *out.mutable_lasttransitiontime() = c.lasttransitiontime();
        *out.mutable_lastupdatetime() = c.lasttransitiontime();
        return out;
      }
      return std::nullopt;
    };
    if (w.newest)
      if (auto c = of(*w.newest)) return c;
    for (const auto& rs : w.owned)
      if (rs->spec().replicas() > 0)
        if (auto c = of(*rs)) return c;
    return std::nullopt;
  }

  std::optional<base::Duration> UntilDeadline(const World& w) {
    const auto* c = FindCondition(w.d.status(), "Progressing");
    if (!HasProgressDeadline(w.d) || !c || IsComplete(w.d, w.d.status())) return std::nullopt;
    if (c->reason() == "ProgressDeadlineExceeded" || c->reason() == "NewReplicaSetAvailable") return std::nullopt;
    base::WallTime due =
        client::ToWallTime(c->lastupdatetime()) + std::chrono::seconds(w.d.spec().progressdeadlineseconds());
    return std::max<base::Duration>(due - Now(), std::chrono::seconds(0)) + std::chrono::seconds(1);
  }

  base::Executor& executor_;
  client::Client& client_;
  client::EventRecorder& events_;
  client::Informer<Deployment>& deployments_;
  client::Informer<ReplicaSet>& sets_;
  client::Informer<Pod>& pods_;
  Writes writes_{executor_};
  client::Controller controller_;
};
}  // namespace

std::unique_ptr<RunnableController> MakeDeployment(ManagerContext& context) {
  return std::make_unique<DeploymentController>(context);
}

}  // namespace controller_manager
