// A whole kvstore cluster in one thread under a seed: real Raft, logs and stores of 1, 3 or 5 members on simulated
// disks and a simulated network. Messages are delayed, lost, doubled and overtake one another; members are cut off,
// lose power at any step and come back, sometimes with other settings; disks fail and fill up; clocks do not agree;
// snapshots travel; the membership changes, by way of learners too; leases run out; history is compacted.
//
// Checked: what raft_judge.h says, and that once the faults end the members agree and have the same hash.
#pragma once

#include <cstdint>
#include <string>

#include "tests/sim/seeds.h"

namespace tests::sim {

// What is deliberately broken, to see that it is found. All of it sits in the harness: the product has no such switch.
enum class SeededBug {
  kNone,
  kSkippedFsync,   // disks that only pretend to sync
  kStaleRead,      // reads from a member's own state, without asking the leader
  kLostHardState,  // after a restart a member has forgotten its term and vote
  kDoubleVote,     // a refused vote arrives as a granted one
  kWatchGap,       // a watcher that resumes leaves one revision out
};

struct RaftSimOptions {
  int members = 3;
  uint64_t steps = 4000;
  SeededBug bug = SeededBug::kNone;
  bool membership = true;
};

struct RaftSimResult {
  std::string violation;  // "" = none
  uint64_t trace = 0;
  Figures figures;  // what happened, and how often
};

RaftSimResult RunRaftSim(uint64_t seed, const RaftSimOptions& options);

}  // namespace tests::sim
