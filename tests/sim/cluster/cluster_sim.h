// One run of the cluster simulation; see README.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/sim/cluster/faults.h"

namespace sim::cluster {

struct Report {
  uint64_t trace = 0;
  std::vector<std::string> violations;  // empty: all is well
  uint64_t steps = 0, faults = 0, restarts = 0, pods_created = 0;
  uint64_t starts = 0, container_restarts = 0, waited = 0;  // of containers; restarts that had to wait
  double simulated_seconds = 0;
};

// `bug` is one the judges must find.
Report Run(uint64_t seed, bool verbose, SeededBug bug = SeededBug::kNone);

}  // namespace sim::cluster
