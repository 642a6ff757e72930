#include "controller-manager/common/writes.h"

#include <algorithm>
#include <charconv>

namespace controller_manager {
namespace {

constexpr base::Duration kTimeout = std::chrono::minutes(5);

}  // namespace

uint64_t RevisionOf(const std::string& text) {
  uint64_t out = 0;
  std::from_chars(text.data(), text.data() + text.size(), out);
  return out;
}

bool Writes::Expired(base::MonoTime since) const { return executor_.Now() - since > kTimeout; }

void Writes::Created(const std::string& key, const std::string& resource_version) {
  auto& of = of_[key];
  of.revision = std::max(of.revision, RevisionOf(resource_version));
  of.since = executor_.Now();
}

bool Writes::IsDeleted(const std::string& key, const std::string& uid) const {
  auto it = of_.find(key);
  if (it == of_.end()) return false;
  auto child = it->second.deleted.find(uid);
  return child != it->second.deleted.end() && !Expired(child->second);
}

void Writes::Settle(const std::string& key, const std::string& uid) {
  auto it = of_.find(key);
  if (it != of_.end()) it->second.deleted.erase(uid);
}

std::set<std::string> Writes::Deletions(const std::string& key) const {
  std::set<std::string> out;
  if (auto it = of_.find(key); it != of_.end())
    for (const auto& [uid, when] : it->second.deleted) out.insert(uid);
  return out;
}

bool Writes::SeenBy(const std::string& key, const std::string& resource_version) {
  uint64_t seen = RevisionOf(resource_version);
  if (seen < highest_) of_.clear();
  highest_ = seen;
  auto it = of_.find(key);
  if (it == of_.end()) return true;
  if (seen < it->second.revision && !Expired(it->second.since)) return false;
  it->second.revision = 0;
  return true;
}

}  // namespace controller_manager
