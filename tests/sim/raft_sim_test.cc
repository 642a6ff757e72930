#include "tests/sim/raft_sim.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>

#include "base/log.h"
#include "tests/sim/seeds.h"

namespace tests::sim {
namespace {

class RaftSimTest : public testing::Test {
 protected:
  void SetUp() override { (void)base::SetupLogging({.minimum = base::LogLevel::kFatal}); }

  // KEELSON_SIM_SEEDS and KEELSON_SIM_FIRST_SEED choose others; a failure prints its seed.
  void Seeds(int members, uint64_t otherwise) {
    RaftSimOptions options{.members = members, .steps = FromEnvironment("KEELSON_SIM_STEPS", 4000)};
    auto one = [&](uint64_t seed, Figures& sum) -> std::string {
      RaftSimResult r = RunRaftSim(seed, options);
      for (const auto& [name, value] : r.figures) sum[name] += value;
      bool again = r.violation.empty() && seed % 50 == 0;
      return again && RunRaftSim(seed, options).trace != r.trace ? "not deterministic" : r.violation;
    };
    Figures sum;
    uint64_t first = FromEnvironment("KEELSON_SIM_FIRST_SEED", 1);
    EXPECT_EQ(RunSeeds(first, FromEnvironment("KEELSON_SIM_SEEDS", otherwise), one, sum), "");
    std::printf("%s\n", Summary(std::to_string(members) + (members == 1 ? " member" : " members"), sum).c_str());
  }
  // In a process of its own: a broken promise may also end in one of the product's own checks.
  static bool Finds(SeededBug bug, uint64_t seed) {
    pid_t child = fork();
    if (child == 0) {
      (void)std::freopen("/dev/null", "w", stderr);
      rlimit cpu{.rlim_cur = 5, .rlim_max = 5};  // with broken rules a run need not end; that is no finding
      (void)::setrlimit(RLIMIT_CPU, &cpu);
      RaftSimResult r = RunRaftSim(seed, {.members = 3, .steps = 6000, .bug = bug, .membership = false});
      _exit(r.violation.empty() ? 0 : 1);
    }
    int status = 0;
    if (child <= 0 || waitpid(child, &status, 0) != child) return false;
    return WIFEXITED(status) ? WEXITSTATUS(status) != 0 : WTERMSIG(status) != SIGXCPU && WTERMSIG(status) != SIGKILL;
  }
  static int Found(SeededBug bug, uint64_t seeds) {
    Figures sum;
    auto one = [bug](uint64_t seed, Figures& found) {
      found["found"] += Finds(bug, seed);
      return std::string();
    };
    EXPECT_EQ(RunSeeds(1, seeds, one, sum), "");
    std::printf("found in %.0f of %.0f seeds\n", sum["found"], sum["seeds"]);
    return static_cast<int>(sum["found"]);
  }
};

TEST_F(RaftSimTest, OneMember) { Seeds(1, 1000); }
TEST_F(RaftSimTest, ThreeMembers) { Seeds(3, 6000); }
TEST_F(RaftSimTest, FiveMembers) { Seeds(5, 3000); }

// The net catches fish.
TEST_F(RaftSimTest, SkippedSyncsAreFound) { EXPECT_GT(Found(SeededBug::kSkippedFsync, 40), 0); }
TEST_F(RaftSimTest, StaleReadsAreFound) { EXPECT_GT(Found(SeededBug::kStaleRead, 40), 0); }
TEST_F(RaftSimTest, ALostHardStateIsFound) { EXPECT_GT(Found(SeededBug::kLostHardState, 1500), 0); }
TEST_F(RaftSimTest, DoubleVotesAreFound) { EXPECT_GT(Found(SeededBug::kDoubleVote, 60), 0); }
TEST_F(RaftSimTest, GapsInWatchesAreFound) { EXPECT_GT(Found(SeededBug::kWatchGap, 40), 0); }

}  // namespace
}  // namespace tests::sim
