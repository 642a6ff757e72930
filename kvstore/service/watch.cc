// The Watch stream: requests in, items of the session's WatchStream out.
#include "base/log.h"
#include "kvstore/mvcc/errors.h"
#include "kvstore/service/api_impl.h"
#include "proto/etcd/rpc.pb.h"

namespace kvstore::service {

using base::Ok;
using base::Task;
namespace pb = etcdserverpb;

struct Api::WatchSession {
  WatchSession(base::net::GrpcServerStream& s, replica::Replica& r)
      : stream(s),
        wake(s.call().executor),
        tasks(s.call().executor, s.call().ctx),
        watches(r.store().watches(), [this] { wake.NotifyAll(); }) {}
  base::net::GrpcServerStream& stream;
  base::Event wake;
  base::TaskScope tasks;
  mvcc::WatchStream watches;
  std::deque<std::string> answers;  // refusals, which belong to no watch
  base::Status failed;
};

namespace {

std::string EncodeEvent(const mvcc::Event& e, bool prev_kv) {
  std::string out;
  wire::PutNonZero(out, 1, e.is_delete);
  wire::PutBytes(out, 2, *e.kv);
  if (prev_kv && e.prev_kv) wire::PutBytes(out, 3, *e.prev_kv);
  return out;
}

std::string EncodeItem(const std::string& header, const mvcc::WatchItem& item, size_t from, size_t to, bool fragment) {
  std::string out;
  out.reserve(item.bytes + 64);
  wire::PutBytes(out, 1, header);
  wire::PutNonZero(out, 2, static_cast<uint64_t>(item.watch_id));
  wire::PutNonZero(out, 3, item.created);
  wire::PutNonZero(out, 4, item.canceled);
  wire::PutNonZero(out, 5, static_cast<uint64_t>(item.compact_revision));
  wire::PutNonZero(out, 7, fragment);
  for (size_t i = from; i < to; ++i) wire::PutBytes(out, 11, EncodeEvent(*item.events[i], item.prev_kv));
  return out;
}

// Clients know this reason by the text of the whole gRPC error.
std::string RefusalOf(const base::Status& why) {
  return "rpc error: code = " + std::string(GrpcCodeLabel(why.code())) + " desc = " + std::string(why.message());
}

}  // namespace

Task<base::Status> Api::Watch(base::net::GrpcServerStream& stream) {
  // Watching makes the same promise as reading: what was acknowledged before it began is in view.
  CO_TRY(co_await Barrier(stream.call().ctx));
  WatchSession session(stream, replica_);
  ++watch_streams_;
  session.tasks.Spawn(WatchWriter(session));
  session.tasks.Spawn(WatchIdle(session));
  base::Status result;
  for (;;) {
    auto request = co_await stream.Read();
    if (!request) {
      result = request.error();
      break;
    }
    if (!*request) {
      // The client says nothing more; it still listens until it goes away.
      co_await session.tasks.Join();
      break;
    }
    pb::WatchRequest r;
    if (!r.ParseFromString(**request)) {
      result = Unreadable();
      break;
    }
    if (!replica_.failure().ok()) {
      result = mvcc::ErrStopped();
      break;
    }
    WatchCommand(session, r);
  }
  co_await session.tasks.CancelAndJoin();
  --watch_streams_;
  co_return session.failed.ok() ? result : session.failed;
}

void Api::WatchCommand(WatchSession& session, const pb::WatchRequest& request) {
  if (request.has_create_request()) {
    const pb::WatchCreateRequest& c = request.create_request();
    mvcc::WatchSpec spec{.key = c.key(),
                         .end = c.range_end(),
                         .start_revision = c.start_revision(),
                         .prev_kv = c.prev_kv(),
                         .progress_notify = c.progress_notify(),
                         .fragment = c.fragment()};
    if (spec.key.empty()) spec.key = std::string(1, '\0');
    for (int f : c.filters()) {
      spec.no_put |= f == pb::WatchCreateRequest::NOPUT;
      spec.no_delete |= f == pb::WatchCreateRequest::NODELETE;
    }
    auto who = Caller(session.stream.call());
    base::Status allowed = who ? replica_.applier().auth().MayRead(*who, spec.key, spec.end) : who.error();
    mvcc::KeyRange range = spec.range();
    if (c.start_revision() < 0) {
      RefuseWatch(session, mvcc::ErrCompacted().message());
    } else if (!allowed.ok()) {
      RefuseWatch(session, RefusalOf(allowed));
    } else if (!range.single() && !range.open_ended() && range.key >= range.end) {
      RefuseWatch(session, "mvcc: watcher range is empty");
    } else if (auto id = session.watches.Watch(std::move(spec), c.watch_id()); !id) {
      RefuseWatch(session, "mvcc: " + std::string(id.error().message()));
    }
  } else if (request.has_cancel_request()) {
    session.watches.Cancel(request.cancel_request().watch_id());
  } else if (request.has_progress_request()) {
    session.watches.RequestProgress();
  }
}

// A watch that is never made is answered as made and cancelled at once.
void Api::RefuseWatch(WatchSession& session, std::string_view reason) {
  std::string out;
  wire::PutBytes(out, 1, Header(replica_.store().revision()));
  wire::PutUint(out, 2, static_cast<uint64_t>(int64_t{-1}));
  wire::PutUint(out, 3, 1);
  wire::PutUint(out, 4, 1);
  wire::PutBytes(out, 6, reason);
  session.answers.push_back(std::move(out));
  session.wake.NotifyAll();
}

Task<void> Api::WatchWriter(WatchSession& session) {
  base::Context ctx = session.tasks.context();
  base::Status s;
  while (s.ok()) {
    if (!session.answers.empty()) {
      std::string bytes = std::move(session.answers.front());
      session.answers.pop_front();
      Stopwatch watch(session.stream.call().executor, *metrics_->watch_control);
      s = co_await session.stream.Write(base::Share(std::move(bytes)));
    } else if (auto item = session.watches.Next()) {
      s = co_await SendItem(session, std::move(*item));
    } else {
      s = co_await session.wake.Wait(ctx);
    }
  }
  if (!ctx.done()) {
    session.failed = s;
    session.tasks.Cancel();
  }
}

Task<base::Status> Api::SendItem(WatchSession& session, mvcc::WatchItem item) {
  base::Histogram* kind = item.created || item.canceled ? metrics_->watch_control
                          : item.events.empty()         ? metrics_->watch_progress
                                                        : metrics_->watch_events;
  Stopwatch watch(session.stream.call().executor, *kind);
  std::string header = Header(item.revision);
  size_t limit = item.fragment ? options_.max_request_bytes : SIZE_MAX;
  size_t from = 0;
  do {
    size_t to = from, bytes = 0;
    while (to < item.events.size() && (to == from || bytes < limit)) {
      const mvcc::Event& e = *item.events[to++];
      bytes += e.kv->size() + (item.prev_kv && e.prev_kv ? e.prev_kv->size() : 0);
    }
    bool more = to < item.events.size();
    metrics_->events->Add(static_cast<double>(to - from));
    CO_TRY(co_await session.stream.Write(base::Share(EncodeItem(header, item, from, to, more))));
    from = to;
  } while (from < item.events.size());
  if (from > 0) metrics_->watch_per_event->Observe(watch.seconds() / static_cast<double>(from));
  co_return Ok();
}

Task<void> Api::WatchIdle(WatchSession& session) {
  base::Context ctx = session.tasks.context();
  while ((co_await base::Sleep(session.stream.call().executor, ctx, options_.watch_progress_interval)).ok()) {
    session.watches.NotifyIdle();
  }
}

}  // namespace kvstore::service
