#include "kubelet/event_sink.h"

#include "base/log.h"
#include "machinery/value/value.h"

namespace kubelet {

namespace client = machinery::client;

void EventSink::Pod(const api::Pod& pod, std::string_view container, std::string_view type, std::string reason,
                    std::string message) {
  // Much of it is a container's own output, and the API takes text only.
  message = machinery::value::ToValidUtf8(message);
  if (!recorder_ || IsStaticPod(pod)) {
    // A static pod's events belong to its mirror, which the API may not have.
    base::LogInfo("Event occurred", {{"object", FullName(pod)},
                                     {"fieldPath", container},
                                     {"type", type},
                                     {"reason", reason},
                                     {"message", message}});
    if (!recorder_) return;
  }
  std::string path;
  if (!container.empty())
    path = std::string(IsInitContainer(pod, container)        ? "spec.initContainers{"
                       : IsEphemeralContainer(pod, container) ? "spec.ephemeralContainers{"
                                                              : "spec.containers{") +
           std::string(container) + "}";
  recorder_->Event(client::ReferenceTo(pod, path), type, std::move(reason), std::move(message));
}

void EventSink::Node(std::string_view type, std::string reason, std::string message) {
  if (!recorder_) {
    base::LogInfo("Event occurred", {{"object", node_}, {"type", type}, {"reason", reason}, {"message", message}});
    return;
  }
  client::ObjectReference about{.api_version = "v1", .kind = "Node", .name = node_, .uid = node_};
  recorder_->Event(about, type, std::move(reason), std::move(message));
}

}  // namespace kubelet
