// One scheduling decision. PURE: a function of the pod, the nodes, the framework and the state of a Random.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "scheduler/framework.h"

namespace scheduler {

struct Decision {
  std::optional<NodeIndex> node;
  // When there is no node: the text of the condition and the event, as the original words it, and who said no.
  std::string message;
  std::vector<std::string_view> rejected_by;
  bool error = false;  // a plugin failed; not the pod's fault
  size_t evaluated = 0, feasible = 0;
};

// How many feasible nodes are enough: all of up to 100, then a share that sinks from 50 % to 5 % with the cluster's
// size (the original's percentageOfNodesToScore = 0).
size_t FeasibleNodesToFind(size_t nodes);

// `start` is where the search begins; it moves on by what was looked at, so that all nodes get their turn.
// tidy: parameters: pure, so what it reads and moves on comes in one by one
Decision Decide(const Framework& framework, CycleState& state, const PodInfo& pod, const NodeTable& nodes,
                base::Random& random, size_t& start);

}  // namespace scheduler
