// Linearizable reads by ReadIndex: one question to the leader at a time, for everybody who waits by then; who comes
// while it is out waits for the next.
//
// Invariant: a read is in one place: waiting, asked with the question that is out, or confirmed and behind an index
// that is not applied yet. It returns OK only when the leader was asked after it came and everything up to the index
// that was answered is applied here. A question's key is never used twice.
//
// Owned by the replica; its strand.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kvstore/replica/core.h"

namespace kvstore::replica {

class Reads {
 public:
  Reads(Shared& shared, Core& core) : shared_(shared), core_(core) {}
  Reads(const Reads&) = delete;

  // Replica::ReadBarrier and ReadsAreCurrent.
  base::Task<base::Status> Barrier(base::Context ctx);
  bool AreCurrent() const;

  // Asks for those who wait, unless a question is out.
  void Ask();
  // The question that is out, once more: the leader has changed.
  void AskAgain();
  // Likewise when it has been out for too long. Comes with the ticks.
  void Retry();
  // From the core.
  void Answered(const std::vector<raft::ReadState>& states);
  // More is applied.
  void Release();
  // Everybody is told that the member stops.
  void EndAll();

 private:
  struct Outcome {
    bool answered = true;
    base::Status status;
  };
  struct Reader {
    explicit Reader(base::Executor& e) : shot(e) {}
    base::OneShot<Outcome> shot;
  };
  using Readers = std::vector<std::shared_ptr<Reader>>;

  Shared& shared_;
  Core& core_;
  Readers waiting_;
  Readers asked_;
  std::string key_;
  base::MonoTime asked_at_{};
  std::deque<std::pair<uint64_t, Readers>> confirmed_;  // may go once the index is applied
};

}  // namespace kvstore::replica
