// Clients of a simulated cluster: each picks a member and something to do, again and again, and tells the judge what it
// was answered. Keys k0.. are everybody's; a leased key has a name of its own, and only its lease deletes it.
// Owned by the run; one thread.
#pragma once

#include <optional>
#include <string>

#include "base/task.h"
#include "kvstore/replica/replica.h"
#include "tests/sim/raft_members.h"

namespace tests::sim {

class RaftClients {
 public:
  RaftClients(RaftWorld& world, SimMembers& members) : world_(world), members_(members) {}
  base::Task<void> Live(int number);

 private:
  using Text = std::optional<std::string>;
  base::Task<void> Act(Door door, int number, uint64_t count);
  base::Task<void> Put(Door door, base::Context ctx, history::Operation op);
  base::Task<void> Delete(Door door, base::Context ctx, history::Operation op);
  base::Task<void> Swap(Door door, base::Context ctx, history::Operation op);
  base::Task<void> PutTwo(Door door, base::Context ctx, history::Operation one, history::Operation two);
  base::Task<void> Read(Door door, base::Context ctx, history::Operation op);
  base::Task<void> Compact(Door door, base::Context ctx);
  base::Task<void> Leased(Door door, base::Context ctx, std::string value);
  base::Task<void> KeepAlive(int64_t lease, std::string key, int64_t ttl);
  int64_t Now() const { return world_.executor.Now().time_since_epoch().count(); }
  // False when nobody knows whether it happened, which the judge is told; when it is known not to have happened
  // nothing is told.
  bool Happened(const base::Result<kvstore::mvcc::Answer>& answer, history::Operation op);
  void Ended(history::Operation op);
  base::MonoTime LeaseFloor(base::MonoTime from, int64_t ttl) const;

  RaftWorld& world_;
  SimMembers& members_;
  Text last_seen_;  // by anybody: what a swap may expect
};

}  // namespace tests::sim
