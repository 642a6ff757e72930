#include "kvstore/replica/apply_lane.h"

#include <google/protobuf/arena.h>

#include <array>

#include "base/go_duration.h"
#include "base/log.h"
#include "kvstore/mvcc/errors.h"
#include "proto/etcd/server_internal.pb.h"

namespace kvstore::replica {

using base::Err;
using base::Ok;
using base::Result;
using base::Status;

namespace {
// How much is applied before others on the strand have their turn.
constexpr size_t kEntriesPerTurn = 128;
}  // namespace

// Entries as messages, one after another in the same memory.
class ApplyLane::EntryReader {
 public:
  // Good until the next call; null: unreadable.
  const etcdserverpb::InternalRaftRequest* Read(const std::string& bytes) {
    arena_.Reset();
    auto* r = google::protobuf::Arena::CreateMessage<etcdserverpb::InternalRaftRequest>(&arena_);
    // Into a message that is new: ParseFromString would first clear its forty fields.
    return r->MergeFromString(bytes) ? r : nullptr;
  }

 private:
  std::array<char, 2048> block_;
  google::protobuf::Arena arena_{block_.data(), block_.size()};
};

ApplyLane::ApplyLane(Shared& shared, Core& core, Proposals& proposals)
    : shared_(shared), core_(core), proposals_(proposals), reader_(std::make_unique<EntryReader>()) {}

ApplyLane::~ApplyLane() { *self_ = nullptr; }

void ApplyLane::Add(raft::Message&& m) {
  waiting_.push_back(std::move(m));
  Schedule();
}

void ApplyLane::Schedule() {
  if (std::exchange(scheduled_, true)) return;
  shared_.env.executor.Post([self = self_] {
    if (ApplyLane* lane = *self) lane->Turn();
  });
}

void ApplyLane::Turn() {
  scheduled_ = false;
  if (shared_.life.failed()) return;
  base::MonoTime begun = shared_.env.executor.Now();
  shared_.store->SetNow(begun);
  auto applied = ApplySome();
  if (!applied) return shared_.life.Fail(applied.error());
  if (*applied > 0) Observe(shared_.env.executor.Now() - begun, *applied);
  on_turn();
  if (!waiting_.empty()) Schedule();
  core_.ScheduleIfReady();
  // A fresh start: whatever the log had committed is applied, now this member may lead.
  if (waiting_.empty() && IsFreshAndAlone()) {
    (void)core_.raft().Campaign();
    core_.Schedule();
  }
  if (waiting_.empty()) shared_.life.idle.NotifyAll();
}

// How many entries it was.
Result<size_t> ApplyLane::ApplySome() {
  size_t left = kEntriesPerTurn;
  while (!waiting_.empty() && left > 0) {
    raft::Message& m = waiting_.front();
    while (at_ < m.entries.size() && left > 0) {
      const raft::Entry& e = m.entries[at_];
      Status s = e.type == raft::EntryType::kNormal ? Apply(e) : on_change(e);
      if (!s.ok()) return Err(s.Annotate("apply of entry " + std::to_string(e.index) + ": "));
      core_.Applied(e);
      ++at_;
      --left;
    }
    if (at_ < m.entries.size()) break;
    std::vector<raft::Message> responses = std::move(m.responses);
    waiting_.pop_front();
    at_ = 0;
    for (raft::Message& r : responses) (void)core_.raft().Step(std::move(r));
    on_applied();
  }
  return kEntriesPerTurn - left;
}

void ApplyLane::Observe(base::Duration took, size_t entries) {
  if (took > shared_.options.slow_apply) {
    ++shared_.counters.slow_applies;
    base::LogWarning("apply request took too long",
                     {{"took", base::FormatGoDuration(took)},
                      {"expected-duration", base::FormatGoDuration(shared_.options.slow_apply)},
                      {"entries", entries}});
  }
  if (shared_.observers.on_apply) shared_.observers.on_apply(took, entries);
}

bool ApplyLane::IsFreshAndAlone() const {
  const raft::Raft& raft = core_.raft();
  return raft.leader() == raft::kNone && raft.role() == raft::Role::kFollower &&
         core_.applied().conf_state.voters == std::vector<raft::NodeId>{shared_.member_id};
}

Status ApplyLane::Apply(const raft::Entry& e) {
  if (e.bytes().empty()) return Ok();
  const etcdserverpb::InternalRaftRequest* request = reader_->Read(*e.data);
  if (request == nullptr) {
    // The log's checksums hold: whoever proposed it meant this. Every member goes on without it.
    base::LogError("ignored an entry", base::DataLoss("unreadable request"), {{"index", e.index}});
    return Ok();
  }
  auto answer = shared_.applier->Apply(*request, e.index);
  uint64_t id = request->header().id() != 0 ? request->header().id() : request->id();
  if (!answer) {
    proposals_.Answer(id, mvcc::Answer{.error = mvcc::ErrStopped()});
    return answer.error();
  }
  if (request->has_compaction() && answer->error.ok()) on_compaction();
  proposals_.Answer(id, std::move(*answer));
  return Ok();
}

}  // namespace kvstore::replica
