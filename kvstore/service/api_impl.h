// For service/*.cc: counters of the API, and small helpers its halves share.
#pragma once

#include "kvstore/service/api.h"
#include "kvstore/wire/wire.h"

namespace kvstore::service {

struct Api::Metrics {
  Metrics(base::MetricsRegistry& r, const ApiOptions& options);

  base::Family<base::Counter>& started;
  base::Family<base::Counter>& handled;
  base::Family<base::Counter>& received;
  base::Family<base::Counter>& sent;
  base::Counter& put;
  base::Counter& range;
  base::Counter& del;
  base::Counter& txn;
  base::Counter& bytes_in;
  base::Counter& bytes_out;
  base::Counter& lease_granted;
  base::Counter& lease_renewed;
  base::Counter& lease_revoked;
  base::Counter& health_ok;
  base::Counter& health_failed;
  base::Family<base::Gauge>& check;
  base::Family<base::Counter>& checks;
  base::Histogram& fsync;
  base::Histogram& log_write;
  base::Histogram& apply;
  base::Histogram& compaction;  // milliseconds
  base::Counter& scrapes;
  base::Counter& events;
  base::Family<base::Counter>& requests;
  base::Family<base::Histogram>& request_seconds;
  base::Histogram& range_seconds;
  base::Histogram& hash_seconds;
  base::Histogram& hash_kv_seconds;
  base::Histogram& snapshot_seconds;
  base::Histogram& lease_ttl;
};

// Tells a histogram how long a scope took.
class Stopwatch {
 public:
  Stopwatch(base::Executor& executor, base::Histogram& to) : executor_(executor), to_(to), from_(executor.Now()) {}
  ~Stopwatch() { to_.Observe(std::chrono::duration<double>(executor_.Now() - from_).count()); }

 private:
  base::Executor& executor_;
  base::Histogram& to_;
  base::MonoTime from_;
};

// "Ok", "NotFound": the label grpc_code.
std::string_view GrpcCodeLabel(base::Code code);

// The client asks not to be served by a member that is cut off ("require leader").
inline bool NeedsLeader(const base::net::GrpcCall& call) { return call.headers.Get("hasleader") == "true"; }
inline base::Status Unreadable() { return base::InvalidArgument("etcdserver: request cannot be decoded"); }

}  // namespace kvstore::service
