// Runs seeds of the cluster simulation: cluster_sim_test [--seeds=200] [--first=1] [--verbose]. Every fourth seed runs
// twice and must leave the same trace; then each seeded bug of a kubelet must be found.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/log.h"
#include "tests/sim/cluster/cluster_sim.h"

namespace {

using sim::cluster::SeededBug;

constexpr uint64_t kTwiceEvery = 4, kSeedsForABug = 40;

struct Options {
  uint64_t seeds = 200, first = 1;
  bool verbose = false;
};

struct Sums {
  uint64_t failed = 0, faults = 0, restarts = 0, pods = 0, starts = 0, container_restarts = 0, waited = 0;
  double simulated = 0;
};

Options Parse(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    if (std::strncmp(argv[i], "--seeds=", 8) == 0) o.seeds = std::strtoull(argv[i] + 8, nullptr, 10);
    if (std::strncmp(argv[i], "--first=", 8) == 0) o.first = std::strtoull(argv[i] + 8, nullptr, 10);
    if (std::strcmp(argv[i], "--verbose") == 0) o.verbose = true;
  }
  return o;
}

void RunOne(uint64_t seed, bool verbose, Sums& sums) {
  auto shown = static_cast<unsigned long long>(seed);
  auto one = sim::cluster::Run(seed, verbose);
  bool same = seed % kTwiceEvery != 0 || one.trace == sim::cluster::Run(seed, false).trace;
  for (const auto& v : one.violations) std::printf("FAIL seed %llu: %s\n", shown, v.c_str());
  if (!same) std::printf("FAIL seed %llu: two runs differ\n", shown);
  sums.failed += !one.violations.empty() || !same;
  sums.faults += one.faults;
  sums.restarts += one.restarts;
  sums.pods += one.pods_created;
  sums.starts += one.starts;
  sums.container_restarts += one.container_restarts;
  sums.waited += one.waited;
  sums.simulated += one.simulated_seconds;
}

bool Found(SeededBug bug) {
  for (uint64_t seed = 1; seed <= kSeedsForABug; ++seed)
    if (!sim::cluster::Run(seed, false, bug).violations.empty()) return true;
  return false;
}

// What would find nothing proves nothing.
uint64_t Missed() {
  constexpr std::pair<SeededBug, const char*> kBugs[] = {
      {SeededBug::kTakesStoppingForStopped, "takes stopping for stopped"},
      {SeededBug::kForgetsAtRestart, "forgets at a restart what runs"},
      {SeededBug::kForgetsTheTime, "forgets when a container ended"},
      {SeededBug::kTakesSuccessForFailure, "takes success for failure"}};
  uint64_t missed = 0;
  for (const auto& [bug, name] : kBugs) {
    if (Found(bug)) continue;
    std::printf("FAIL a kubelet that %s is not found by %llu seeds\n", name,
                static_cast<unsigned long long>(kSeedsForABug));
    ++missed;
  }
  std::printf("%zu seeded bugs, %llu missed\n", std::size(kBugs), static_cast<unsigned long long>(missed));
  return missed;
}

}  // namespace

int main(int argc, char** argv) {
  const Options o = Parse(argc, argv);
  // Injected faults make noise that means nothing.
  if (!o.verbose) (void)base::SetupLogging({.minimum = base::LogLevel::kFatal});
  auto start = std::chrono::steady_clock::now();
  Sums sums;
  for (uint64_t seed = o.first; seed < o.first + o.seeds; ++seed) RunOne(seed, o.verbose, sums);
  double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  auto n = [](uint64_t count) { return static_cast<unsigned long long>(count); };
  std::printf(
      "%llu seeds, %llu failed; %llu faults, %llu restarts of daemons, %llu pods, %.0f simulated seconds in %.1f s\n",
      n(o.seeds), n(sums.failed), n(sums.faults), n(sums.restarts), n(sums.pods), sums.simulated, took);
  std::printf("%llu containers started, %llu of them again, %llu after a back-off\n", n(sums.starts),
              n(sums.container_restarts), n(sums.waited));
  return sums.failed || Missed() ? 1 : 0;
}
