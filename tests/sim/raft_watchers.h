// The watchers of a simulated cluster, who tell the judge what they hear: each member has one of its own, which goes on
// there after each start, and one goes from member to member. Owned by the run; one thread.
#pragma once

#include <map>
#include <memory>

#include "tests/sim/raft_members.h"

namespace tests::sim {

class Watchers {
 public:
  Watchers(RaftWorld& world, SimMembers& members) : world_(world), members_(members) {}
  void Opened(SimMember& m);
  void Shut(SimMember& m);
  // Lags behind, so that history is compacted under it, and goes on elsewhere; until the run finishes.
  base::Task<void> Roam();

 private:
  struct AtMember {
    Listener who;
    std::unique_ptr<kvstore::mvcc::WatchStream> stream;
  };
  std::unique_ptr<kvstore::mvcc::WatchStream> StreamAt(SimMember& m, const Listener& who, std::function<void()> wake);
  void Listen(SimMember& m);

  RaftWorld& world_;
  SimMembers& members_;
  std::map<int, AtMember> at_;
  std::unique_ptr<kvstore::mvcc::WatchStream> roaming_;
  SimMember* roaming_at_ = nullptr;
};

}  // namespace tests::sim
