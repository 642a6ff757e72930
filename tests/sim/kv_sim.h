// One kvstore member on a simulated disk under a seed: clients write and read, the power fails at any step, writes and
// fsyncs fail, space runs out. What was acknowledged is checked against what is there afterwards.
//
// Checked: nothing acknowledged is lost or changed; revisions respect real time (a write after an acknowledged write
// has a higher one, a read sees all that was acknowledged before it began); a read shows exactly the history at its
// revision; a watcher that resumes across crashes sees every revision once and in order; replaying gives the same hash.
#pragma once

#include <cstdint>
#include <string>

namespace tests::sim {

struct KvSimOptions {
  uint64_t steps = 2500;
  bool lying_disk = false;  // the seeded bug: fsync does nothing
};

struct KvSimResult {
  std::string violation;  // "" = none
  uint64_t trace = 0;
  uint64_t crashes = 0, faults = 0, acknowledged = 0, reads = 0, events = 0;
};

KvSimResult RunKvSim(uint64_t seed, const KvSimOptions& options);

}  // namespace tests::sim
