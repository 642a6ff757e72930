// Leases: their ends are counted by the leader alone, so that members ask it, and it revokes what has run out.
//
// Invariant: what is said of a lease comes from a leader whose store had everything that was acknowledged when it was
// asked; a lease that has run out is proposed for revocation once, and again only after kRevokeRetry.
//
// Owned by the replica; its strand.
#pragma once

#include "kvstore/replica/proposals.h"
#include "kvstore/replica/reads.h"
#include "kvstore/replica/requests.h"

namespace kvstore::replica {

class LeaseDesk {
 public:
  LeaseDesk(Shared& shared, Core& core, Proposals& proposals, Reads& reads)
      : shared_(shared), core_(core), proposals_(proposals), reads_(reads) {}
  LeaseDesk(const LeaseDesk&) = delete;

  // As Replica has them.
  base::Task<base::Result<int64_t>> Renew(base::Context ctx, int64_t id);
  base::Task<base::Result<LeaseTimes>> TimeToLive(base::Context ctx, int64_t id, bool keys);
  base::Result<int64_t> RenewHere(int64_t id);
  base::Result<LeaseTimes> TimesHere(int64_t id, bool keys) const;
  // Revokes what has run out, at the leader. Comes with the ticks.
  void Expire();
  // A leader that has just been elected does not know what was renewed before it: everybody has their time anew.
  void ExtendAll();

 private:
  Shared& shared_;
  Core& core_;
  Proposals& proposals_;
  Reads& reads_;
};

}  // namespace kvstore::replica
