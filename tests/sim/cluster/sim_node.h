// A node of the simulated cluster: the real kubelet on a machine and a container runtime in memory. The kubelet dies
// and starts anew, its runtime goes on; the machine loses power, and nothing runs any more. One strand.
#pragma once

#include <memory>
#include <string>

#include "kubelet/agent.h"
#include "kubelet/testing/fake_runtime.h"
#include "kubelet/testing/sim_machine.h"
#include "machinery/client/client.h"
#include "tests/sim/cluster/faults.h"
#include "tests/sim/cluster/process.h"
#include "tests/sim/cluster/runtime_judge.h"

namespace sim::cluster {

class SimNode {
 public:
  struct Surroundings {
    base::testing::SimExecutor& executor;
    Faults& faults;
    machinery::request::Transport& api;
    base::TaskScope& tasks;  // of the machine
    SeededBug bug = SeededBug::kNone;
    std::function<void(std::string)> violation;
  };
  SimNode(Surroundings around, int index);
  // The parts of the machine know where each other is.
  SimNode(const SimNode&) = delete;

  const std::string& name() const { return name_; }
  // A kubelet of this node, to be run until it is killed.
  Process::Body NewKubelet();
  // Everything that runs ends; records and files are there.
  void LosePower() { runtime_.Reboot(); }
  // The runtime does not answer, the API cannot be reached.
  void LoseRuntimeFor(base::Duration d) { runtime_link_.down_until = around_.executor.Now() + d; }
  void CutLinkFor(base::Duration d) { api_.link.down_until = around_.executor.Now() + d; }
  // One of the containers that run ends by itself; false when there is none.
  bool CrashOne();

  // Ids of running containers, by "uid/name".
  std::map<std::string, std::string> Running() const;
  // "" when the pod runs as the API says and nothing of an unknown pod does.
  bool Runs(const std::string& uid) const;
  const RuntimeJudge& judge() const { return judge_; }
  // What is in the volumes of that kind on this node, by path.
  const std::map<std::string, kubelet::volumes::Payload>& payloads() const { return mounter_.payloads; }

 private:
  struct Kubelet;
  kubelet::AgentOptions Options() const;
  void OnStart(const std::string& id);
  bool Answers(const std::string& address) const;

  Surroundings around_;
  std::string name_, address_;
  FaultyTransport api_;
  machinery::client::Client client_;
  kubelet::testing::FakeRuntime runtime_;
  Link runtime_link_;
  kubelet::testing::SimHost host_;
  kubelet::testing::SimMounter mounter_;
  kubelet::testing::SimCgroups cgroups_;
  kubelet::testing::SimNetwork network_;
  base::testing::SimBlockingPool pool_;
  RuntimeJudge judge_;
};

}  // namespace sim::cluster
