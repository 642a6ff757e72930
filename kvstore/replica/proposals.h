// Proposals of this member's clients: into the core as soon as there is a leader to take them, and answered once they
// are applied here.
//
// Invariant: whatever was proposed is answered once: by its application, or, when nothing is said about whether it will
// happen, by its time limit or the member's end. Who waits stands in the list from the moment the core has the entry.
//
// Owned by the replica; its strand.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "kvstore/mvcc/applier.h"
#include "kvstore/replica/core.h"

namespace kvstore::replica {

class Proposals {
 public:
  Proposals(Shared& shared, Core& core) : shared_(shared), core_(core) {}
  Proposals(const Proposals&) = delete;

  // Replica::Propose.
  base::Task<base::Result<mvcc::Answer>> Propose(base::Context ctx, std::string fields, mvcc::Identity who = {});
  // An entry that bears `id`, which `propose` hands to the core.
  base::Task<base::Result<mvcc::Answer>> ProposeEntry(base::Context ctx, uint64_t id,
                                                      std::function<base::Status()> propose);
  // The entry with this id was applied; nothing happens when nobody here waits for it.
  void Answer(uint64_t id, mvcc::Answer answer);
  // Ends the waits that are over by now. Comes with the ticks: a timer for each would be set and cancelled with every
  // write.
  void Expire();
  // Everybody is told that the member stops.
  void EndAll();
  size_t size() const { return pending_.size(); }

 private:
  struct Waiter {
    Waiter(base::Executor& e, base::MonoTime until) : shot(e), until(until) {}
    base::OneShot<mvcc::Answer> shot;
    base::MonoTime until;  // a tick after it ends the wait
    bool expired = false;
  };

  Shared& shared_;
  Core& core_;
  std::map<uint64_t, std::shared_ptr<Waiter>> pending_;  // by id, the oldest first
};

}  // namespace kvstore::replica
