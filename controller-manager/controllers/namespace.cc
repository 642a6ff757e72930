// Namespace: empties a namespace that is being deleted, kind by kind, then lets it go. Its conditions say how far it is
// and what is in the way.
#include <algorithm>
#include <set>

#include "base/log.h"
#include "base/strings.h"
#include "controller-manager/common/context.h"
#include "controller-manager/common/untyped.h"
#include "machinery/client/micro_time.h"
#include "machinery/object/api_error.h"
#include "proto/k8s/core/v1/namespace.pb.h"

namespace controller_manager {
namespace {
using k8s::io::api::core::v1::Namespace;
using k8s::io::api::core::v1::NamespaceStatus;

constexpr char kFinalizer[] = "kubernetes";
constexpr base::Duration kLookAgain = std::chrono::seconds(1);

// What was found while emptying.
struct Found {
  std::string discovery_error;
  std::vector<std::string> errors;
  std::map<std::string, size_t> remaining;   // "pods." -> how many
  std::map<std::string, size_t> finalizers;  // finalizer -> on how many
  bool pods_remain = false;
  bool clean() const { return discovery_error.empty() && errors.empty() && remaining.empty(); }
};

class NamespaceController final : public RunnableController {
 public:
  explicit NamespaceController(ManagerContext& context)
      : context_(context),
        client_(context.client),
        untyped_(context.client),
        namespaces_(context.informers.Of<Namespace>()),
        controller_(context.executor, "namespace", context.Workers("namespace-controller", 10),
                    [this](base::Context ctx, client::Key key) { return Reconcile(std::move(ctx), std::move(key)); }) {
    controller_.Watches<Namespace>(namespaces_, [](const client::Change<Namespace>& c) {
      bool leaving = c.current && c.current->metadata().has_deletiontimestamp();
      return leaving ? std::vector{client::KeyOf(*c.current)} : std::vector<client::Key>();
    });
  }
  base::Task<void> Run(base::Context ctx) override { return controller_.Run(std::move(ctx)); }

 private:
  base::Task<base::Result<client::Done>> Reconcile(base::Context ctx, client::Key key) {
    auto known = namespaces_.Get(key);
    if (!known || !known->metadata().has_deletiontimestamp()) co_return client::Done{};
    auto fresh = co_await client_.Get<Namespace>(ctx, "", key);
    if (!fresh && machinery::object::IsNotFound(fresh.error())) co_return client::Done{};
    if (!fresh) co_return base::Err(fresh.error());
    if (fresh->metadata().uid() != known->metadata().uid()) co_return client::Done{};
    const auto& finalizers = fresh->spec().finalizers();
    if (std::ranges::find(finalizers, kFinalizer) == finalizers.end()) co_return client::Done{};
    if (fresh->status().phase() != "Terminating") {
      fresh->mutable_status()->set_phase("Terminating");
      CO_TRY_ASSIGN(*fresh, co_await client_.UpdateStatus<Namespace>(ctx, std::move(*fresh)));
    }
    Found found = co_await Empty(ctx, key);
    if (Describe(found, *fresh->mutable_status())) {
      CO_TRY_ASSIGN(*fresh, co_await client_.UpdateStatus<Namespace>(ctx, std::move(*fresh)));
    }
    if (!found.errors.empty()) co_return base::Err(base::Internal(base::Join(found.errors, ", ")));
    if (!found.clean()) co_return client::Done{found.pods_remain ? 2 * kLookAgain : kLookAgain};
    auto* left = fresh->mutable_spec()->mutable_finalizers();
    left->erase(std::remove(left->begin(), left->end(), kFinalizer), left->end());
    auto done = co_await client_.Update<Namespace>(ctx, std::move(*fresh), "finalize");
    if (!done && !machinery::object::IsNotFound(done.error())) co_return base::Err(done.error());
    co_return client::Done{};
  }

  base::Task<Found> Empty(base::Context ctx, std::string ns) {
    Found found;
    auto resources = co_await context_.discover(ctx);
    if (!resources) {
      found.discovery_error = resources.error().message();
      co_return found;
    }
    std::set<std::pair<std::string, std::string>> seen;
    for (const auto& r : *resources) {
      if (!r.resource.namespaced || !r.Can("list") || !r.Can("delete")) continue;
      // Events are served by two groups and are the same objects; other resources by several versions.
      if (r.resource.group == "events.k8s.io" || !seen.emplace(r.resource.group, r.resource.resource).second) continue;
      co_await EmptyOne(ctx, ns, r, found);
    }
    co_return found;
  }

  base::Task<void> EmptyOne(base::Context ctx, std::string ns, ServedResource r, Found& found) {
    auto items = co_await untyped_.List(ctx, r.resource, ns);
    if (items && items->empty()) co_return;
    if (items) {
      base::Status status;
      if (r.Can("deletecollection")) {
        status = co_await untyped_.DeleteCollection(ctx, r.resource, ns);
      } else {
        for (const auto& o : *items) {
          status =
              co_await untyped_.Delete(ctx, r.resource, ns, o->metadata().name(), {.propagation_policy = "Background"});
          if (!status.ok() && !machinery::object::IsNotFound(status)) break;
        }
      }
      if (!status.ok() && !machinery::object::IsNotFound(status)) found.errors.emplace_back(status.message());
      items = co_await untyped_.List(ctx, r.resource, ns);
    }
    if (!items) {
      found.errors.emplace_back(items.error().message());
      co_return;
    }
    if (items->empty()) co_return;
    found.remaining[r.resource.resource + "." + r.resource.group] = items->size();
    found.pods_remain |= r.resource.group.empty() && r.resource.resource == "pods";
    for (const auto& o : *items)
      for (const auto& f : o->metadata().finalizers()) ++found.finalizers[f];
  }

  // The five conditions; true when one changed.
  bool Describe(const Found& found, NamespaceStatus& status) {
    bool changed = Set(status, "NamespaceDeletionDiscoveryFailure", !found.discovery_error.empty(),
                       found.discovery_error.empty() ? "ResourcesDiscovered" : "DiscoveryFailed",
                       found.discovery_error.empty() ? "All resources successfully discovered"
                                                     : "Discovery failed for some groups: " + found.discovery_error);
    changed |= Set(status, "NamespaceDeletionGroupVersionParsingFailure", false, "ParsedGroupVersions",
                   "All legacy kube types successfully parsed");
    changed |=
        Set(status, "NamespaceDeletionContentFailure", !found.errors.empty(),
            found.errors.empty() ? "ContentDeleted" : "ContentDeletionFailed",
            found.errors.empty() ? "All content successfully deleted, may be waiting on finalization"
                                 : "Failed to delete all resource types, " + std::to_string(found.errors.size()) +
                                       " remaining: " + base::Join(found.errors, ", "));
    std::vector<std::string> remaining, finalizers;
    for (const auto& [what, n] : found.remaining)
      remaining.push_back(what + " has " + std::to_string(n) + " resource instances");
    for (const auto& [what, n] : found.finalizers)
      finalizers.push_back(what + " in " + std::to_string(n) + " resource instances");
    changed |= Set(status, "NamespaceContentRemaining", !remaining.empty(),
                   remaining.empty() ? "ContentRemoved" : "SomeResourcesRemain",
                   remaining.empty() ? "All content successfully removed"
                                     : "Some resources are remaining: " + base::Join(remaining, ", "));
    changed |= Set(status, "NamespaceFinalizersRemaining", !finalizers.empty(),
                   finalizers.empty() ? "ContentHasNoFinalizers" : "SomeFinalizersRemain",
                   finalizers.empty()
                       ? "All content-preserving finalizers finished"
                       : "Some content in the namespace has finalizers remaining: " + base::Join(finalizers, ", "));
    return changed;
  }

  bool Set(NamespaceStatus& status, const std::string& type, bool truth, const std::string& reason,
           const std::string& message) {
    auto* all = status.mutable_conditions();
    auto it = std::find_if(all->begin(), all->end(), [&](const auto& c) { return c.type() == type; });
    auto* c = it == all->end() ? all->Add() : &*it;
    std::string value = truth ? "True" : "False";
    if (c->status() == value && c->reason() == reason && c->message() == message) return false;
    if (c->status() != value) client::SetTime(*c->mutable_lasttransitiontime(), context_.executor.WallNow());
    c->set_type(type);
    c->set_status(value);
    c->set_reason(reason);
    c->set_message(message);
    return true;
  }

  ManagerContext& context_;
  client::Client& client_;
  Untyped untyped_;
  client::Informer<Namespace>& namespaces_;
  client::Controller controller_;
};
}  // namespace

std::unique_ptr<RunnableController> MakeNamespace(ManagerContext& context) {
  return std::make_unique<NamespaceController>(context);
}

}  // namespace controller_manager
