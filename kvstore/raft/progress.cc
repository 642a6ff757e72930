#include "kvstore/raft/progress.h"

#include <algorithm>

namespace kvstore::raft {
namespace {
void Reset(Progress& p, ProgressState state) {
  p.state = state;
  p.paused = false;
  p.pending_snapshot = 0;
  p.inflights.Reset();
}
}  // namespace

void Progress::BecomeProbe() {
  // After a snapshot the follower has at least the snapshot; without it `match` is all that is known.
  uint64_t at_least = state == ProgressState::kSnapshot ? std::max(match, pending_snapshot) : match;
  Reset(*this, ProgressState::kProbe);
  next = at_least + 1;
  sent_commit = std::min(sent_commit, next - 1);
}

void Progress::BecomeReplicate() {
  Reset(*this, ProgressState::kReplicate);
  next = match + 1;
}

void Progress::BecomeSnapshot(uint64_t index) {
  Reset(*this, ProgressState::kSnapshot);
  pending_snapshot = index;
  next = index + 1;
  sent_commit = index;
}

void Progress::SentEntries(size_t count, uint64_t bytes) {
  if (state == ProgressState::kReplicate) {
    if (count > 0) {
      next += count;
      inflights.Add(next - 1, bytes);
    }
    paused = inflights.full();
  } else if (state == ProgressState::kProbe && count > 0) {
    paused = true;
  }
}

bool Progress::MaybeUpdate(uint64_t index) {
  if (index <= match) return false;
  match = index;
  next = std::max(next, index + 1);
  paused = false;
  return true;
}

bool Progress::MaybeDecrease(uint64_t rejected, uint64_t match_hint) {
  if (state == ProgressState::kReplicate) {
    if (rejected <= match) return false;
    next = match + 1;
    sent_commit = std::min(sent_commit, next - 1);
    return true;
  }
  if (next - 1 != rejected) return false;
  next = std::max(std::min(rejected, match_hint + 1), match + 1);
  sent_commit = std::min(sent_commit, next - 1);
  paused = false;
  return true;
}

bool Progress::IsPaused() const { return state == ProgressState::kSnapshot || paused; }

std::string Progress::ToString() const {
  static constexpr std::string_view kNames[] = {"StateProbe", "StateReplicate", "StateSnapshot"};
  std::string out(kNames[static_cast<size_t>(state)]);
  out += " match=" + std::to_string(match) + " next=" + std::to_string(next);
  if (learner) out += " learner";
  if (IsPaused()) out += " paused";
  if (pending_snapshot > 0) out += " pendingSnap=" + std::to_string(pending_snapshot);
  if (!recent_active) out += " inactive";
  if (size_t n = inflights.count(); n > 0) {
    out += " inflight=" + std::to_string(n);
    if (inflights.full()) out += "[full]";
  }
  return out;
}

}  // namespace kvstore::raft
