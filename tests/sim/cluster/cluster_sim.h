// One run of the cluster simulation; see README.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sim::cluster {

struct Report {
  uint64_t trace = 0;
  std::vector<std::string> violations;  // empty: all is well
  uint64_t steps = 0, faults = 0, restarts = 0, pods_created = 0;
  double simulated_seconds = 0;
};

Report Run(uint64_t seed, bool verbose);

}  // namespace sim::cluster
