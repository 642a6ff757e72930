// A container runtime in memory, for tests and the cluster simulation: speaks CRI bytes through a Channel, keeps
// sandboxes and containers, and lets the test end a container. Its rules are containerd's where the kubelet may lean on
// them: names are reserved, a container starts once, the end of a sandbox is the end of its containers, what was begun
// goes on when nobody waits for the answer. Survives the kubelet under test, as a real one does. One strand.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "kubelet/runtimes/runtime.h"

namespace kubelet::testing {

class FakeRuntime {
 public:
  // Time is the executor's.
  explicit FakeRuntime(base::Executor& executor) : executor_(executor) {}

  std::map<std::string, cri::PodSandboxStatus> sandboxes;  // by id, as the three below
  std::map<std::string, cri::PodSandboxConfig> sandbox_configs;
  std::map<std::string, cri::ContainerStatus> containers;
  std::map<std::string, cri::ContainerConfig> configs;
  std::map<std::string, std::string> sandbox_of;  // container id -> sandbox id
  std::vector<std::string> calls;                 // "RunPodSandbox web", "StartContainer c", "StopContainer c 3"
  std::vector<std::string> images = {"image:1"};  // that are present
  std::function<bool(const std::string& image)> registry;  // what can be pulled; unset: nothing
  int exec_exit_code = 0;
  // How long a container takes to end once it is asked to; unset: no time. Longer than its grace: it is killed.
  std::function<base::Duration(const std::string& id)> time_to_stop;
  // Told of every container that has just started, or is about to end.
  std::function<void(const std::string& id)> on_start;
  std::function<void(const std::string& id, int code)> on_exit;

  // Ends the running containers with that name.
  void Exit(const std::string& name, int code);
  // Ends that one container, if it runs.
  void ExitOne(const std::string& id, int code);
  // The machine has been off: nothing runs, all records are there.
  void Reboot();
  // "c:running d:exited", sorted by name and attempt.
  std::string Summary() const;

  std::unique_ptr<runtimes::Channel> NewChannel();
  base::Task<base::Result<std::string>> Call(base::Context ctx, std::string method, std::string request);

 private:
  template <class T>
  using Answer = base::Result<T>;
#define KUBELET_FAKE_METHODS(X) \
  X(Version)                    \
  X(Status)                     \
  X(UpdateRuntimeConfig)        \
  X(RunPodSandbox)              \
  X(StopPodSandbox)             \
  X(RemovePodSandbox)           \
  X(ListPodSandbox)             \
  X(PodSandboxStatus)           \
  X(CreateContainer)            \
  X(StartContainer)             \
  X(StopContainer)              \
  X(RemoveContainer)            \
  X(ListContainers)             \
  X(ContainerStatus)            \
  X(ReopenContainerLog)         \
  X(ExecSync)                   \
  X(ListImages)                 \
  X(ImageStatus)                \
  X(PullImage)                  \
  X(RemoveImage)                \
  X(ImageFsInfo)
#define KUBELET_FAKE_DECLARE(name) Answer<cri::name##Response> name(const cri::name##Request& r);
  KUBELET_FAKE_METHODS(KUBELET_FAKE_DECLARE)
#undef KUBELET_FAKE_DECLARE
  base::Task<void> WaitForEnd(base::Context ctx, cri::StopContainerRequest r);
  int64_t Now() { return ++ticks_ + WallNanos(executor_.clock()); }
  bool Has(const std::string& image) const;

  base::Executor& executor_;
  int next_ = 1, next_address_ = 0;
  int64_t ticks_ = 0;  // no two moments are one
};

}  // namespace kubelet::testing
