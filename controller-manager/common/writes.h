// Remembers what a controller wrote, so that it does not decide on a copy from before: after creating or deleting
// children of a key, it waits until its informer has caught up with those writes. Resource versions of one server are
// ordered numbers (KEP-5504). One strand.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

namespace controller_manager {

uint64_t RevisionOf(const std::string& resource_version);  // 0 when it is no number

class Writes {
 public:
  void Created(const std::string& key, const std::string& resource_version);
  // The child counts as gone from now on.
  void Deleted(const std::string& key, const std::string& uid) { of_[key].deleted.insert(uid); }
  bool IsDeleted(const std::string& key, const std::string& uid) const;
  // The copy shows the child as deleted or not at all: no need to remember.
  void Settle(const std::string& key, const std::string& uid);
  std::set<std::string> Deletions(const std::string& key) const;
  // Whether a copy at this resource version has seen all creations of the key.
  bool SeenBy(const std::string& key, const std::string& resource_version) const;
  void Forget(const std::string& key) { of_.erase(key); }

 private:
  struct Of {
    uint64_t revision = 0;
    std::set<std::string> deleted;
  };
  std::map<std::string, Of> of_;
};

}  // namespace controller_manager
