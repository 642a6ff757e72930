// When the loop may start writes to the log itself, and when it has a thread do them. Started writes end by way of the
// kernel's workers, which on a busy machine wait their turn behind whatever computes, where a thread that wakes up goes
// first. So they are only used while they are quick, but for one now and then; where the thread is as slow, it is the
// disk, and they are used again. Pure; belongs to the replica's loop.
#pragma once

#include <algorithm>
#include <chrono>

#include "base/executor.h"

namespace kvstore::replica {

class StartPolicy {
 public:
  static constexpr base::Duration kSlow = std::chrono::milliseconds(2);
  static constexpr base::Duration kShortestPause = std::chrono::seconds(1);
  static constexpr base::Duration kLongestPause = std::chrono::seconds(60);

  bool Allows(base::MonoTime now) const { return now >= not_before_; }
  // How long a write took that was started here, or that the thread did.
  void StartedTook(base::MonoTime now, base::Duration took) {
    if (took <= kSlow && ++quick_ >= kQuickAgain) pause_ = base::Duration::zero();
    if (!started_.Add(took)) return;
    quick_ = 0;
    pause_ = std::clamp<base::Duration>(2 * pause_, kShortestPause, kLongestPause);
    not_before_ = now + pause_;
  }
  void ThreadTook(base::MonoTime now, base::Duration took) {
    if (Allows(now) || !thread_.Add(took)) return;
    pause_ = base::Duration::zero();
    not_before_ = now;
  }

 private:
  static constexpr int kQuickAgain = 10000;  // then the next pause is short again

  class Slowness {
   public:
    // True: too many were slow, and it begins anew.
    bool Add(base::Duration took) {
      level_ = took <= kSlow ? std::max(level_ - 1, 0) : level_ + kWeight;
      if (level_ < kTooSlow) return false;
      level_ = 0;
      return true;
    }

   private:
    // A slow one weighs as much as so many quick ones.
    static constexpr int kWeight = 16, kTooSlow = 3 * kWeight;
    int level_ = 0;
  };

  base::MonoTime not_before_{};
  base::Duration pause_{};
  int quick_ = 0;
  Slowness started_, thread_;
};

}  // namespace kvstore::replica
