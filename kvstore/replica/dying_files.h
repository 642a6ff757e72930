// Files whose names are gone and whose space is to come back. Freed at once, a large file keeps the file system's
// journal, and with it everybody's fsync, waiting; here they shrink step by step, once nobody reads them any more.
//
// Owned by the replica; one strand, but for the steps themselves, which a pool runs one at a time.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/file.h"

namespace kvstore::replica {

class DyingFiles {
 public:
  // Whoever else holds the file only reads it, and gives it to nobody.
  void Add(std::shared_ptr<base::File> file);
  // The next step; empty: there is nothing to do now.
  std::function<void()> Next();

 private:
  struct Shrinking {
    std::shared_ptr<base::File> file;  // null: done
    void Step();
  };
  std::vector<std::shared_ptr<base::File>> waiting_;
  std::shared_ptr<Shrinking> shrinking_;
};

}  // namespace kvstore::replica
