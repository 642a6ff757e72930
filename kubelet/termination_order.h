// The order in which the containers of one pod are stopped: the ordinary ones first, then the sidecars, the last one
// first, each when all before it have ended. One strand; lives as long as the kill.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/sync.h"
#include "kubelet/model/types.h"

namespace kubelet {

class TerminationOrder {
 public:
  // `running` are the names of those that are to be stopped.
  TerminationOrder(base::Executor& executor, const api::Pod& pod, const std::vector<std::string>& running);
  // Waits for the turn of a container, at most as long as it has; how long that took.
  base::Task<base::Duration> WaitForTurn(base::Context ctx, std::string name, base::Duration most);
  void Ended(const std::string& name);

 private:
  bool IsTurnOf(const std::string& name) const;

  base::Executor& executor_;
  base::Event ended_;
  std::map<std::string, int> ranks_;  // of those that have not ended
};

}  // namespace kubelet
