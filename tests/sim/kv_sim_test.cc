#include "tests/sim/kv_sim.h"

#include <gtest/gtest.h>

#include <cstdio>

#include "base/log.h"
#include "tests/sim/seeds.h"

namespace tests::sim {
namespace {

class KvSimTest : public testing::Test {
 protected:
  void SetUp() override { (void)base::SetupLogging({.minimum = base::LogLevel::kFatal}); }
};

// KEELSON_SIM_SEEDS and KEELSON_SIM_FIRST_SEED choose others; a failure prints its seed.
TEST_F(KvSimTest, OneMemberLosesNothing) {
  auto one = [](uint64_t seed, Figures& sum) -> std::string {
    KvSimResult r = RunKvSim(seed, {});
    if (r.violation.empty() && seed % 20 == 0 && RunKvSim(seed, {}).trace != r.trace) return "not deterministic";
    sum["crashes"] += static_cast<double>(r.crashes);
    sum["disk faults"] += static_cast<double>(r.faults);
    sum["acknowledged writes"] += static_cast<double>(r.acknowledged);
    sum["reads"] += static_cast<double>(r.reads);
    sum["events watched"] += static_cast<double>(r.events);
    return r.violation;
  };
  Figures sum;
  uint64_t first = FromEnvironment("KEELSON_SIM_FIRST_SEED", 1);
  EXPECT_EQ(RunSeeds(first, FromEnvironment("KEELSON_SIM_SEEDS", 2000), one, sum), "");
  std::printf("%s\n", Summary("one member and its disk", sum).c_str());
}

// The net catches fish: a disk that only pretends to sync is found out.
TEST_F(KvSimTest, SkippedSyncsAreFound) {
  int found = 0;
  for (uint64_t seed = 1; seed <= 50; ++seed) found += !RunKvSim(seed, {.lying_disk = true}).violation.empty();
  EXPECT_GT(found, 25);
}

}  // namespace
}  // namespace tests::sim
