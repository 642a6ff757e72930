// Whoever changes a simulated cluster's membership: it grows by a member, sometimes by way of a learner, and one is
// taken away again, some times. Owned by the run; one thread.
#pragma once

#include "tests/sim/raft_members.h"

namespace tests::sim {

class Operator {
 public:
  Operator(RaftWorld& world, SimMembers& members) : world_(world), members_(members) {}
  base::Task<void> Live();

 private:
  base::Task<void> Grow(SimMember& through, base::Context ctx);

  RaftWorld& world_;
  SimMembers& members_;
};

}  // namespace tests::sim
