// The agent's sources of pods: the API, the directory of manifests, and the mirrors by which the API shows the latter.
#include <filesystem>

#include "base/bytes.h"
#include "base/file.h"
#include "base/log.h"
#include "kubelet/agent.h"
#include "kubelet/paths/paths.h"
#include "machinery/object/api_error.h"

namespace kubelet {

namespace fs = std::filesystem;
namespace client = machinery::client;
using std::chrono::seconds;

// Pods come once what their containers need to know of Services and the node is there.
base::Task<void> Agent::RunPods(base::Context ctx) {
  if (!(co_await services_->WaitForSync(ctx)).ok() || !(co_await nodes_->WaitForSync(ctx)).ok()) co_return;
  co_await pods_->Run(ctx);
}

namespace {

// Names become directories of pods, volumes and logs. The API checks them; this does not rely on it.
bool CanBePaths(const api::Pod& pod) {
  const auto& m = pod.metadata();
  bool fine = paths::IsComponent(m.uid()) && paths::IsComponent(m.name()) && paths::IsComponent(m.namespace_());
  for (const auto& v : pod.spec().volumes()) fine = fine && paths::IsComponent(v.name());
  for (const auto* list : {&pod.spec().initcontainers(), &pod.spec().containers()})
    for (const auto& c : *list) fine = fine && paths::IsComponent(c.name());
  for (const auto& c : pod.spec().ephemeralcontainers())
    fine = fine && paths::IsComponent(c.ephemeralcontainercommon().name());
  return fine;
}

// A pod of the API came from the API, whatever its annotations say.
PodPtr FromApi(PodPtr pod) {
  if (!IsStaticPod(*pod)) return pod;
  auto copy = std::make_shared<api::Pod>(*pod);
  (*copy->mutable_metadata()->mutable_annotations())[std::string(kConfigSource)] = "api";
  return copy;
}

}  // namespace

void Agent::OnApiPod(const client::Change<api::Pod>& change) {
  const api::Pod& pod = change.any();
  if (IsMirrorPod(pod)) {
    // A mirror that was made anew knows nothing yet of how its pod does.
    if (change.current) statuses_->Recheck(RuntimeUid(pod));
    mirrors_.NotifyAll();
    return;
  }
  const std::string& uid = pod.metadata().uid();
  if (change.old && change.current && change.old->metadata().uid() != uid)
    workers_->Remove(change.old->metadata().uid());
  if (!change.current) {
    workers_->Remove(uid);
    return;
  }
  if (!CanBePaths(pod)) {
    base::LogError("A pod whose name cannot be a directory is left alone", base::InvalidArgument(uid));
    return;
  }
  source_->Reference(pod);
  workers_->Update(FromApi(change.current));
  statuses_->Recheck(uid);
}

PodPtr Agent::ApiPodOf(const std::string& uid) const {
  if (auto it = static_pods_.find(uid); it != static_pods_.end()) {
    if (!pods_) return nullptr;
    PodPtr mirror = pods_->Get(it->second->metadata().namespace_(), it->second->metadata().name());
    return mirror && IsMirrorPod(*mirror) && RuntimeUid(*mirror) == uid ? mirror : nullptr;
  }
  PodPtr pod = workers_->Find(uid);
  if (!pod || !pods_) return nullptr;
  PodPtr current = pods_->Get(pod->metadata().namespace_(), pod->metadata().name());
  return current && current->metadata().uid() == uid ? current : nullptr;
}

bool Agent::SourcesReady() const {
  if (!options_.manifest_directory.empty() && !manifests_read_) return false;
  return !pods_ || pods_->synced();
}

base::Task<void> Agent::WatchManifests(base::Context ctx) {
  while (ctx.status().ok()) {
    ReadManifests();
    manifests_read_ = true;
    // Cheap enough to look more often than the original lists; what counts is that a change is seen soon.
    base::Duration wait = std::min<base::Duration>(options_.manifest_frequency, seconds(2));
    if (!(co_await base::Sleep(loop_, ctx, wait)).ok()) co_return;
  }
}

void Agent::ReadManifests() {
  std::error_code ec;
  std::map<std::string, std::string> texts;
  for (const auto& entry : fs::directory_iterator(options_.manifest_directory, ec)) {
    std::string name = entry.path().filename().string();
    if (name.starts_with('.') || !entry.is_regular_file(ec)) continue;
    if (auto text = base::ReadFile(base::PosixFileSystem(), entry.path().string()))
      texts[entry.path().string()] = *text;
  }
  if (texts == manifest_texts_ && manifests_read_) return;
  manifest_texts_ = texts;
  std::map<std::string, PodPtr> found;
  for (const auto& [path, text] : texts) {
    auto pod = options_.parse_manifest ? options_.parse_manifest(text)
                                       : base::Err(base::Unimplemented("no reader of manifests"));
    if (!pod) {
      base::LogError("Could not process manifest file", pod.error(), {{"path", path}});
      continue;
    }
    auto* m = pod->mutable_metadata();
    // The hash of the content is its identity: a changed file is another pod.
    std::string digest = base::HexEncode(base::Sha256("host:" + options_.node.name + "\nfile:" + path + "\n" + text));
    std::string hash = digest.substr(0, 32);
    if (m->uid().empty()) m->set_uid(hash);
    m->set_name(m->name() + "-" + options_.node.name);
    if (m->namespace_().empty()) m->set_namespace_("default");
    (*m->mutable_annotations())[std::string(kConfigHash)] = hash;
    (*m->mutable_annotations())[std::string(kConfigSource)] = "file";
    if (!CanBePaths(*pod)) {
      base::LogError("Could not process manifest file", base::InvalidArgument("a name in it cannot be a directory"),
                     {{"path", path}});
      continue;
    }
    pod->mutable_spec()->set_nodename(options_.node.name);
    auto* all = pod->mutable_spec()->add_tolerations();
    all->set_operator_("Exists");
    all->set_effect("NoExecute");
    pod->mutable_status()->set_phase("Pending");
    found[m->uid()] = std::make_shared<const api::Pod>(std::move(*pod));
  }
  for (const auto& [uid, pod] : static_pods_)
    if (!found.contains(uid)) workers_->Remove(uid);
  std::swap(static_pods_, found);
  for (const auto& [uid, pod] : static_pods_)
    if (!found.contains(uid)) workers_->Update(pod);
  mirrors_.NotifyAll();
}

// The API shows static pods by mirrors that this node makes and keeps.
base::Task<void> Agent::KeepMirrors(base::Context ctx) {
  if (!(co_await pods_->WaitForSync(ctx)).ok()) co_return;
  while (ctx.status().ok()) {
    for (const auto& pod : pods_->List()) {
      if (!IsMirrorPod(*pod)) continue;
      auto own = static_pods_.find(RuntimeUid(*pod));
      if (own != static_pods_.end() && FullName(*own->second) == FullName(*pod)) continue;
      if (!SourcesReady()) continue;
      (void)co_await client_->Delete<api::Pod>(ctx, pod->metadata().namespace_(), pod->metadata().name(),
                                               {.grace_period_seconds = 0, .uid = pod->metadata().uid()});
    }
    auto wanted = static_pods_;
    for (const auto& [uid, pod] : wanted) co_await Mirror(ctx, pod);
    (void)co_await mirrors_.Wait(ctx.WithTimeout(loop_, seconds(30)));
  }
}

base::Task<void> Agent::Mirror(base::Context ctx, PodPtr pod) {
  PodPtr have = pods_->Get(pod->metadata().namespace_(), pod->metadata().name());
  const std::string& hash = pod->metadata().annotations().at(std::string(kConfigHash));
  // A pod of somebody else under the name of a mirror is not ours to remove.
  if (have && !IsMirrorPod(*have)) co_return;
  if (have) {
    if (RuntimeUid(*have) == hash && !have->metadata().has_deletiontimestamp()) co_return;
    (void)co_await client_->Delete<api::Pod>(ctx, pod->metadata().namespace_(), pod->metadata().name(),
                                             {.grace_period_seconds = 0, .uid = have->metadata().uid()});
    co_return;
  }
  if (!node_->current) co_return;
  api::Pod mirror = *pod;
  auto* m = mirror.mutable_metadata();
  m->clear_uid();
  (*m->mutable_annotations())[std::string(kConfigMirror)] = hash;
  auto* owner = m->add_ownerreferences();
  owner->set_apiversion("v1");
  owner->set_kind("Node");
  owner->set_name(options_.node.name);
  owner->set_uid(node_->current->metadata().uid());
  owner->set_controller(true);
  auto made = co_await client_->Create<api::Pod>(ctx, std::move(mirror));
  if (!made && !machinery::object::IsAlreadyExists(made.error()))
    base::LogError("Failed creating a mirror pod", made.error(), {{"pod", FullName(*pod)}});
}

}  // namespace kubelet
