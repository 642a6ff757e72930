// Remembers what a controller wrote, so that it does not decide on a copy from before: after creating or deleting
// children of a key, it waits until its informer has caught up with those writes. Resource versions of one server are
// ordered numbers (KEP-5504). Nothing is waited for longer than five minutes (the original's ExpectationsTimeout), nor
// once the server's revisions have gone back (a restored backup): then what was written never happened. One strand.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "base/executor.h"

namespace controller_manager {

uint64_t RevisionOf(const std::string& resource_version);  // 0 when it is no number

class Writes {
 public:
  explicit Writes(base::Executor& executor) : executor_(executor) {}

  void Created(const std::string& key, const std::string& resource_version);
  // The child counts as gone from now on.
  void Deleted(const std::string& key, const std::string& uid) { of_[key].deleted[uid] = executor_.Now(); }
  bool IsDeleted(const std::string& key, const std::string& uid) const;
  // The copy shows the child as deleted or not at all: no need to remember.
  void Settle(const std::string& key, const std::string& uid);
  std::set<std::string> Deletions(const std::string& key) const;
  // Whether a copy at this resource version has seen all creations of the key. All calls are about one informer's copy.
  bool SeenBy(const std::string& key, const std::string& resource_version);
  void Forget(const std::string& key) { of_.erase(key); }

 private:
  struct Of {
    uint64_t revision = 0;
    base::MonoTime since{};                         // of the last creation
    std::map<std::string, base::MonoTime> deleted;  // uid -> when
  };
  bool Expired(base::MonoTime since) const;

  base::Executor& executor_;
  std::map<std::string, Of> of_;
  uint64_t highest_ = 0;  // of the copy
};

}  // namespace controller_manager
