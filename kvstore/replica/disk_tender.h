// What was written goes to the disk, and what was removed goes from it, a little at a time and with pauses: whatever is
// done at once, the log's next fsync waits for.
//
// Invariant: one step is under way at most, and behind each there is a pause; a file that was added is given back once
// nobody else reads it.
//
// Owned by the replica; its strand, but for the step under way.
#pragma once

#include <functional>
#include <memory>

#include "kvstore/replica/dying_files.h"
#include "kvstore/replica/shared.h"

namespace kvstore::replica {

class DiskTender {
 public:
  explicit DiskTender(Shared& shared) : shared_(shared) {}
  DiskTender(const DiskTender&) = delete;

  // Removed, and to be given back step by step; Tend follows.
  void Add(std::shared_ptr<base::File> file) { dying_.Add(std::move(file)); }
  // The next step, if there is one and none is under way.
  void Tend();
  // After every step, and when there is none: what is not on the disk yet may have become less.
  std::function<void()> on_tended;

 private:
  struct Step;
  void Ended(Step& step);

  Shared& shared_;
  DyingFiles dying_;
  bool tending_ = false;
};

}  // namespace kvstore::replica
