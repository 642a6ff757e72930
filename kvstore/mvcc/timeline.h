// Where the records of each revision are, in revision order, back to the last compaction: what lets a watcher that
// catches up go on from where it was, at the cost of what it reads. 16 bytes a record. Owned by the Store; one strand.
#pragma once

#include <cstdint>
#include <deque>

#include "kvstore/mvcc/segments.h"

namespace kvstore::mvcc {

class Timeline {
 public:
  struct Slot {
    int64_t main;
    uint32_t segment;
    uint32_t offset;
  };
  using Slots = std::deque<Slot>;

  // In any order, if Sort comes before everything else.
  void Add(int64_t main, const Location& at) { slots_.push_back({main, at.segment, at.offset}); }
  void Sort();
  void Moved(int64_t main, const Location& from, const Location& to);
  void Forget(int64_t main, const Location& at);
  void ForgetBefore(int64_t main);
  // Revisions from `main` on. Records of one revision stand together, in no order.
  Slots::const_iterator From(int64_t main) const;
  Slots::const_iterator end() const { return slots_.end(); }
  void Swap(Timeline& other) { slots_.swap(other.slots_); }

 private:
  Slots::iterator Find(int64_t main, const Location& at);
  Slots slots_;
};

}  // namespace kvstore::mvcc
