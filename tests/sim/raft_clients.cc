#include "tests/sim/raft_clients.h"

#include <algorithm>

#include "base/protobuf_wire.h"
#include "base/sync.h"

namespace tests::sim {

namespace wire = base::wire;

using base::Context;
using base::Result;
using base::Task;
using history::Kind;
using history::Operation;
using namespace kvstore;
using std::chrono::milliseconds;

namespace {

constexpr uint64_t kKeys = 5;

std::string Fields(uint32_t field, const std::function<void(std::string&)>& fill) {
  std::string inner, out;
  fill(inner);
  wire::PutBytes(out, field, inner);
  return out;
}

void FillPut(std::string& f, const Operation& op, uint64_t lease = 0) {
  wire::PutBytes(f, 1, op.key);
  wire::PutBytes(f, 2, *op.value);
  wire::PutNonZero(f, 3, lease);
}
// RequestOp.request_put
std::string PutOp(const Operation& op) {
  return Fields(2, [&](std::string& f) { FillPut(f, op); });
}
// The key has this value, or it has never been written.
std::string CompareOp(const std::string& key, const std::optional<std::string>& value) {
  std::string f;
  wire::PutNonZero(f, 2, value ? 3 : 0);
  wire::PutBytes(f, 3, key);
  if (value) {
    wire::PutBytes(f, 7, *value);
  } else {
    wire::PutUint(f, 4, 0);
  }
  return f;
}
bool Succeeded(const std::string& body) {
  wire::Reader r(body);
  bool yes = false;
  while (r.Next()) {
    if (r.field() == 2) yes = r.value() != 0;
  }
  return yes;
}

}  // namespace

Task<void> RaftClients::Live(int number) {
  for (uint64_t i = 0; !world_.finishing; ++i) {
    (void)co_await base::Sleep(world_.executor, Context(), milliseconds(world_.random.Below(60)));
    Door door = members_.AnyDoor();
    if (door && !world_.finishing) co_await Act(door, number, i);
  }
}

Task<void> RaftClients::Act(Door door, int number, uint64_t count) {
  base::Random& random = world_.random;
  Operation op{.client = number, .key = "k" + std::to_string(random.Below(kKeys)), .start = Now()};
  op.value = std::to_string(number) + "." + std::to_string(count);
  Context ctx = Context().WithTimeout(*door.executor, kRequestTimeout);
  switch (random.Below(16)) {
    case 0:
      co_return co_await Compact(door, ctx);
    case 1:
      op.kind = Kind::kDelete;
      co_return co_await Delete(door, ctx, op);
    case 2:
      co_return co_await Leased(door, ctx, *op.value);
    case 3:
    case 4:
      op.kind = Kind::kCompareAndSwap;
      if (random.OneIn(4)) last_seen_.reset();
      op.expect = last_seen_;
      co_return co_await Swap(door, ctx, op);
    case 5: {
      op.kind = Kind::kPut;
      Operation two = op;
      two.key = "k" + std::to_string((random.Below(kKeys - 1) + 1 + (op.key[1] - '0')) % kKeys);
      co_return co_await PutTwo(door, ctx, op, two);
    }
    case 6:
    case 7:
    case 8:
    case 9:
    case 10:
      op.value.reset();
      co_return co_await Read(door, ctx, op);
    default:
      op.kind = Kind::kPut;
      co_return co_await Put(door, ctx, op);
  }
}

bool RaftClients::Happened(const Result<mvcc::Answer>& answer, Operation op) {
  if (answer && answer->error.ok()) return true;
  if (!answer) world_.judge.Did(std::move(op));
  return false;
}
void RaftClients::Ended(Operation op) {
  op.end = Now();
  world_.judge.Did(std::move(op));
}

Task<void> RaftClients::Put(Door door, Context ctx, Operation op) {
  int64_t floor = world_.judge.newest();
  auto answer = co_await door.replica->Propose(ctx, Fields(4, [&](std::string& f) { FillPut(f, op); }));
  if (!Happened(answer, op)) co_return;
  ++world_.figures["writes"];
  world_.judge.Written(floor, answer->revision, 0, op.key, *op.value);
  Ended(op);
}

Task<void> RaftClients::Delete(Door door, Context ctx, Operation op) {
  int64_t floor = world_.judge.newest();
  op.value.reset();
  auto answer = co_await door.replica->Propose(ctx, Fields(5, [&](std::string& f) { wire::PutBytes(f, 1, op.key); }));
  if (!Happened(answer, op)) co_return;
  ++world_.figures["deletes"];
  world_.judge.Answered(floor, answer->revision);  // a delete of nothing takes no revision
  Ended(op);
}

Task<void> RaftClients::Swap(Door door, Context ctx, Operation op) {
  int64_t floor = world_.judge.newest();
  auto answer = co_await door.replica->Propose(ctx, Fields(6, [&](std::string& f) {
                                                 wire::PutBytes(f, 1, CompareOp(op.key, op.expect));
                                                 wire::PutBytes(f, 2, PutOp(op));
                                               }));
  if (!Happened(answer, op)) co_return;
  op.ok = Succeeded(answer->body);
  ++world_.figures[op.ok ? "swaps" : "refused swaps"];
  if (op.ok) {
    world_.judge.Written(floor, answer->revision, 0, op.key, *op.value);
  } else {
    world_.judge.Answered(floor, answer->revision);
  }
  Ended(op);
}

Task<void> RaftClients::PutTwo(Door door, Context ctx, Operation one, Operation two) {
  int64_t floor = world_.judge.newest();
  auto answer = co_await door.replica->Propose(ctx, Fields(6, [&](std::string& f) {
                                                 wire::PutBytes(f, 2, PutOp(one));
                                                 wire::PutBytes(f, 2, PutOp(two));
                                               }));
  if (!Happened(answer, one)) {
    if (!answer) world_.judge.Did(two);
    co_return;
  }
  ++world_.figures["transactions"];
  world_.judge.Written(floor, answer->revision, 0, one.key, *one.value);
  world_.judge.Written(floor, answer->revision, 1, two.key, *two.value);
  Ended(one);
  Ended(two);
}

Task<void> RaftClients::Read(Door door, Context ctx, Operation op) {
  int64_t floor = world_.judge.newest();
  if (!world_.Broken(SeededBug::kStaleRead)) {
    if (!(co_await door.replica->ReadBarrier(ctx)).ok() || !door) co_return;
  }
  auto got = door.replica->store().Range({.key = op.key});
  if (!got) co_return;
  ++world_.figures["reads"];
  if (!got->kvs.empty()) op.found = std::string(mvcc::DecodeKeyValue(got->kvs[0])->value);
  world_.judge.Seen(floor, got->revision, op.key, op.found);
  if (op.found) last_seen_ = op.found;
  Ended(op);
}

Task<void> RaftClients::Compact(Door door, Context ctx) {
  int64_t r = world_.judge.newest() - static_cast<int64_t>(5 + world_.random.Below(40));
  if (r < 2) co_return;
  auto done = co_await door.replica->Propose(
      ctx, Fields(7, [&](std::string& f) { wire::PutUint(f, 1, static_cast<uint64_t>(r)); }));
  world_.figures["compactions"] += done && done->error.ok();
}

// The leader counts by its own clock, which may be the fastest; a hundred milliseconds are for its granularity.
base::MonoTime RaftClients::LeaseFloor(base::MonoTime from, int64_t ttl) const {
  auto seconds = std::chrono::duration<double>(static_cast<double>(ttl) / kFastestClock - 0.1);
  return from + std::chrono::duration_cast<base::Duration>(seconds);
}

Task<void> RaftClients::Leased(Door door, Context ctx, std::string value) {
  auto lease = static_cast<int64_t>(1 + world_.random.Below(1'000'000'000));
  int64_t ttl = 2 + static_cast<int64_t>(world_.random.Below(3));
  base::MonoTime start = world_.executor.Now();
  auto granted = co_await door.replica->Propose(ctx, Fields(8, [&](std::string& f) {
                                                  wire::PutUint(f, 1, static_cast<uint64_t>(ttl));
                                                  wire::PutUint(f, 2, static_cast<uint64_t>(lease));
                                                }));
  if (!granted || !granted->error.ok() || !door) co_return;
  ++world_.figures["leases"];
  Operation op{.key = "lease/" + std::to_string(lease), .kind = Kind::kPut, .value = std::move(value)};
  world_.judge.Leased(op.key, LeaseFloor(start, ttl));
  int64_t floor = world_.judge.newest();
  auto answer = co_await door.replica->Propose(
      ctx, Fields(4, [&](std::string& f) { FillPut(f, op, static_cast<uint64_t>(lease)); }));
  if (!answer || !answer->error.ok()) co_return;
  world_.judge.Written(floor, answer->revision, 0, op.key, *op.value);
  for (uint64_t n = world_.random.Below(3); n > 0 && !world_.finishing; --n) {
    (void)co_await base::Sleep(world_.executor, Context(), milliseconds(world_.random.Below(1500)));
    co_await KeepAlive(lease, op.key, ttl);
  }
}

// By way of any member.
Task<void> RaftClients::KeepAlive(int64_t lease, std::string key, int64_t ttl) {
  Door door = members_.AnyDoor();
  if (!door) co_return;
  Context ctx = Context().WithTimeout(*door.executor, kRequestTimeout);
  base::MonoTime start = world_.executor.Now();
  auto left = co_await door.replica->RenewLease(ctx, lease);
  if (!left || *left <= 0) co_return;
  ++world_.figures["lease renewals"];
  world_.judge.Leased(key, LeaseFloor(start, ttl));
}

}  // namespace tests::sim
