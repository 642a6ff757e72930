#include "tests/sim/raft_sim.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "base/log.h"

namespace tests::sim {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* v = std::getenv(name);
  return v != nullptr && *v != '\0' ? std::strtoull(v, nullptr, 10) : otherwise;
}

class RaftSimTest : public testing::Test {
 protected:
  void SetUp() override { (void)base::SetupLogging({.minimum = base::LogLevel::kFatal}); }

  // KEELSON_SIM_SEEDS and KEELSON_SIM_FIRST_SEED choose others; a failure prints its seed.
  void Seeds(int members, uint64_t otherwise) {
    uint64_t seeds = FromEnvironment("KEELSON_SIM_SEEDS", otherwise);
    uint64_t first = FromEnvironment("KEELSON_SIM_FIRST_SEED", 1);
    RaftSimResult sum;
    for (uint64_t seed = first; seed < first + seeds; ++seed) {
      RaftSimOptions options{.members = members, .steps = FromEnvironment("KEELSON_SIM_STEPS", 4000)};
      RaftSimResult r = RunRaftSim(seed, options);
      ASSERT_EQ(r.violation, "") << "replay with KEELSON_SIM_FIRST_SEED=" << seed << " KEELSON_SIM_SEEDS=1";
      if (seed % 50 == 0) {
        ASSERT_EQ(RunRaftSim(seed, options).trace, r.trace) << "seed " << seed << " is not deterministic";
      }
      sum.crashes += r.crashes;
      sum.partitions += r.partitions;
      sum.elections += r.elections;
      sum.snapshots += r.snapshots;
      sum.changes += r.changes;
      sum.writes += r.writes;
      sum.reads += r.reads;
      sum.events += r.events;
      sum.messages += r.messages;
      sum.seconds += r.seconds;
    }
    auto n = [](uint64_t v) { return static_cast<unsigned long long>(v); };
    std::printf(
        "%llu seeds of %d members, %.0f simulated seconds: %llu crashes, %llu partitions, %llu elections, %llu "
        "snapshots, %llu membership changes, %llu writes, %llu reads, %llu events, %llu messages\n",
        n(seeds), members, sum.seconds, n(sum.crashes), n(sum.partitions), n(sum.elections), n(sum.snapshots),
        n(sum.changes), n(sum.writes), n(sum.reads), n(sum.events), n(sum.messages));
  }
  // In a process of its own: a broken promise may also end in one of the product's own checks.
  static bool Finds(SeededBug bug, uint64_t seed) {
    pid_t child = fork();
    if (child == 0) {
      (void)std::freopen("/dev/null", "w", stderr);
      alarm(5);  // with broken rules a run need not end; that is no finding
      RaftSimResult r = RunRaftSim(seed, {.members = 3, .steps = 6000, .bug = bug, .membership = false});
      _exit(r.violation.empty() ? 0 : 1);
    }
    int status = 0;
    if (child <= 0 || waitpid(child, &status, 0) != child) return false;
    return WIFEXITED(status) ? WEXITSTATUS(status) != 0 : WTERMSIG(status) != SIGALRM;
  }
  int Found(SeededBug bug, uint64_t seeds) {
    int found = 0;
    for (uint64_t seed = 1; seed <= seeds; ++seed) found += Finds(bug, seed);
    std::printf("found in %d of %llu seeds\n", found, static_cast<unsigned long long>(seeds));
    return found;
  }
};

TEST_F(RaftSimTest, OneMember) { Seeds(1, 1000); }
TEST_F(RaftSimTest, ThreeMembers) { Seeds(3, 6000); }
TEST_F(RaftSimTest, FiveMembers) { Seeds(5, 3000); }

// The net catches fish.
TEST_F(RaftSimTest, SkippedSyncsAreFound) { EXPECT_GT(Found(SeededBug::kSkippedFsync, 40), 0); }
TEST_F(RaftSimTest, StaleReadsAreFound) { EXPECT_GT(Found(SeededBug::kStaleRead, 40), 0); }
TEST_F(RaftSimTest, ALostHardStateIsFound) { EXPECT_GT(Found(SeededBug::kLostHardState, 400), 0); }
TEST_F(RaftSimTest, DoubleVotesAreFound) { EXPECT_GT(Found(SeededBug::kDoubleVote, 60), 0); }
TEST_F(RaftSimTest, GapsInWatchesAreFound) { EXPECT_GT(Found(SeededBug::kWatchGap, 40), 0); }

}  // namespace
}  // namespace tests::sim
