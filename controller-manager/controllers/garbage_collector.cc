// Garbage collector: deletes what no living owner holds. Watches the metadata of every kind the server lets it list,
// watch and delete. Works on one object at a time, by key "resource.group|namespace|name|uid":
//
//   its owners are gone               -> delete it (in the way its own finalizers ask for)
//   it waits for its dependents       -> foreground: delete them, and let it go when none that blocks is left
//   it wants its dependents orphaned  -> take its reference from them, then let it go
#include <algorithm>
#include <array>
#include <set>

#include "base/log.h"
#include "controller-manager/common/context.h"
#include "controller-manager/common/untyped.h"
#include "machinery/object/api_error.h"
#include "machinery/object/go_text.h"
#include "proto/k8s/meta/v1/meta.pb.h"

namespace controller_manager {
namespace {
namespace meta = k8s::io::apimachinery::pkg::apis::meta::v1;
using Ptr = std::shared_ptr<const AnyObject>;

constexpr char kForeground[] = "foregroundDeletion";
constexpr char kOrphan[] = "orphan";
constexpr base::Duration kDiscoverAgain = std::chrono::seconds(30);
constexpr base::Duration kLookAgain = std::chrono::seconds(1);

bool Has(const AnyObject& o, std::string_view finalizer) {
  const auto& all = o.metadata().finalizers();
  return std::ranges::find(all, finalizer) != all.end();
}
bool Leaving(const AnyObject& o) { return o.metadata().has_deletiontimestamp(); }
bool WaitsForDependents(const AnyObject& o) { return Leaving(o) && Has(o, kForeground); }

const meta::OwnerReference* RefTo(const AnyObject& o, const std::string& uid) {
  for (const auto& r : o.metadata().ownerreferences())
    if (r.uid() == uid) return &r;
  return nullptr;
}

// Only what decisions need stays in memory.
void Trim(AnyObject& o) {
  o.DiscardUnknownFields();
  auto* m = o.mutable_metadata();
  m->clear_labels(), m->clear_annotations(), m->clear_managedfields(), m->clear_generatename(), m->clear_selflink();
  m->clear_creationtimestamp();
}

class GarbageCollector final : public RunnableController {
 public:
  explicit GarbageCollector(ManagerContext& context)
      : context_(context),
        untyped_(context.client),
        events_(context.events("garbage-collector-controller")),
        controller_(context.executor, "garbage_collector", context.Workers("garbage-collector-controller", 20),
                    [this](base::Context ctx, client::Key key) { return Reconcile(std::move(ctx), std::move(key)); }) {}

  base::Task<void> Run(base::Context ctx) override {
    base::TaskScope scope(context_.executor, ctx);
    while (!ctx.done()) {
      auto found = co_await context_.discover(ctx);
      if (found) {
        Monitor(scope, *found);
        break;
      }
      base::LogV(2, "Garbage collector cannot discover resources", {{"err", found.error()}});
      (void)co_await base::Sleep(context_.executor, ctx, kLookAgain);
    }
    // An owner is judged gone by a live look, but dependents are found in the copies: all of them must be there first.
    for (const auto& [name, m] : monitors_)
      if (!(co_await m->informer.WaitForSync(ctx)).ok()) break;
    scope.Spawn(controller_.Run(scope.context()));
    while ((co_await base::Sleep(context_.executor, ctx, kDiscoverAgain)).ok())
      if (auto found = co_await context_.discover(ctx)) Monitor(scope, *found);
    co_await scope.Join();
  }

 private:
  struct MonitorOf {
    MonitorOf(ManagerContext& c, ServedResource r)
        : served(std::move(r)), informer(c.executor, c.client, {.resource = &served.resource}) {}
    ServedResource served;
    client::Informer<AnyObject> informer;
  };

  void Monitor(base::TaskScope& scope, const std::vector<ServedResource>& found) {
    for (const auto& r : found) {
      // Events come and go by themselves and own nothing.
      if (r.resource.resource == "events" || !r.Can("list") || !r.Can("watch") || !r.Can("delete")) continue;
      std::string name = r.resource.resource + "." + r.resource.group;
      if (monitors_.contains(name)) continue;  // served in several versions: the first is the preferred one
      auto made = std::make_unique<MonitorOf>(context_, r);
      auto& informer = made->informer;
      informer.SetTransform(Trim);
      informer.AddIndex("uid", [](const AnyObject& o) { return std::vector{o.metadata().uid()}; });
      informer.AddIndex("owner", [](const AnyObject& o) {
        std::vector<std::string> out;
        for (const auto& ref : o.metadata().ownerreferences()) out.push_back(ref.uid());
        return out;
      });
      informer.AddHandler([this, name](const client::Change<AnyObject>& c) { OnChange(name, c); });
      scope.Spawn(informer.Run(scope.context()));
      monitors_[name] = std::move(made);
    }
  }

  void OnChange(const std::string& resource, const client::Change<AnyObject>& c) {
    const AnyObject& o = c.any();
    if (!c.current) {
      // Everything that named it has one owner less; an owner that waited for it may go now.
      for (const auto& [key, dependent] : DependentsOf(o.metadata().uid())) controller_.queue().Add(key);
      for (const auto& ref : o.metadata().ownerreferences()) AddWaitingOwner(ref.uid());
      return;
    }
    ReportStrangers(resource, c);
    bool special = Leaving(o) && (Has(o, kForeground) || Has(o, kOrphan));
    if (special || !o.metadata().ownerreferences().empty()) controller_.queue().Add(KeyFor(resource, o));
    if (c.old)
      for (const auto& ref : c.old->metadata().ownerreferences())
        if (!RefTo(o, ref.uid())) AddWaitingOwner(ref.uid());
    // A dependent may wait to be deleted by its owner's going.
    if (WaitsForDependents(o) && !(c.old && WaitsForDependents(*c.old)))
      for (const auto& [key, dependent] : DependentsOf(o.metadata().uid())) controller_.queue().Add(key);
  }

  // An owner lives in its dependent's namespace or in none. Told when the reference is new, or when its owner becomes
  // known after it; an update of either says nothing again.
  void ReportStrangers(const std::string& resource, const client::Change<AnyObject>& c) {
    const AnyObject& o = c.any();
    for (const auto& ref : o.metadata().ownerreferences()) {
      if (c.old && RefTo(*c.old, ref.uid())) continue;
      if (auto owner = FindUid(ref.uid()).second; owner && IsStranger(*owner, o)) {
        ReportStranger(monitors_.at(resource)->served.resource, o, ref);
        break;
      }
    }
    if (c.old) return;
    for (const auto& [key, dependent] : DependentsOf(o.metadata().uid()))
      if (IsStranger(o, *dependent))
        ReportStranger(monitors_.at(Parts(key)[0])->served.resource, *dependent,
                       *RefTo(*dependent, o.metadata().uid()));
  }

  static bool IsStranger(const AnyObject& owner, const AnyObject& dependent) {
    const auto& ns = owner.metadata().namespace_();
    return !ns.empty() && ns != dependent.metadata().namespace_();
  }

  void ReportStranger(const client::Resource& resource, const AnyObject& o, const meta::OwnerReference& ref) {
    const auto& m = o.metadata();
    std::string owner = "[" + ref.apiversion() + "/" + ref.kind() + ", namespace: " + m.namespace_() +
                        ", name: " + ref.name() + ", uid: " + ref.uid() + "]";
    events_.Event({resource.ApiVersion(), resource.kind, m.namespace_(), m.name(), m.uid(), "", ""}, "Warning",
                  "OwnerRefInvalidNamespace",
                  "ownerRef " + owner + " does not exist in namespace " + machinery::object::GoQuote(m.namespace_()));
  }

  void AddWaitingOwner(const std::string& uid) {
    auto [key, owner] = FindUid(uid);
    if (owner && Leaving(*owner)) controller_.queue().Add(key);
  }

  static client::Key KeyFor(const std::string& resource, const AnyObject& o) {
    const auto& m = o.metadata();
    return resource + "|" + m.namespace_() + "|" + m.name() + "|" + m.uid();
  }
  static std::array<std::string, 4> Parts(const client::Key& key) {
    std::array<std::string, 4> out;
    size_t part = 0;
    for (char c : key) {
      if (c == '|' && part < 3)
        ++part;
      else
        out[part] += c;
    }
    return out;
  }

  std::pair<client::Key, Ptr> FindUid(const std::string& uid) const {
    for (const auto& [name, m] : monitors_) {
      auto found = m->informer.ByIndex("uid", uid);
      if (!found.empty()) return {KeyFor(name, *found[0]), found[0]};
    }
    return {};
  }
  std::vector<std::pair<client::Key, Ptr>> DependentsOf(const std::string& uid) const {
    std::vector<std::pair<client::Key, Ptr>> out;
    for (const auto& [name, m] : monitors_)
      for (auto& o : m->informer.ByIndex("owner", uid)) {
        auto key = KeyFor(name, *o);
        out.emplace_back(std::move(key), std::move(o));
      }
    return out;
  }

  using Result = base::Task<base::Result<client::Done>>;

  Result Reconcile(base::Context ctx, client::Key key) {
    auto [name, ns, object, uid] = Parts(key);
    auto monitor = monitors_.find(name);
    if (monitor == monitors_.end()) co_return client::Done{};
    auto o = monitor->second->informer.Get(ns, object);
    if (!o || o->metadata().uid() != uid) co_return client::Done{};
    const client::Resource& resource = monitor->second->served.resource;
    if (Leaving(*o) && Has(*o, kOrphan)) co_return co_await OrphanDependents(ctx, resource, o);
    if (WaitsForDependents(*o)) co_return co_await Foreground(ctx, resource, o);
    if (Leaving(*o)) co_return client::Done{};
    co_return co_await Judge(ctx, resource, o);
  }

  enum class Owner { kSolid, kGone, kWaiting };

  // Deletes the object when no owner is left that holds it, or drops the references that hold nothing.
  Result Judge(base::Context ctx, client::Resource resource, Ptr o) {
    std::vector<std::string> useless;
    int solid = 0, waiting = 0;
    for (const auto& ref : o->metadata().ownerreferences()) {
      CO_TRY_ASSIGN(Owner owner, co_await Look(ctx, resource, *o, ref));
      solid += owner == Owner::kSolid;
      waiting += owner == Owner::kWaiting;
      if (owner != Owner::kSolid) useless.push_back(ref.uid());
    }
    if (useless.empty()) co_return client::Done{};
    const auto& m = o->metadata();
    if (solid > 0) {
      CO_TRY(co_await DropOwners(ctx, resource, o, useless));
      co_return client::Done{};
    }
    std::string policy = Has(*o, kOrphan) ? "Orphan" : Has(*o, kForeground) ? "Foreground" : "Background";
    // Its owner waits for it, so it waits for its own.
    if (waiting > 0 && !DependentsOf(m.uid()).empty()) policy = "Foreground";
    base::LogV(2, "Deleting item",
               {{"resource", resource.resource},
                {"namespace", m.namespace_()},
                {"name", m.name()},
                {"propagationPolicy", policy}});
    // The version keeps us from deleting an object that got an owner since we looked.
    auto status = co_await untyped_.Delete(
        ctx, resource, m.namespace_(), m.name(),
        {.propagation_policy = policy, .uid = m.uid(), .resource_version = m.resourceversion()});
    if (!status.ok() && !machinery::object::IsNotFound(status)) co_return base::Err(status);
    co_return client::Done{};
  }

  base::Task<base::Result<Owner>> Look(base::Context ctx, client::Resource dependent, const AnyObject& o,
                                       const meta::OwnerReference& ref) {
    const auto& ns = o.metadata().namespace_();
    auto known = FindUid(ref.uid()).second;
    if (known && (known->metadata().namespace_().empty() || known->metadata().namespace_() == ns))
      co_return WaitsForDependents(*known) && ref.blockownerdeletion() ? Owner::kWaiting : Owner::kSolid;
    const client::Resource* resource = ResourceFor(ref.apiversion(), ref.kind());
    // A kind nobody serves: its objects may be there again when its server is.
    if (!resource) co_return Owner::kSolid;
    // A namespaced owner cannot hold a cluster-scoped object; what the reference means is unknown, so nothing is done.
    if (resource->namespaced && ns.empty()) co_return Owner::kSolid;
    auto live = co_await untyped_.Get(ctx, *resource, resource->namespaced ? ns : "", ref.name());
    if (!live && !machinery::object::IsNotFound(live.error())) co_return base::Err(live.error());
    if (!live || live->metadata().uid() != ref.uid()) co_return Owner::kGone;
    co_return WaitsForDependents(*live) && ref.blockownerdeletion() ? Owner::kWaiting : Owner::kSolid;
  }

  const client::Resource* ResourceFor(const std::string& api_version, const std::string& kind) const {
    auto slash = api_version.find('/');
    std::string group = slash == api_version.npos ? "" : api_version.substr(0, slash);
    for (const auto& [name, m] : monitors_)
      if (m->served.resource.group == group && m->served.resource.kind == kind) return &m->served.resource;
    return nullptr;
  }

  // Reads, takes references or finalizers away, writes; gone or replaced is fine.
  base::Task<base::Status> DropOwners(base::Context ctx, client::Resource resource, Ptr item,
                                      std::vector<std::string> owners) {
    const auto& m = item->metadata();
    auto o = co_await untyped_.Get(ctx, resource, m.namespace_(), m.name());
    if (!o) co_return machinery::object::IsNotFound(o.error()) ? base::Ok() : o.error();
    if (o->metadata().uid() != m.uid()) co_return base::Ok();
    auto* refs = o->mutable_metadata()->mutable_ownerreferences();
    int before = refs->size();
    refs->erase(std::remove_if(refs->begin(), refs->end(),
                               [&](const auto& r) { return std::ranges::find(owners, r.uid()) != owners.end(); }),
                refs->end());
    if (refs->size() == before) co_return base::Ok();
    auto updated = co_await untyped_.Update(ctx, resource, std::move(*o));
    if (!updated && machinery::object::IsNotFound(updated.error())) co_return base::Ok();
    co_return base::StatusOf(updated);
  }

  base::Task<base::Status> DropFinalizer(base::Context ctx, client::Resource resource, Ptr item,
                                         std::string finalizer) {
    const auto& m = item->metadata();
    auto o = co_await untyped_.Get(ctx, resource, m.namespace_(), m.name());
    if (!o) co_return machinery::object::IsNotFound(o.error()) ? base::Ok() : o.error();
    if (o->metadata().uid() != m.uid()) co_return base::Ok();
    auto* all = o->mutable_metadata()->mutable_finalizers();
    auto it = std::find(all->begin(), all->end(), finalizer);
    if (it == all->end()) co_return base::Ok();
    all->erase(it);
    auto updated = co_await untyped_.Update(ctx, resource, std::move(*o));
    if (!updated && machinery::object::IsNotFound(updated.error())) co_return base::Ok();
    co_return base::StatusOf(updated);
  }

  Result OrphanDependents(base::Context ctx, client::Resource resource, Ptr o) {
    for (const auto& [key, dependent] : DependentsOf(o->metadata().uid())) {
      auto monitor = monitors_.find(Parts(key)[0]);
      CO_TRY(co_await DropOwners(ctx, monitor->second->served.resource, dependent, std::vector{o->metadata().uid()}));
    }
    CO_TRY(co_await DropFinalizer(ctx, resource, o, kOrphan));
    co_return client::Done{};
  }

  Result Foreground(base::Context ctx, client::Resource resource, Ptr o) {
    bool blocked = false;
    for (const auto& [key, dependent] : DependentsOf(o->metadata().uid())) {
      const auto* ref = RefTo(*dependent, o->metadata().uid());
      blocked |= ref && ref->blockownerdeletion();
      if (!Leaving(*dependent)) controller_.queue().Add(key);
    }
    // A dependent's going brings us back; the look after a while is for one that went between two watches.
    if (blocked) co_return client::Done{10 * kLookAgain};
    CO_TRY(co_await DropFinalizer(ctx, resource, o, kForeground));
    co_return client::Done{};
  }

  ManagerContext& context_;
  Untyped untyped_;
  client::EventRecorder& events_;
  std::map<std::string, std::unique_ptr<MonitorOf>> monitors_;  // by "resource.group"
  client::Controller controller_;
};
}  // namespace

std::unique_ptr<RunnableController> MakeGarbageCollector(ManagerContext& context) {
  return std::make_unique<GarbageCollector>(context);
}

}  // namespace controller_manager
