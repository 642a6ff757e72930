// Writes that are on the disk when they end, without a thread that waits for them: whole blocks, past the page cache,
// their end told by the loop. For logs that sync every write: a thread that sleeps in fdatasync and the hand-over to
// it and back cost more than the write.
//
// NewBlockFiles is owned by the program, outlives the files it opened and belongs to the loop's thread; Open and Write
// may be called on any thread, by one at a time. The simulator has its own (base/testing/sim_block_files.h).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"

namespace base {

class Loop;

class BlockFile {
 public:
  // Offsets, sizes and memory are in multiples of this.
  static constexpr size_t kBlock = 4096;

  virtual ~BlockFile() = default;  // nothing may be under way
  // Waits until it is written and, when `durable`, until everything that was written is on the disk. As with
  // File::Sync nothing may be assumed after a failure.
  virtual Status Write(uint64_t offset, std::string_view blocks, bool durable) = 0;
  using Done = std::move_only_function<void(Status)>;
  // Write, durably, without waiting. `blocks` must stay until `done` comes on the loop, never inside the call. False:
  // that would have to wait, call Write. kUnavailable in `done` says the same.
  virtual bool Start(uint64_t offset, std::string_view blocks, Done done) = 0;
};

class BlockFiles {
 public:
  virtual ~BlockFiles() = default;
  // An existing file whose space is allocated. An error: the file system cannot do it.
  virtual Result<std::unique_ptr<BlockFile>> Open(const std::string& path) = 0;
};

// Null: the system cannot do it.
std::unique_ptr<BlockFiles> NewBlockFiles(Loop& loop);

// Memory as BlockFile wants it.
class BlockBuffer {
 public:
  char* data() { return data_.get(); }
  size_t size() const { return size_; }
  // At least `size` bytes, of which the first `keep` stay what they are.
  void Resize(size_t size, size_t keep);

 private:
  struct Free {
    void operator()(char* p) const;
  };
  std::unique_ptr<char, Free> data_;
  size_t size_ = 0;
};

}  // namespace base
