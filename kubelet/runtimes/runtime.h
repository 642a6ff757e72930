// The container runtime, as the kubelet calls it: one coroutine per method of the Container Runtime Interface v1
// (runtime and image service), over a channel that carries bytes. A test hands in a channel of its own.
//
// Errors keep the runtime's code; RpcErrorText gives the text the original puts into events. One strand; owned by main.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/loop.h"
#include "base/metrics.h"
#include "base/task.h"
#include "kubelet/model/types.h"

namespace kubelet::runtimes {

// Carries one unary call: the method's path and encoded messages.
class Channel {
 public:
  virtual ~Channel() = default;
  // kDeadlineExceeded after `timeout` (zero: none); kUnavailable while the runtime cannot be reached.
  virtual base::Task<base::Result<std::string>> Unary(base::Context ctx, std::string method, std::string request,
                                                      base::Duration timeout) = 0;
};

class Runtime {
 public:
  // `timeout` is --runtime-request-timeout. `images` may be null: the same service then serves images.
  Runtime(base::Executor& executor, std::unique_ptr<Channel> runtime, std::unique_ptr<Channel> images,
          base::Duration timeout, base::MetricsRegistry* metrics = nullptr);
  ~Runtime();

  template <class T>
  using Answer = base::Task<base::Result<T>>;
  // clang-format off: it never settles on a list of this shape.
#define KUBELET_CRI_METHODS(X)                                                                                     \
  X(Version)                                                                                                       \
  X(Status)                                                                                                        \
  X(UpdateRuntimeConfig)                                                                                           \
  X(RuntimeConfig)                                                                                                 \
  X(RunPodSandbox)                                                                                                 \
  X(StopPodSandbox) X(RemovePodSandbox) X(PodSandboxStatus) X(ListPodSandbox) X(CreateContainer) X(StartContainer) \
      X(StopContainer) X(RemoveContainer) X(ListContainers) X(ContainerStatus) X(ExecSync) X(Exec) X(Attach)       \
          X(PortForward) X(ReopenContainerLog) X(UpdateContainerResources) X(ListContainerStats)                   \
              X(ListPodSandboxStats)
// clang-format on
#define KUBELET_CRI_IMAGE_METHODS(X) X(ListImages) X(ImageStatus) X(PullImage) X(RemoveImage) X(ImageFsInfo)
#define KUBELET_CRI_DECLARE(name) \
  Answer<cri::name##Response> name(base::Context ctx, cri::name##Request request, base::Duration extra = {});
  // `extra` is added to the request's timeout (stopping with a grace period, a probe's own timeout).
  KUBELET_CRI_METHODS(KUBELET_CRI_DECLARE)
  KUBELET_CRI_IMAGE_METHODS(KUBELET_CRI_DECLARE)
#undef KUBELET_CRI_DECLARE

  // "containerd" and its version, once Handshake has succeeded.
  const std::string& name() const { return name_; }
  const std::string& version() const { return version_; }
  // Asks for the version; an endpoint that does not speak v1 is kFailedPrecondition.
  base::Task<base::Status> Handshake(base::Context ctx);

 private:
  template <class Response, class Request>
  Answer<Response> Call(base::Context ctx, Channel& channel, const char* service, const char* method, Request request,
                        base::Duration timeout);
  base::Executor& executor_;
  std::unique_ptr<Channel> runtime_, images_;
  base::Duration timeout_;
  base::Family<base::Counter>* operations_ = nullptr;
  base::Family<base::Counter>* errors_ = nullptr;
  std::string name_, version_;
};

// "rpc error: code = NotFound desc = no such thing", as a Go program prints the error of a call.
std::string RpcErrorText(const base::Status& status);

// `endpoint` is "unix:///run/x.sock"; kInvalidArgument with a clear text for anything else.
base::Result<std::unique_ptr<Channel>> NewChannel(base::Loop& loop, const std::string& endpoint);

// Everything the runtime holds that carries a pod's labels, by pod uid. Statuses of containers are asked for only where
// `known` has no answer for the same id and state: between two relists little changes.
struct Relist {
  std::vector<cri::PodSandbox> sandboxes;
  std::vector<cri::Container> containers;
};
base::Task<base::Result<Relist>> ListAll(base::Context ctx, Runtime& runtime);
// One pod with full statuses.
base::Task<base::Result<ObservedPod>> Observe(base::Context ctx, Runtime& runtime, std::string uid);

}  // namespace kubelet::runtimes
