// The words the kubelet's folders share: short names for the generated API and runtime types, what the runtime was seen
// to hold for one pod, and the small readers of a pod that several places need.
//
// Values only; whoever makes one owns it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/executor.h"
#include "proto/cri/runtime.pb.h"
#include "proto/k8s/core/v1/pod.pb.h"

namespace kubelet {

namespace api = ::k8s::io::api::core::v1;
namespace meta = ::k8s::io::apimachinery::pkg::apis::meta::v1;
namespace quantity = ::k8s::io::apimachinery::pkg::api::resource;
namespace cri = ::runtime::v1;

using PodPtr = std::shared_ptr<const api::Pod>;

// Labels and annotations by which a later kubelet finds its pods again (they are in every original's runtime, too).
inline constexpr std::string_view kPodNameLabel = "io.kubernetes.pod.name";
inline constexpr std::string_view kPodNamespaceLabel = "io.kubernetes.pod.namespace";
inline constexpr std::string_view kPodUidLabel = "io.kubernetes.pod.uid";
inline constexpr std::string_view kContainerNameLabel = "io.kubernetes.container.name";
inline constexpr std::string_view kContainerHash = "io.kubernetes.container.hash";
inline constexpr std::string_view kContainerRestartCount = "io.kubernetes.container.restartCount";
inline constexpr std::string_view kContainerTerminationMessagePath = "io.kubernetes.container.terminationMessagePath";
inline constexpr std::string_view kContainerTerminationMessagePolicy =
    "io.kubernetes.container.terminationMessagePolicy";
inline constexpr std::string_view kContainerPreStopHandler = "io.kubernetes.container.preStopHandler";
inline constexpr std::string_view kContainerPorts = "io.kubernetes.container.ports";
inline constexpr std::string_view kPodTerminationGracePeriod = "io.kubernetes.pod.terminationGracePeriod";
inline constexpr std::string_view kPodDeletionGracePeriod = "io.kubernetes.pod.deletionGracePeriod";
inline constexpr std::string_view kConfigSource = "kubernetes.io/config.source";
inline constexpr std::string_view kConfigMirror = "kubernetes.io/config.mirror";
inline constexpr std::string_view kConfigHash = "kubernetes.io/config.hash";
inline constexpr std::string_view kConfigSeen = "kubernetes.io/config.seen";

enum class ContainerState { kCreated, kRunning, kExited, kUnknown };

// One container as the runtime reports it.
struct ObservedContainer {
  std::string id;  // without the runtime's name
  std::string sandbox_id;
  std::string name;
  ContainerState state = ContainerState::kUnknown;
  int restart_count = 0;
  uint32_t hash = 0;                                        // of the spec it was made from
  int64_t created_at = 0, started_at = 0, finished_at = 0;  // ns since the epoch
  int exit_code = 0;
  std::string reason, message;
  std::string image, image_id;
  std::string log_path;
  std::string termination_file;  // the node's file behind its termination message path
};

struct ObservedSandbox {
  std::string id;
  bool ready = false;
  uint32_t attempt = 0;
  int64_t created_at = 0;
  std::vector<std::string> ips;  // primary first; empty for the host's network
  bool host_network = false;
};

// Everything the runtime holds of one pod. Newest first, both.
struct ObservedPod {
  std::string uid, name, namespace_name;
  std::vector<ObservedSandbox> sandboxes;
  std::vector<ObservedContainer> containers;

  // The newest container with that name, or nullptr.
  const ObservedContainer* Find(std::string_view container) const;
  const ObservedContainer* FindId(std::string_view id) const;
  bool AnyRunning() const;
  bool empty() const { return sandboxes.empty() && containers.empty(); }
};

// "default/web".
std::string FullName(const api::Pod& pod);
// The original's long form in texts: "web_default(uid)".
std::string FormatPod(const api::Pod& pod);

// The uid under which the runtime knows a pod: a static pod's own, also when asked of its mirror.
const std::string& RuntimeUid(const api::Pod& pod);
bool IsStaticPod(const api::Pod& pod);  // read from a file here
bool IsMirrorPod(const api::Pod& pod);  // the API's picture of one

// Init, ordinary and ephemeral ones, by name; null when there is none. Good as long as the pod is.
using ContainerPtr = std::shared_ptr<const api::Container>;
ContainerPtr FindContainer(const api::Pod& pod, std::string_view name);
// What an ephemeral container says, in the words of an ordinary one.
api::Container AsContainer(const api::EphemeralContainer& container);
bool IsEphemeralContainer(const api::Pod& pod, std::string_view name);
bool IsInitContainer(const api::Pod& pod, std::string_view name);
// An init container that restarts by itself and runs beside the ordinary ones.
bool IsSidecar(const api::Container& container);
// What a change of the spec that needs a new container changes: name and image. FNV-1a over the text the original's
// hashing prints, so that a kubelet of either make adopts the other's containers.
uint32_t HashOf(const api::Container& container);

// deletionGracePeriodSeconds, else terminationGracePeriodSeconds, else 30.
int64_t GracePeriodOf(const api::Pod& pod);

enum class QosClass { kGuaranteed, kBurstable, kBestEffort };
QosClass QosOf(const api::Pod& pod);
std::string_view QosName(QosClass qos);

// The name of a kernel parameter with dots between its parts, whichever separator was written.
std::string NormalSysctlName(std::string name);

// Times of the API from nanoseconds; zero stays unset.
meta::Time TimeOf(int64_t ns);
int64_t NanosOf(const meta::Time& t);
int64_t WallNanos(const base::Clock& clock);

}  // namespace kubelet
