#include "kvstore/service/compactor.h"

#include <algorithm>
#include <cstdlib>
#include <deque>

#include "base/go_duration.h"
#include "base/log.h"
#include "base/protobuf_wire.h"

namespace kvstore::service {

namespace wire = base::wire;

using base::Err;
using base::Result;
using base::Task;

Result<CompactionPolicy> ParseCompactionPolicy(const std::string& mode, const std::string& retention) {
  CompactionPolicy p;
  p.periodic = mode == "periodic";
  if (!p.periodic && mode != "revision") {
    return Err(base::InvalidArgument("unsupported auto-compaction-mode \"" + mode + "\""));
  }
  char* end = nullptr;
  long number = std::strtol(retention.c_str(), &end, 10);
  bool is_number = !retention.empty() && *end == '\0' && number >= 0;
  if (is_number) {
    p.period = std::chrono::hours(number);
    p.revisions = number;
    return p;
  }
  auto d = base::ParseGoDuration(retention);
  if (!p.periodic || !d)
    return Err(base::InvalidArgument("error parsing auto-compaction-retention \"" + retention + "\""));
  p.period = *d;
  return p;
}

namespace {

Task<void> Compact(replica::Replica& replica, base::Context ctx, int64_t revision) {
  if (revision <= std::max<int64_t>(replica.store().compact_revision(), 0) || !replica.is_leader()) co_return;
  std::string inner, fields;
  wire::PutUint(inner, 1, static_cast<uint64_t>(revision));
  wire::PutBytes(fields, 7, inner);
  auto answer = co_await replica.Propose(ctx, std::move(fields));
  if (answer && answer->error.ok()) {
    base::LogInfo("completed auto compaction", {{"revision", revision}});
  }
}

}  // namespace

Task<void> RunCompactor(replica::Replica& replica, base::Context ctx, CompactionPolicy policy) {
  constexpr int kSamplesPerPeriod = 10;
  base::Duration interval = std::chrono::minutes(5);
  if (policy.periodic) interval = std::min<base::Duration>(policy.period, std::chrono::hours(1)) / kSamplesPerPeriod;
  // What the revision was, one sample per interval: the oldest one a whole period ago is what may go.
  std::deque<int64_t> samples;
  auto wanted = static_cast<size_t>(policy.periodic ? policy.period / interval : 0);
  while ((co_await base::Sleep(replica.executor(), ctx, interval)).ok()) {
    int64_t now = replica.store().revision();
    if (!policy.periodic) {
      co_await Compact(replica, ctx, now - policy.revisions);
      continue;
    }
    samples.push_back(now);
    if (samples.size() <= wanted) continue;
    co_await Compact(replica, ctx, samples.front());
    samples.pop_front();
  }
}

}  // namespace kvstore::service
