// Range and RangeStream. Short answers are made at once; long ones are gathered in turns, so that others are served in
// between, and read beside the strand, piece by piece as the client takes them: a list of any size costs its index
// entries and a piece, not its bytes.
#include "base/next_turn.h"
#include "kvstore/mvcc/errors.h"
#include "kvstore/mvcc/view.h"
#include "kvstore/service/api_impl.h"
#include "kvstore/service/checks.h"
#include "proto/etcd/rpc.pb.h"

namespace kvstore::service {

using base::Err;
using base::Ok;
using base::Task;
namespace pb = etcdserverpb;

namespace {

constexpr size_t kKeysPerTurn = 1024;
constexpr uint64_t kShortBytes = 256 << 10;
constexpr size_t kPieceBytes = 256 << 10;

// A view's KeyValues as the field `kvs` of a RangeResponse, piece by piece. Held by the call; runs on a pool.
class Pieces {
 public:
  Pieces(mvcc::View view, bool keys_only) : view_(std::move(view)), cursor_(view_.segments), keys_only_(keys_only) {}
  bool done() const { return at_ == view_.versions.size(); }
  // About kPieceBytes more.
  base::Result<std::string> Next() {
    std::string out;
    out.reserve(kPieceBytes + kPieceBytes / 8);
    while (!done() && out.size() < kPieceBytes) {
      TRY_ASSIGN(std::string_view kv, cursor_.Read(view_.versions[at_++].location()));
      wire::PutBytes(out, 2, keys_only_ ? mvcc::WithoutValue(kv, true) : kv);
    }
    return out;
  }

 private:
  mvcc::View view_;
  mvcc::Cursor cursor_;
  bool keys_only_;
  size_t at_ = 0;
};

// What a request finds: where its values are, not the values themselves.
struct Found {
  mvcc::Gather gather;
  int64_t revision = 0;  // the store's, for the header
  int64_t count = 0;     // of all that a limit leaves out, too
  bool more = false;
  bool took_turns = false;

  bool is_short() const { return !took_turns && gather.bytes() <= kShortBytes; }
};

Task<base::Result<Found>> Find(mvcc::Store& store, const pb::RangeRequest& r, const base::net::GrpcCall& call) {
  CO_TRY(store.CheckRevision(r.revision()));
  int64_t at = r.revision() > 0 ? r.revision() : store.revision();
  Found found{.gather = mvcc::Gather::Range(store, at, r.key(), r.range_end()), .revision = store.revision()};
  size_t wanted = SIZE_MAX;
  // What is to be sorted afterwards wants one more, which tells whether there is more.
  if (r.limit() > 0 && mvcc::LimitsFirst(r)) wanted = static_cast<size_t>(r.limit()) + !mvcc::IsPlain(r);
  auto left = [&] { return wanted - found.gather.versions().size(); };
  while (left() > 0) {
    CO_TRY_ASSIGN(bool again, found.gather.Step(std::min(kKeysPerTurn, left())));
    if (!again) break;
    if (left() == 0) break;
    found.took_turns = true;
    co_await base::NextTurn(call.executor);
    if (call.ctx.done()) co_return Err(call.ctx.status());
  }
  found.count = static_cast<int64_t>(found.gather.versions().size());
  if (left() == 0) {
    found.count = store.Count({r.key(), r.range_end()}, at);
    found.more = found.count > r.limit();
  }
  co_return std::move(found);
}

// All of it at once, sorted as is asked.
base::Result<std::string> EncodeView(const mvcc::View& view, const pb::RangeRequest& r, int64_t count) {
  std::vector<std::string> kvs;
  mvcc::Cursor cursor(view.segments);
  for (const mvcc::Version& v : view.versions) {
    TRY_ASSIGN(std::string_view kv, cursor.Read(v.location()));
    kvs.emplace_back(r.keys_only() && mvcc::IsPlain(r) ? mvcc::WithoutValue(kv, true) : kv);
  }
  return mvcc::EncodeRange(r, std::move(kvs), count);
}

}  // namespace

Task<Api::Bytes> Api::Range(const Call& call, std::string request) {
  pb::RangeRequest r;
  if (!r.ParseFromString(request)) co_return Err(Unreadable());
  CO_TRY(CheckRange(r));
  if (!r.serializable()) CO_TRY(co_await Barrier(call.ctx));
  if (replica_.applier().auth().enabled()) {
    CO_TRY_ASSIGN(mvcc::Identity who, Caller(call));
    CO_TRY(replica_.applier().auth().MayRead(who, r.key(), r.range_end()));
  }
  Stopwatch watch(call.executor, *metrics_->range_seconds);
  if (r.range_end().empty() || r.count_only()) co_return Respond(replica_.applier().Range(r));
  co_return co_await RangeOfMany(call, r);
}

Task<Api::Bytes> Api::RangeOfMany(const Call& call, const pb::RangeRequest& r) {
  CO_TRY_ASSIGN(Found found, co_await Find(replica_.store(), r, call));
  if (found.is_short()) co_return Respond(replica_.applier().Range(r));
  uint64_t bytes = 0;
  for (const mvcc::Version& v : found.gather.versions()) bytes += wire::BytesFieldSize(2, v.length);
  CO_TRY_ASSIGN(mvcc::View view, found.gather.Finish());
  // Only whose length is known beforehand can be sent in pieces.
  if (!mvcc::IsPlain(r) || r.keys_only() || call.long_answer == nullptr) {
    auto encode = [&] { return EncodeView(view, r, found.count); };
    CO_TRY_ASSIGN(std::string body, co_await base::RunBlocking(reader_pool_, call.executor, encode));
    co_return Respond({.revision = found.revision, .body = std::move(body)});
  }
  std::string head, tail;
  wire::PutBytes(head, 1, Header(found.revision));
  wire::PutNonZero(tail, 3, found.more);
  wire::PutNonZero(tail, 4, static_cast<uint64_t>(found.count));
  CO_TRY(co_await call.long_answer->Begin(head.size() + bytes + tail.size()));
  metrics_->bytes_out->Add(static_cast<double>(head.size() + bytes + tail.size()));
  CO_TRY(co_await call.long_answer->Write(base::Share(std::move(head))));
  Pieces pieces(std::move(view), false);
  while (!pieces.done()) {
    CO_TRY_ASSIGN(std::string piece,
                  co_await base::RunBlocking(reader_pool_, call.executor, [&] { return pieces.Next(); }));
    CO_TRY(co_await call.long_answer->Write(base::Share(std::move(piece))));
  }
  CO_TRY(co_await call.long_answer->Write(base::Share(std::move(tail))));
  co_return std::string();
}

// A long answer in pieces, of one revision; only the last one has the header and the count.
Task<base::Status> Api::RangeStream(base::net::GrpcServerStream& stream) {
  const Call& call = stream.call();
  CO_TRY_ASSIGN(auto request, co_await stream.Read());
  pb::RangeRequest r;
  if (!request || !r.ParseFromString(*request)) co_return Unreadable();
  CO_TRY(CheckRange(r));
  CO_TRY(CheckRangeStream(r));
  if (!r.serializable()) CO_TRY(co_await Barrier(call.ctx));
  mvcc::Identity who;
  if (replica_.applier().auth().enabled()) {
    CO_TRY_ASSIGN(who, Caller(call));
  }
  CO_TRY(replica_.applier().auth().MayRead(who, r.key(), r.range_end()));
  auto last = [this](std::string kvs, int64_t revision, bool more, int64_t count) {
    std::string piece, out;
    wire::PutBytes(piece, 1, Header(revision));
    piece += kvs;
    wire::PutNonZero(piece, 3, more);
    wire::PutNonZero(piece, 4, static_cast<uint64_t>(count));
    wire::PutBytes(out, 1, piece);
    return base::Share(std::move(out));
  };
  if (r.count_only()) {
    CO_TRY(replica_.store().CheckRevision(r.revision()));
    int64_t count = replica_.store().Count({r.key(), r.range_end()}, r.revision());
    co_return co_await stream.Write(last("", replica_.store().revision(), false, count));
  }
  if (!mvcc::IsPlain(r)) {
    // Sorted by something else than the key, nothing can go before all is there.
    CO_TRY_ASSIGN(Found found, co_await Find(replica_.store(), r, call));
    CO_TRY_ASSIGN(mvcc::View view, found.gather.Finish());
    auto encode = [&] { return EncodeView(view, r, found.count); };
    CO_TRY_ASSIGN(std::string body, co_await base::RunBlocking(reader_pool_, call.executor, encode));
    co_return co_await stream.Write(last(std::move(body), found.revision, false, 0));
  }
  std::optional<Pieces> pieces;
  int64_t revision = 0, count = 0;
  bool more = false;
  {
    CO_TRY_ASSIGN(Found found, co_await Find(replica_.store(), r, call));
    revision = found.revision;
    count = found.count;
    more = found.more;
    CO_TRY_ASSIGN(mvcc::View view, found.gather.Finish());
    pieces.emplace(std::move(view), r.keys_only());
  }
  for (;;) {
    CO_TRY_ASSIGN(std::string kvs,
                  co_await base::RunBlocking(reader_pool_, call.executor, [&] { return pieces->Next(); }));
    if (pieces->done()) co_return co_await stream.Write(last(std::move(kvs), revision, more, count));
    std::string wrapped;
    wire::PutBytes(wrapped, 1, kvs);
    CO_TRY(co_await stream.Write(base::Share(std::move(wrapped))));
    CO_TRY(StillAllowed(who));
  }
}

}  // namespace kvstore::service
