#include "kubelet/static_pods.h"

#include "base/bytes.h"
#include "base/log.h"
#include "kubelet/paths/paths.h"

namespace kubelet {

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

StaticPods::StaticPods(base::Executor& executor, Host& host, StaticPodOptions options)
    : executor_(executor), host_(host), options_(std::move(options)) {}

PodPtr StaticPods::Find(const std::string& uid) const {
  auto it = pods_.find(uid);
  return it == pods_.end() ? nullptr : it->second;
}

base::Task<void> StaticPods::Run(base::Context ctx, Workers& workers) {
  while (!options_.directory.empty() && ctx.status().ok()) {
    Read(workers);
    read_ = true;
    // Cheap enough to look more often than the original lists; what counts is that a change is seen soon.
    base::Duration wait = std::min<base::Duration>(options_.frequency, std::chrono::seconds(2));
    if (!(co_await base::Sleep(executor_, ctx, wait)).ok()) co_return;
  }
}

base::Result<api::Pod> StaticPods::Make(const std::string& path, const std::string& text) const {
  if (!options_.parse) return base::Err(base::Unimplemented("no reader of manifests"));
  TRY_ASSIGN(api::Pod pod, options_.parse(text));
  auto* m = pod.mutable_metadata();
  std::string digest = base::HexEncode(base::Sha256("host:" + options_.node_name + "\nfile:" + path + "\n" + text));
  std::string hash = digest.substr(0, 32);
  if (m->uid().empty()) m->set_uid(hash);
  m->set_name(m->name() + "-" + options_.node_name);
  if (m->namespace_().empty()) m->set_namespace_("default");
  (*m->mutable_annotations())[std::string(kConfigHash)] = hash;
  (*m->mutable_annotations())[std::string(kConfigSource)] = "file";
  if (!CanBePaths(pod)) return base::Err(base::InvalidArgument("a name in it cannot be a directory"));
  pod.mutable_spec()->set_nodename(options_.node_name);
  auto* all = pod.mutable_spec()->add_tolerations();
  all->set_operator_("Exists");
  all->set_effect("NoExecute");
  pod.mutable_status()->set_phase("Pending");
  return pod;
}

void StaticPods::Read(Workers& workers) {
  std::map<std::string, std::string> texts;
  for (const auto& path : host_.ListFiles(options_.directory)) {
    if (path.substr(path.rfind('/') + 1).starts_with('.')) continue;
    if (auto text = base::ReadFile(host_.files(), path)) texts[path] = *text;
  }
  if (texts == texts_ && read_) return;
  texts_ = std::move(texts);
  std::map<std::string, PodPtr> found;
  for (const auto& [path, text] : texts_) {
    auto pod = Make(path, text);
    if (!pod) {
      base::LogError("Could not process manifest file", pod.error(), {{"path", path}});
      continue;
    }
    std::string uid = pod->metadata().uid();
    found[uid] = std::make_shared<const api::Pod>(std::move(*pod));
  }
  for (const auto& [uid, pod] : pods_)
    if (!found.contains(uid)) workers.Remove(uid);
  std::swap(pods_, found);
  for (const auto& [uid, pod] : pods_)
    if (!found.contains(uid)) workers.Update(pod);
  if (on_change) on_change();
}

}  // namespace kubelet
