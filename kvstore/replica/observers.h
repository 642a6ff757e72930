// What a member lets others see of its work: counters, and hooks that metrics are fed by.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "base/executor.h"

namespace kvstore::replica {

struct Counters {
  uint64_t leader_changes = 0, proposals_failed = 0, syncs = 0, checkpoints = 0;
  uint64_t reads_failed = 0, reads_slow = 0, leases_expired = 0, promotions = 0, slow_applies = 0, log_bytes = 0,
           compactions = 0, heartbeats_late = 0;
  int64_t last_compaction = 0;  // when it ended, in seconds of the Unix clock; 0: there was none
};

// Set by whoever watches, empty otherwise; called on the member's strand.
struct Observers {
  // An fsync of the log and the writing before it.
  std::function<void(base::Duration sync, base::Duration write)> on_sync;
  // A turn of applying `entries`.
  std::function<void(base::Duration took, size_t entries)> on_apply;
  enum class Work {
    kCompaction,
    kCompactionStep,
    kCheckpoint,
    kStateFile,  // of a checkpoint: its writing and its fsync
    kDiskSync,
    kDatabaseSync,  // all fsyncs of a database that a peer sent; from the transport
    kDatabaseSave,  // its arrival, from the first byte until it has its name
  };
  std::function<void(Work, base::Duration)> on_work;
};
using Work = Observers::Work;

}  // namespace kvstore::replica
