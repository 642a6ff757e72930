// Automatic compaction: by age (periodic) or by count of revisions, as --auto-compaction-mode says. One task on the
// replica's strand; proposes like any client would.
#pragma once

#include <string>

#include "kvstore/replica/replica.h"

namespace kvstore::service {

struct CompactionPolicy {
  bool periodic = true;
  base::Duration period{};  // periodic; 0 = off
  int64_t revisions = 0;    // revision mode; 0 = off
  bool on() const { return periodic ? period.count() > 0 : revisions > 0; }
};
// mode "periodic" or "revision"; retention "5m", "1h30m", or a number (hours, revisions).
base::Result<CompactionPolicy> ParseCompactionPolicy(const std::string& mode, const std::string& retention);

base::Task<void> RunCompactor(replica::Replica& replica, base::Context ctx, CompactionPolicy policy);

}  // namespace kvstore::service
