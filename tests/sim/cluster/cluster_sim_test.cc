// Runs seeds of the cluster simulation: cluster_sim_test [--seeds=200] [--first=1] [--verbose]. Each seed runs twice
// and must leave the same trace.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/log.h"
#include "tests/sim/cluster/cluster_sim.h"

int main(int argc, char** argv) {
  uint64_t seeds = 200, first = 1;
  bool verbose = false;
  for (int i = 1; i < argc; ++i) {
    if (std::strncmp(argv[i], "--seeds=", 8) == 0) seeds = std::strtoull(argv[i] + 8, nullptr, 10);
    if (std::strncmp(argv[i], "--first=", 8) == 0) first = std::strtoull(argv[i] + 8, nullptr, 10);
    if (std::strcmp(argv[i], "--verbose") == 0) verbose = true;
  }
  // Injected faults make noise that means nothing.
  if (!verbose) (void)base::SetupLogging({.minimum = base::LogLevel::kFatal});
  uint64_t failed = 0, faults = 0, restarts = 0, pods = 0;
  double simulated = 0;
  auto start = std::chrono::steady_clock::now();
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    auto one = sim::cluster::Run(seed, verbose);
    auto two = sim::cluster::Run(seed, false);
    bool ok = one.violations.empty() && one.trace == two.trace;
    if (!ok) ++failed;
    for (const auto& v : one.violations)
      std::printf("FAIL seed %llu: %s\n", static_cast<unsigned long long>(seed), v.c_str());
    if (one.trace != two.trace) std::printf("FAIL seed %llu: two runs differ\n", static_cast<unsigned long long>(seed));
    faults += one.faults;
    restarts += one.restarts;
    pods += one.pods_created;
    simulated += one.simulated_seconds;
  }
  double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::printf(
      "%llu seeds twice, %llu failed; %llu faults, %llu restarts, %llu pods, %.0f simulated seconds in %.1f s\n",
      static_cast<unsigned long long>(seeds), static_cast<unsigned long long>(failed),
      static_cast<unsigned long long>(faults), static_cast<unsigned long long>(restarts),
      static_cast<unsigned long long>(pods), simulated, took);
  return failed ? 1 : 0;
}
