#include "tests/sim/kv_sim.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "base/log.h"

namespace tests::sim {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* v = std::getenv(name);
  return v != nullptr && *v != '\0' ? std::strtoull(v, nullptr, 10) : otherwise;
}

class KvSimTest : public testing::Test {
 protected:
  void SetUp() override { (void)base::SetupLogging({.minimum = base::LogLevel::kFatal}); }
};

// KEELSON_SIM_SEEDS and KEELSON_SIM_FIRST_SEED choose others; a failure prints its seed.
TEST_F(KvSimTest, OneMemberLosesNothing) {
  uint64_t seeds = FromEnvironment("KEELSON_SIM_SEEDS", 2000);
  uint64_t first = FromEnvironment("KEELSON_SIM_FIRST_SEED", 1);
  KvSimResult sum;
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    KvSimResult r = RunKvSim(seed, {});
    ASSERT_EQ(r.violation, "") << "replay with KEELSON_SIM_FIRST_SEED=" << seed << " KEELSON_SIM_SEEDS=1";
    if (seed % 20 == 0) {
      ASSERT_EQ(RunKvSim(seed, {}).trace, r.trace) << "seed " << seed << " is not deterministic";
    }
    sum.crashes += r.crashes;
    sum.faults += r.faults;
    sum.acknowledged += r.acknowledged;
    sum.reads += r.reads;
    sum.events += r.events;
  }
  std::printf("%llu seeds: %llu crashes, %llu disk faults, %llu acknowledged writes, %llu reads, %llu events watched\n",
              static_cast<unsigned long long>(seeds), static_cast<unsigned long long>(sum.crashes),
              static_cast<unsigned long long>(sum.faults), static_cast<unsigned long long>(sum.acknowledged),
              static_cast<unsigned long long>(sum.reads), static_cast<unsigned long long>(sum.events));
}

// The net catches fish: a disk that only pretends to sync is found out.
TEST_F(KvSimTest, SkippedSyncsAreFound) {
  int found = 0;
  for (uint64_t seed = 1; seed <= 50; ++seed) found += !RunKvSim(seed, {.lying_disk = true}).violation.empty();
  EXPECT_GT(found, 25);
}

}  // namespace
}  // namespace tests::sim
