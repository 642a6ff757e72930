#include "kubelet/volumes/volume.h"

#include "kubelet/volumes/mounter.h"
#include "kubelet/volumes/plugins.h"

namespace kubelet::volumes {
namespace {

int64_t GroupOf(const api::Pod& pod) {
  return pod.spec().securitycontext().has_fsgroup() ? pod.spec().securitycontext().fsgroup() : -1;
}

}  // namespace

const Plugin* FindPlugin(const api::Volume& volume) {
#define VOLUME(name) &name##Plugin(),
  static const Plugin* const kPlugins[] = {
#include "kubelet/volumes/volumes.def"
  };
#undef VOLUME
  for (const Plugin* p : kPlugins)
    if (p->Handles(volume.volumesource())) return p;
  return nullptr;
}

std::string SourceName(const api::VolumeSource& source) {
  const auto* d = source.GetDescriptor();
  for (int i = 0; i < d->field_count(); ++i)
    if (source.GetReflection()->HasField(source, d->field(i))) return std::string(d->field(i)->json_name());
  return "unknown";
}

Manager::Manager(base::Executor& executor, base::BlockingPool& pool, Mounter& mounter, Source& source,
                 std::string pods_directory)
    : executor_(executor),
      pool_(pool),
      mounter_(mounter),
      source_(source),
      pods_directory_(std::move(pods_directory)) {}

base::Task<Manager::Outcome> Manager::SetUp(base::Context ctx, PodPtr pod) {
  Outcome out;
  const std::string pod_directory = PodDirectory(RuntimeUid(*pod));
  const int64_t group = GroupOf(*pod);
  for (const auto& volume : pod->spec().volumes()) {
    const Plugin* plugin = FindPlugin(volume);
    if (!plugin) {
      out.errors.push_back({volume.name(), base::Unimplemented("volumes of type " + SourceName(volume.volumesource()) +
                                                               " are not supported yet")});
      continue;
    }
    Request request{pod, &volume,
                    pod_directory + "/volumes/" + std::string(plugin->directory_name()) + "/" + volume.name(),
                    &source_};
    auto setup = co_await plugin->Prepare(ctx, request);
    if (!setup) {
      out.errors.push_back({volume.name(), setup.error()});
      continue;
    }
    const Place place{pod_directory, volume.name(), group, WallNanos(executor_.clock())};
    base::Status done =
        co_await base::RunBlocking(pool_, executor_, [this, &setup, &place] { return mounter_.Make(*setup, place); });
    if (!done.ok())
      out.errors.push_back({volume.name(), done});
    else
      out.mounted[volume.name()] = {setup->path, setup->wrapped};
  }
  co_return out;
}

base::Task<base::Result<std::string>> Manager::BindSubPath(std::string uid, SubPath sub) {
  std::string target =
      PodDirectory(uid) + "/volume-subpaths/" + sub.volume + "/" + sub.container + "/" + std::to_string(sub.index);
  co_return co_await base::RunBlocking(pool_, executor_, [&] { return mounter_.BindSubPath(sub, target); });
}

base::Task<base::Status> Manager::TearDown(std::string uid) {
  CHECK(!uid.empty());
  std::string directory = PodDirectory(uid);
  co_return co_await base::RunBlocking(pool_, executor_, [this, directory] { return mounter_.Remove(directory); });
}

std::vector<std::string> Manager::PodsOnDisk() const { return mounter_.List(pods_directory_); }

base::Status AddItems(const google::protobuf::RepeatedPtrField<api::KeyToPath>& items,
                      const std::map<std::string, std::string>& contents, int default_mode, bool optional,
                      const std::string& what, Payload& out) {
  if (items.empty()) {
    for (const auto& [key, content] : contents) out[key] = {content, default_mode, -1};
    return base::Ok();
  }
  for (const auto& item : items) {
    auto it = contents.find(item.key());
    if (it == contents.end()) {
      if (optional) continue;
      return base::FailedPrecondition(what == "secret" ? "references non-existent secret key: " + item.key()
                                                       : what + " references non-existent config key: " + item.key());
    }
    out[item.path()] = {it->second, item.has_mode() ? item.mode() : default_mode, -1};
  }
  return base::Ok();
}

std::map<std::string, std::string> ContentsOf(const api::ConfigMap& map) {
  std::map<std::string, std::string> out(map.data().begin(), map.data().end());
  out.insert(map.binarydata().begin(), map.binarydata().end());
  return out;
}

std::map<std::string, std::string> ContentsOf(const api::Secret& secret) {
  return {secret.data().begin(), secret.data().end()};
}

base::Status AddDownward(const google::protobuf::RepeatedPtrField<api::DownwardAPIVolumeFile>& items,
                         const api::Pod& pod, const NodeFacts& node, int default_mode, Payload& out) {
  for (const auto& item : items) {
    auto text = item.has_fieldref() ? FieldText(pod, item.fieldref().fieldpath(), node)
                                    : ResourceText(pod, item.resourcefieldref(), "", node);
    if (!text) return text.error();
    out[item.path()] = {*text, item.has_mode() ? item.mode() : default_mode, -1};
  }
  return base::Ok();
}

}  // namespace kubelet::volumes
