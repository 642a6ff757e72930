// BlockFile over the simulator's disk: a write is begun at once (and may be torn by a crash), synced and told in a
// later step; the seed lets some be refused, at once or later. One strand.
#pragma once

#include "base/block_file.h"
#include "base/executor.h"
#include "base/file.h"
#include "base/random.h"

namespace base::testing {

class SimBlockFiles final : public BlockFiles {
 public:
  SimBlockFiles(Executor& executor, FileSystem& fs, Random random) : executor_(executor), fs_(fs), random_(random) {}
  Result<std::unique_ptr<BlockFile>> Open(const std::string& path) override;

  uint64_t started() const { return started_; }

 private:
  class One;
  Executor& executor_;
  FileSystem& fs_;
  Random random_;
  uint64_t started_ = 0;
};

}  // namespace base::testing
