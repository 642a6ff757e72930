// What goes wrong between the parts of a cluster: answers of the API that are lost, late or refused, watches that
// break, a node's link that is cut, and a container runtime that is slow, loses answers or is away. One strand.
#pragma once

#include <memory>
#include <string>

#include "base/sync.h"
#include "base/testing/sim_executor.h"
#include "kubelet/testing/fake_runtime.h"
#include "machinery/request/request.h"

namespace sim::cluster {

struct Faults {
  bool on = true;
  uint64_t injected = 0;
};

// Bugs that a kubelet could have, made by what it is told: the judges must find each.
enum class SeededBug {
  kNone,
  kTakesStoppingForStopped,  // a container counts as ended as soon as it was asked to end
  kForgetsAtRestart,         // a new kubelet does not see what runs
  kForgetsTheTime,           // every crash was long ago
  kTakesSuccessForFailure,   // exit code 0 reads as 1
};

// A link between a daemon and the API, or a kubelet and its runtime.
struct Link {
  base::MonoTime down_until{};  // nothing passes before
};

class FaultyTransport final : public machinery::request::Transport {
 public:
  FaultyTransport(base::testing::SimExecutor& executor, Faults& faults, machinery::request::Transport& inner)
      : executor_(executor), faults_(faults), inner_(inner) {}

  Link link;

  base::Task<base::Result<machinery::request::Response>> Do(base::Context ctx, machinery::request::Request r) override;
  base::Task<base::Result<std::unique_ptr<machinery::request::WatchStream>>> Watch(
      base::Context ctx, machinery::request::Request r) override;

 private:
  base::testing::SimExecutor& executor_;
  Faults& faults_;
  machinery::request::Transport& inner_;
};

// A kubelet's way to its runtime.
class FaultyChannel final : public kubelet::runtimes::Channel {
 public:
  // What the runtime has begun goes on in `runtime_tasks` when the kubelet is gone.
  struct Ends {
    base::testing::SimExecutor& executor;
    Faults& faults;
    kubelet::testing::FakeRuntime& runtime;
    base::TaskScope& runtime_tasks;
    Link& link;
  };
  FaultyChannel(Ends ends, SeededBug bug) : ends_(ends), bug_(bug), born_(ends.executor.Now()) {}
  base::Task<base::Result<std::string>> Unary(base::Context ctx, std::string method, std::string request,
                                              base::Duration timeout) override;

 private:
  base::Task<base::Result<std::string>> Carry(base::Context ctx, std::string method, std::string request);
  std::string Misread(const std::string& method, std::string answer) const;

  Ends ends_;
  SeededBug bug_;
  base::MonoTime born_;
  std::set<std::string> asked_to_stop_;  // container ids
};

}  // namespace sim::cluster
