// Volumes of a pod, as directories of the node that containers mount. One plug-in per kind of source; volumes.def lists
// them in the order in which they are asked.
//
// Set up before the first container starts, refreshed while the pod runs (config maps, secrets, tokens, downward API),
// torn down when it is gone. State is what is on the disk and in the mount table: a new kubelet finds it there. One
// strand; file work runs on a blocking pool.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/task.h"
#include "kubelet/model/fields.h"
#include "kubelet/model/types.h"
#include "proto/k8s/core/v1/config.pb.h"

namespace kubelet::volumes {

struct Token {
  std::string text;
  int64_t expires_ns = 0;
};

// Where content comes from. Errors carry the texts the original shows (`configmap "x" not found`).
class Source {
 public:
  virtual ~Source() = default;
  virtual base::Task<base::Result<std::shared_ptr<const api::ConfigMap>>> ConfigMap(base::Context ctx, std::string ns,
                                                                                    std::string name) = 0;
  virtual base::Task<base::Result<std::shared_ptr<const api::Secret>>> Secret(base::Context ctx, std::string ns,
                                                                              std::string name) = 0;
  // A token bound to the pod; cached and renewed by the implementation.
  virtual base::Task<base::Result<Token>> ServiceAccountToken(base::Context ctx, PodPtr pod, std::string audience,
                                                              int64_t expiration_seconds) = 0;
  virtual NodeFacts FactsFor(const api::Pod& pod) = 0;
};

struct PayloadFile {
  std::string content;
  int mode = 0644;
  int64_t owner = -1;  // -1: leave root's
};
using Payload = std::map<std::string, PayloadFile>;  // by path inside the volume

struct Request {
  PodPtr pod;
  const api::Volume* volume;  // inside *pod
  std::string directory;      // where the volume belongs, below the pod's directory
  Source* source;
};

// What a plug-in wants done; executed on the blocking pool by the manager.
struct Setup {
  std::string path;             // what containers mount; `directory` unless the plug-in points elsewhere
  bool make_directory = false;  // 0777, owned by fsGroup where the pod has one
  bool tmpfs = false;
  int64_t tmpfs_bytes = 0;  // 0: no limit of its own
  bool wrapped = false;     // content made by the kubelet: read-only for containers
  std::optional<Payload> payload;
  std::string path_type;  // hostPath's type, checked and made
  bool check_path = false;
};

class Plugin {
 public:
  virtual ~Plugin() = default;
  virtual std::string_view directory_name() const = 0;  // "kubernetes.io~empty-dir"
  virtual bool Handles(const api::VolumeSource& source) const = 0;
  virtual bool refreshes() const { return false; }
  virtual base::Task<base::Result<Setup>> Prepare(base::Context ctx, Request request) const = 0;
};

// The plug-in for a volume, or nullptr.
const Plugin* FindPlugin(const api::Volume& volume);
// The field of VolumeSource that is set, in JSON's spelling, for error texts.
std::string SourceName(const api::VolumeSource& source);

struct MountedVolume {
  std::string path;
  bool read_only = false;  // whatever the mount says
};
using Mounted = std::map<std::string, MountedVolume>;  // by volume name

struct SetupError {
  std::string volume;
  base::Status status;
};

// One mount of a part of a volume.
struct SubPath {
  std::string volume, volume_path;
  std::string container;
  int index = 0;     // of the mount, in the container
  std::string path;  // relative, without ".."
};

class Mounter;  // what is done on the machine: kubelet/volumes/mounter.h

class Manager {
 public:
  // `pods_directory` is <root>/pods.
  Manager(base::Executor& executor, base::BlockingPool& pool, Mounter& mounter, Source& source,
          std::string pods_directory);

  // Sets up (or refreshes) every volume; the errors of those that could not be.
  struct Outcome {
    Mounted mounted;
    std::vector<SetupError> errors;
  };
  base::Task<Outcome> SetUp(base::Context ctx, PodPtr pod);
  // Makes and binds a subPath for one mount of one container; the path to mount. What the pod has put into the volume
  // (links, mounts) never leads out of it. Errors are the pod's to see.
  base::Task<base::Result<std::string>> BindSubPath(std::string uid, SubPath sub);
  // Unmounts what is mounted below the pod's directory and removes it.
  base::Task<base::Status> TearDown(std::string uid);
  // Pods that have a directory.
  std::vector<std::string> PodsOnDisk() const;
  std::string PodDirectory(const std::string& uid) const { return pods_directory_ + "/" + uid; }

 private:
  base::Executor& executor_;
  base::BlockingPool& pool_;
  Mounter& mounter_;
  Source& source_;
  std::string pods_directory_;
};

// Shared by plug-ins: picks items of a map of contents. `what` is "configmap" or "secret" for errors.
base::Status AddItems(const google::protobuf::RepeatedPtrField<api::KeyToPath>& items,
                      const std::map<std::string, std::string>& contents, int default_mode, bool optional,
                      const std::string& what, Payload& out);
std::map<std::string, std::string> ContentsOf(const api::ConfigMap& map);
std::map<std::string, std::string> ContentsOf(const api::Secret& secret);
base::Status AddDownward(const google::protobuf::RepeatedPtrField<api::DownwardAPIVolumeFile>& items,
                         const api::Pod& pod, const NodeFacts& node, int default_mode, Payload& out);

}  // namespace kubelet::volumes
