// A container runtime in memory, for tests: speaks CRI bytes through a Channel, keeps sandboxes and containers, and
// lets the test end a container. Survives the kubelet under test, as a real one does. One strand.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "kubelet/runtimes/runtime.h"

namespace kubelet::testing {

class FakeRuntime {
 public:
  std::map<std::string, cri::PodSandbox> sandboxes;
  std::map<std::string, cri::PodSandboxConfig> sandbox_configs;
  std::map<std::string, cri::ContainerStatus> containers;
  std::map<std::string, cri::ContainerConfig> configs;
  std::map<std::string, std::string> sandbox_of;
  std::vector<std::string> calls;  // "RunPodSandbox web", "StartContainer c", "StopContainer c 3"
  std::vector<std::string> images = {"image:1"};
  int exec_exit_code = 0;

  // Ends a running container with that name.
  void Exit(const std::string& name, int code);
  // "c:running d:exited", sorted by name and attempt.
  std::string Summary() const;

  std::unique_ptr<runtimes::Channel> NewChannel();
  base::Result<std::string> Call(const std::string& method, const std::string& request);

 private:
  template <class Request, class F>
  void Method(const char* name, F f);
  int64_t Now() { return ++ticks_ * 1'000'000 + base::SystemClock().WallNow().time_since_epoch().count(); }
  void Setup();
  std::map<std::string, std::function<base::Result<std::string>(const std::string&)>> methods_;
  int next_ = 1;
  int64_t ticks_ = 0;
};

}  // namespace kubelet::testing
