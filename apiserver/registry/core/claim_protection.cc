#include "apiserver/registry/core/claim_protection.h"

#include "base/sync.h"
#include "machinery/object/meta.h"

namespace apiserver::registry {

namespace object = machinery::object;

namespace {

constexpr auto kInterval = std::chrono::seconds(10);

bool Names(const Value& pod, std::string_view claim) {
  const Value& volumes = pod.At("spec", "volumes");
  if (!volumes.is_list()) return false;
  for (const Value& v : volumes.list()) {
    if (v.At("persistentVolumeClaim", "claimName").string_or() == claim) return true;
    if (v.At("ephemeral").is_map() &&
        std::string(object::NameOf(pod)) + "-" + std::string(v.At("name").string_or()) == claim)
      return true;
  }
  return false;
}

// Takes the finalizer off; the object goes when it was the last.
base::Task<void> Let(Registry& registry, base::Context ctx, Store& store, ObjectPtr object, std::string finalizer) {
  std::string ns(object->namespace_name()), name(object->name());
  auto done = co_await store.Modify(ctx, ns, name, [&](Value& v) {
    object::RemoveFinalizer(v, finalizer);
    return base::Ok();
  });
  if (done && object::FinalizersOf((*done)->Tree()).empty()) (void)co_await store.DeleteInternal(ctx, ns, name);
}

}  // namespace

bool ClaimInUse(const Registry& registry, const Value& claim) {
  Store* pods = registry.FindStore("", "pods");
  if (!pods) return false;
  std::string_view ns = object::NamespaceOf(claim), name = object::NameOf(claim);
  bool used = false;
  pods->cache().ForEach([&](const ObjectPtr& o) {
    if (o->namespace_name() != ns) return true;
    Value pod = o->Tree();
    auto phase = pod.At("status", "phase").string_or();
    used = phase != "Succeeded" && phase != "Failed" && Names(pod, name);
    return !used;
  });
  return used;
}

bool VolumeInUse(const Value& volume) { return volume.At("status", "phase").string_or() == "Bound"; }

base::Task<void> RunClaimProtection(Registry& registry, base::Context ctx) {
  Store* claims = registry.FindStore("", "persistentvolumeclaims");
  Store* volumes = registry.FindStore("", "persistentvolumes");
  while (claims && volumes && (co_await base::Sleep(registry.executor(), ctx, kInterval)).ok()) {
    std::vector<std::pair<Store*, ObjectPtr>> free;
    for (Store* store : {claims, volumes})
      store->cache().ForEach([&, store](const ObjectPtr& o) {
        Value v = o->Tree();
        bool used = !object::IsDeleting(v) || (store == claims ? ClaimInUse(registry, v) : VolumeInUse(v));
        if (!used) free.emplace_back(store, o);
        return true;
      });
    for (auto& [store, object] : free)
      co_await Let(registry, ctx, *store, object,
                   store == claims ? "kubernetes.io/pvc-protection" : "kubernetes.io/pv-protection");
  }
}

}  // namespace apiserver::registry
