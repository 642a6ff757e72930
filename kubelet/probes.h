// Liveness, readiness and startup probes of every running container: one task per probe, thresholds, results by
// container id, and a word to the pod's worker when a result turns. One strand.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>

#include "base/metrics.h"
#include "base/random.h"
#include "base/sync.h"
#include "kubelet/checks.h"
#include "kubelet/events.h"
#include "kubelet/plan/plan.h"

namespace kubelet {

class Probes {
 public:
  struct Parts {
    base::Executor& executor;
    base::Random random;
    runtimes::Runtime& runtime;
    checks::Network& network;
    Events& events;
    base::MetricsRegistry* metrics = nullptr;
  };
  Probes(Parts parts, base::Context ctx);
  ~Probes();

  // Called with the pod's uid when a result has turned.
  std::function<void(const std::string& uid)> on_change;

  // What runs now: starts tasks for new containers and ends those of containers that are gone. `adopted` containers
  // (that ran before this kubelet did and were ready) start out as they were.
  void Update(PodPtr pod, const ObservedPod& observed);
  void Remove(const std::string& uid);
  // While a pod ends only readiness is still asked.
  void StopLiveness(const std::string& uid);

  plan::ProbeView View(const std::string& uid, const api::Pod& pod, const ObservedPod& observed) const;
  // Ids of containers that are ready for traffic.
  std::set<std::string> Ready(const api::Pod& pod, const ObservedPod& observed) const;
  base::Task<void> Stop();

 private:
  enum class Kind { kStartup, kLiveness, kReadiness };
  enum class Result { kUnknown, kSuccess, kFailure };
  struct Container;
  struct Task;
  void StartProbe(std::shared_ptr<Container> container, Kind kind, const api::Probe& probe);
  base::Task<void> Run(std::shared_ptr<Container> container, Kind kind, api::Probe probe);
  void Show(const Container& container, Kind kind, const checks::Outcome& outcome);
  base::Task<checks::Outcome> Once(base::Context ctx, std::shared_ptr<Container> container, const api::Probe& probe);
  void Turn(Container& container, Kind kind, Result result);
  const Container* Find(const std::string& id) const;
  static const char* Name(Kind kind);

  Parts parts_;
  base::TaskScope scope_;
  base::MonoTime began_;
  base::Family<base::Counter>* total_ = nullptr;
  std::map<std::string, std::shared_ptr<Container>> containers_;  // by id
};

}  // namespace kubelet
