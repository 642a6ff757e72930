#include "controller-manager/common/writes.h"

#include <algorithm>
#include <charconv>

namespace controller_manager {

uint64_t RevisionOf(const std::string& text) {
  uint64_t out = 0;
  std::from_chars(text.data(), text.data() + text.size(), out);
  return out;
}

void Writes::Created(const std::string& key, const std::string& resource_version) {
  auto& of = of_[key];
  of.revision = std::max(of.revision, RevisionOf(resource_version));
}

bool Writes::IsDeleted(const std::string& key, const std::string& uid) const {
  auto it = of_.find(key);
  return it != of_.end() && it->second.deleted.contains(uid);
}

void Writes::Settle(const std::string& key, const std::string& uid) {
  auto it = of_.find(key);
  if (it != of_.end()) it->second.deleted.erase(uid);
}

std::set<std::string> Writes::Deletions(const std::string& key) const {
  auto it = of_.find(key);
  return it == of_.end() ? std::set<std::string>() : it->second.deleted;
}

bool Writes::SeenBy(const std::string& key, const std::string& resource_version) const {
  auto it = of_.find(key);
  return it == of_.end() || RevisionOf(resource_version) >= it->second.revision;
}

}  // namespace controller_manager
