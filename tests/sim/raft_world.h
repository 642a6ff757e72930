// What all parts of one run of raft_sim share. Owned by the run; one thread.
#pragma once

#include <chrono>

#include "base/random.h"
#include "base/testing/sim_executor.h"
#include "tests/sim/raft_judge.h"
#include "tests/sim/raft_sim.h"

namespace tests::sim {

// For clients and operators; after it nobody knows whether what they asked for happens.
constexpr base::Duration kRequestTimeout = std::chrono::seconds(2);

struct RaftWorld {
  RaftWorld(uint64_t seed, const RaftSimOptions& o)
      : options(o), executor(seed), random(seed * 0x9e3779b97f4a7c15u + 1) {}
  bool Broken(SeededBug bug) const { return options.bug == bug; }

  const RaftSimOptions options;
  base::testing::SimExecutor executor;
  base::Random random;
  Figures figures;
  RaftJudge judge{figures};
  bool finishing = false;  // no more troubles, and nobody asks for anything new
};

}  // namespace tests::sim
