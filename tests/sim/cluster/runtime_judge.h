// Watches what a node's runtime is made to do and says what no kubelet may: two owners of one container, a restart that
// the pod's policy forbids, a restart before its time. Knows of a pod what its name says ("never-3", "onfailure-1";
// any other restarts always). One strand; one per node.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "kubelet/testing/fake_runtime.h"

namespace sim::cluster {

class RuntimeJudge {
 public:
  RuntimeJudge(base::Executor& executor, const kubelet::testing::FakeRuntime& runtime,
               std::function<void(std::string)> violation)
      : executor_(executor), runtime_(runtime), violation_(std::move(violation)) {}

  // What a kubelet remembers of crashes goes with it.
  void OnKubelet();
  // A container has started; it is running in the runtime's books.
  void OnStart(const std::string& id);
  void OnExit(const std::string& id, int code);

  uint64_t starts() const { return starts_; }
  uint64_t restarts() const { return restarts_; }
  uint64_t waited() const { return waited_; }  // restarts that had to wait

 private:
  struct History {
    std::string running;  // id, "" = none
    bool ran = false;
    int last_code = 0;
    base::MonoTime ended{};
    int crashes = 0;  // restarts this kubelet has made
  };
  static std::string KeyOf(const kubelet::cri::ContainerStatus& c);
  void CheckPolicy(const std::string& key, const History& h);
  void CheckBackoff(const std::string& key, History& h);

  base::Executor& executor_;
  const kubelet::testing::FakeRuntime& runtime_;
  std::function<void(std::string)> violation_;
  std::map<std::string, History> history_;  // by pod uid and container
  uint64_t starts_ = 0, restarts_ = 0, waited_ = 0;
};

}  // namespace sim::cluster
