// What a leader knows of each follower, and how much it lets be under way to it (dissertation 10.2.1). Owned by the
// core; its strand only.
#pragma once

#include <deque>

#include "kvstore/raft/types.h"

namespace kvstore::raft {

// The sliding window of appends under way: bounded in messages and in bytes.
class Inflights {
 public:
  Inflights(size_t max_messages, uint64_t max_bytes) : max_messages_(max_messages), max_bytes_(max_bytes) {}
  void Add(uint64_t last_index, uint64_t bytes) {
    window_.push_back({last_index, bytes});
    bytes_ += bytes;
  }
  // Everything up to `index` has arrived.
  void FreeTo(uint64_t index) {
    while (!window_.empty() && window_.front().index <= index) {
      bytes_ -= window_.front().bytes;
      window_.pop_front();
    }
  }
  bool full() const { return window_.size() >= max_messages_ || (max_bytes_ != 0 && bytes_ >= max_bytes_); }
  size_t count() const { return window_.size(); }
  void Reset() {
    window_.clear();
    bytes_ = 0;
  }

 private:
  struct Item {
    uint64_t index, bytes;
  };
  size_t max_messages_;
  uint64_t max_bytes_;
  uint64_t bytes_ = 0;
  std::deque<Item> window_;
};

enum class ProgressState : uint8_t {
  kProbe,      // where the logs meet is not known: one append at a time
  kReplicate,  // appends are pipelined
  kSnapshot,   // a snapshot is on its way: no appends
};

struct Progress {
  uint64_t match = 0;        // highest index known to be in the follower's log
  uint64_t next = 1;         // next index to send
  uint64_t sent_commit = 0;  // highest commit index sent
  uint64_t awaits = 0;       // the last entry that came from this follower: it waits for its commit
  uint64_t heard_at = 0;     // the tick of its latest answer
  ProgressState state = ProgressState::kProbe;
  uint64_t pending_snapshot = 0;
  bool recent_active = false;  // heard from within the last election timeout
  bool paused = false;         // an append was sent (or the window is full); wait for an answer or a heartbeat's
  bool learner = false;
  Inflights inflights;

  void BecomeProbe();
  void BecomeReplicate();
  void BecomeSnapshot(uint64_t index);
  // An append of `count` entries ending at `next + count - 1` was sent.
  void SentEntries(size_t count, uint64_t bytes);
  // True when `index` is news.
  bool MaybeUpdate(uint64_t index);
  // The follower refused an append at `rejected`; true when that was not stale, `next` then is closer to the truth.
  bool MaybeDecrease(uint64_t rejected, uint64_t match_hint);
  bool IsPaused() const;
  // True when sending `committed` would tell the follower something it can use.
  bool CanBumpCommit(uint64_t committed) const { return committed > sent_commit && sent_commit < next - 1; }
  std::string ToString() const;  // "StateReplicate match=3 next=4"
};

}  // namespace kvstore::raft
