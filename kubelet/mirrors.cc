#include "kubelet/mirrors.h"

#include "base/log.h"
#include "machinery/object/api_error.h"

namespace kubelet {

PodPtr Mirrors::Of(const api::Pod& pod) const {
  PodPtr mirror = pods_.Get(pod.metadata().namespace_(), pod.metadata().name());
  return mirror && IsMirrorPod(*mirror) && RuntimeUid(*mirror) == RuntimeUid(pod) ? mirror : nullptr;
}

base::Task<void> Mirrors::Run(base::Context ctx) {
  if (!(co_await pods_.WaitForSync(ctx)).ok()) co_return;
  while (ctx.status().ok()) {
    co_await RemoveStrangers(ctx);
    const auto wanted = own_.all();
    for (const auto& [uid, pod] : wanted) co_await Keep(ctx, pod);
    (void)co_await look_.Wait(ctx.WithTimeout(executor_, std::chrono::seconds(30)));
  }
}

base::Task<void> Mirrors::RemoveStrangers(base::Context ctx) {
  for (const auto& pod : pods_.List()) {
    if (!IsMirrorPod(*pod)) continue;
    PodPtr own = own_.Find(RuntimeUid(*pod));
    if (own && FullName(*own) == FullName(*pod)) continue;
    if (!sources_ready()) continue;
    (void)co_await client_.Delete<api::Pod>(ctx, pod->metadata().namespace_(), pod->metadata().name(),
                                            {.grace_period_seconds = 0, .uid = pod->metadata().uid()});
  }
}

base::Task<void> Mirrors::Keep(base::Context ctx, PodPtr pod) {
  PodPtr have = pods_.Get(pod->metadata().namespace_(), pod->metadata().name());
  if (!have) co_return co_await Make(ctx, *pod);
  // A pod of somebody else under the name of a mirror is not ours to remove.
  if (!IsMirrorPod(*have)) co_return;
  const std::string& hash = pod->metadata().annotations().at(std::string(kConfigHash));
  if (RuntimeUid(*have) == hash && !have->metadata().has_deletiontimestamp()) co_return;
  (void)co_await client_.Delete<api::Pod>(ctx, pod->metadata().namespace_(), pod->metadata().name(),
                                          {.grace_period_seconds = 0, .uid = have->metadata().uid()});
}

base::Task<void> Mirrors::Make(base::Context ctx, const api::Pod& pod) {
  if (!node_.current) co_return;
  api::Pod mirror = pod;
  auto* m = mirror.mutable_metadata();
  m->clear_uid();
  (*m->mutable_annotations())[std::string(kConfigMirror)] = pod.metadata().annotations().at(std::string(kConfigHash));
  auto* owner = m->add_ownerreferences();
  owner->set_apiversion("v1");
  owner->set_kind("Node");
  owner->set_name(node_.options().name);
  owner->set_uid(node_.current->metadata().uid());
  owner->set_controller(true);
  auto made = co_await client_.Create<api::Pod>(ctx, std::move(mirror));
  if (!made && !machinery::object::IsAlreadyExists(made.error()))
    base::LogError("Failed creating a mirror pod", made.error(), {{"pod", FullName(pod)}});
}

}  // namespace kubelet
