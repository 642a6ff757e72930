#include "kvstore/mvcc/leases.h"

#include <algorithm>

#include "kvstore/mvcc/errors.h"

namespace kvstore::mvcc {

using base::Err;
using base::Result;

void Leases::SetExpiry(Lease& l, base::MonoTime at) {
  by_expiry_.erase({l.expiry, l.id});
  l.expiry = at;
  by_expiry_.insert({at, l.id});
}

Result<const Lease*> Leases::Grant(int64_t id, int64_t ttl, base::MonoTime now) {
  if (id == 0) return Err(ErrLeaseNotFound());
  if (ttl > kMaxLeaseTtl) return Err(ErrLeaseTtlTooLarge());
  if (leases_.contains(id)) return Err(ErrLeaseExist());
  Lease& l = leases_[id];
  l.id = id;
  l.ttl = std::max(ttl, min_ttl_);
  SetExpiry(l, now + std::chrono::seconds(l.ttl));
  return &l;
}

void Leases::Restore(int64_t id, int64_t ttl, int64_t remaining) {
  Lease& l = leases_[id];
  l.id = id;
  // Of a database that may be anybody's: times are added to these.
  l.ttl = std::clamp<int64_t>(ttl, 0, kMaxLeaseTtl);
  l.remaining = std::clamp<int64_t>(remaining, 0, kMaxLeaseTtl);
  SetExpiry(l, base::MonoTime::max());
}

Result<std::vector<std::string>> Leases::Revoke(int64_t id) {
  auto it = leases_.find(id);
  if (it == leases_.end()) return Err(ErrLeaseNotFound());
  std::vector<std::string> keys(it->second.keys.begin(), it->second.keys.end());
  for (const std::string& k : keys) of_key_.erase(k);
  by_expiry_.erase({it->second.expiry, id});
  leases_.erase(it);
  return keys;
}

Result<int64_t> Leases::Renew(int64_t id, base::MonoTime now) {
  auto it = leases_.find(id);
  if (it == leases_.end() || it->second.ending) return Err(ErrLeaseNotFound());
  it->second.remaining = 0;
  SetExpiry(it->second, now + std::chrono::seconds(it->second.ttl));
  return it->second.ttl;
}

const Lease* Leases::Find(int64_t id) const {
  auto it = leases_.find(id);
  return it == leases_.end() ? nullptr : &it->second;
}

void Leases::Checkpoint(int64_t id, int64_t remaining) {
  auto it = leases_.find(id);
  if (it != leases_.end()) it->second.remaining = std::clamp<int64_t>(remaining, 0, kMaxLeaseTtl);
}

void Leases::Attach(int64_t id, std::string_view key) {
  auto it = leases_.find(id);
  if (it == leases_.end()) return;
  it->second.keys.emplace(key);
  of_key_[std::string(key)] = id;
}

void Leases::Detach(int64_t id, std::string_view key) {
  auto it = leases_.find(id);
  if (it != leases_.end()) {
    auto k = it->second.keys.find(key);
    if (k != it->second.keys.end()) it->second.keys.erase(k);
  }
  auto k = of_key_.find(key);
  if (k != of_key_.end()) of_key_.erase(k);
}

int64_t Leases::LeaseOf(std::string_view key) const {
  if (of_key_.empty()) return 0;
  auto it = of_key_.find(key);
  return it == of_key_.end() ? 0 : it->second;
}

void Leases::ExtendAll(base::MonoTime now) {
  for (auto& [id, l] : leases_) {
    l.ending = false;
    SetExpiry(l, now + std::chrono::seconds(l.remaining > 0 ? l.remaining : l.ttl));
  }
}

std::vector<int64_t> Leases::Expired(base::MonoTime now, size_t limit) const {
  std::vector<int64_t> out;
  for (const auto& [at, id] : by_expiry_) {
    if (at > now || out.size() == limit) break;
    out.push_back(id);
  }
  return out;
}

void Leases::Defer(int64_t id, base::MonoTime until) {
  auto it = leases_.find(id);
  if (it == leases_.end()) return;
  it->second.ending = true;
  SetExpiry(it->second, until);
}

}  // namespace kvstore::mvcc
