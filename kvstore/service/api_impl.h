// For service/*.cc: counters of the API, and small helpers its halves share.
#pragma once

#include <span>

#include "base/protobuf_wire.h"
#include "kvstore/service/api.h"
#include "kvstore/service/client_versions.h"

namespace kvstore::service {

namespace wire = base::wire;

// What who does the work feeds; metrics.cc has the table of all there are.
struct Api::Metrics {
  explicit Metrics(base::MetricsRegistry& r);
  struct Row;
  static std::span<const Row> Rows();

  base::Family<base::Counter>*started, *handled, *received, *sent;  // gRPC
  base::Family<base::Counter>* requests;
  ClientVersions client_versions;  // of them
  base::Family<base::Histogram>* request_seconds;
  base::Counter *bytes_in, *bytes_out;
  base::Counter* scrapes;

  base::Counter *health_ok, *health_failed;
  base::Family<base::Gauge>* check;
  base::Family<base::Counter>* checks;

  base::Counter* lease_renewed;
  base::Histogram* lease_ttl;
  base::Histogram *range_seconds, *hash_seconds, *hash_kv_seconds, *snapshot_seconds, *defragment;
  base::Counter* events;
  base::Histogram *watch_control, *watch_progress, *watch_events, *watch_per_event;

  base::Histogram *fsync, *log_write, *apply, *checkpoint, *state_file, *disk_sync, *database_sync, *database_save;
  base::Histogram *compaction, *compaction_pause, *index_pause;  // milliseconds
};

// Tells a histogram how long a scope took.
class Stopwatch {
 public:
  Stopwatch(base::Executor& executor, base::Histogram& to) : executor_(executor), to_(to), from_(executor.Now()) {}
  ~Stopwatch() { to_.Observe(seconds()); }
  double seconds() const { return std::chrono::duration<double>(executor_.Now() - from_).count(); }

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
