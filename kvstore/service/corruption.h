// Do all members hold the same data? The leader asks the others for their HashKV, as etcd's corruption checks do, and
// raises the alarm CORRUPT for whoever differs: then the cluster takes no more writes until an operator has seen to it.
//
//   InitialCheck   once, before a member serves: --initial-corrupt-check, feature gate InitialCorruptCheck
//   periodically   every --corrupt-check-time
//   compactions    after a compaction, looked for every --compact-hash-check-time: feature gate CompactHashCheck
//
// Hashes are taken at one revision and compared only where both members have compacted to the same one. Runs on the
// replica's strand; hashing beside it.
#pragma once

#include <cstdint>
#include <vector>

#include "kvstore/peer/http_transport.h"
#include "kvstore/replica/replica.h"

namespace kvstore::service {

struct CorruptionCheckOptions {
  base::Duration every{};             // 0: no periodic check
  base::Duration after_compaction{};  // how often to look for a new compaction; 0: not at all
};

class CorruptionChecker {
 public:
  CorruptionChecker(replica::Replica& replica, peer::HttpTransport& transport, base::BlockingPool& pool)
      : replica_(replica), transport_(transport), pool_(pool) {}

  // kDataLoss: another member holds other data at the same revision. Members that do not answer are passed over.
  base::Task<base::Status> InitialCheck(base::Context ctx);
  // The leader's checks, until the context ends.
  base::Task<void> Run(base::Context ctx, CorruptionCheckOptions options);

 private:
  struct PeerHash {
    raft::NodeId from;
    base::Result<peer::MemberHash> hash;
  };
  base::Task<void> Every(base::Context ctx, base::Duration interval,
                         base::Task<void> (CorruptionChecker::*check)(base::Context));
  base::Task<void> PeriodicCheck(base::Context ctx);
  base::Task<void> CompactionCheck(base::Context ctx);
  base::Task<std::vector<PeerHash>> AskAll(base::Context ctx, int64_t revision);
  base::Task<void> Alarm(base::Context ctx, raft::NodeId member);

  replica::Replica& replica_;
  peer::HttpTransport& transport_;
  base::BlockingPool& pool_;
  int64_t compaction_checked_ = 0;
};

}  // namespace kvstore::service
