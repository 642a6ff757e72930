// Leases: time to live, the keys that hang on each, and when one runs out. Granting, revoking and attaching are
// replicated; expiry is this member's clock and only ever leads to a proposal to revoke. Owned by the Store; one
// strand.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/executor.h"
#include "base/status.h"

namespace kvstore::mvcc {

inline constexpr int64_t kMaxLeaseTtl = 9'000'000'000;

struct Lease {
  int64_t id = 0;
  int64_t ttl = 0;        // granted, seconds
  int64_t remaining = 0;  // from a checkpoint; 0 = the full ttl
  base::MonoTime expiry{};
  bool ending = false;  // its revocation is under way: too late to renew it
  std::set<std::string, std::less<>> keys;
};

class Leases {
 public:
  explicit Leases(int64_t min_ttl) : min_ttl_(min_ttl) {}

  // The lease with its effective ttl. ErrLeaseExist, ErrLeaseTtlTooLarge.
  base::Result<const Lease*> Grant(int64_t id, int64_t ttl, base::MonoTime now);
  void Restore(int64_t id, int64_t ttl, int64_t remaining);
  // The keys that were attached, in order; the lease is gone.
  base::Result<std::vector<std::string>> Revoke(int64_t id);
  // ErrLeaseNotFound also for one that has run out.
  base::Result<int64_t> Renew(int64_t id, base::MonoTime now);
  const Lease* Find(int64_t id) const;
  bool Contains(int64_t id) const { return leases_.contains(id); }
  const std::map<int64_t, Lease>& all() const { return leases_; }
  void Checkpoint(int64_t id, int64_t remaining);

  void Attach(int64_t id, std::string_view key);
  void Detach(int64_t id, std::string_view key);
  // The lease a key hangs on, 0 = none.
  int64_t LeaseOf(std::string_view key) const;

  // A new leader gives every lease its whole time again: nobody knows how much had passed.
  void ExtendAll(base::MonoTime now);
  std::vector<int64_t> Expired(base::MonoTime now, size_t limit) const;
  // Keeps an expired lease from being reported again before `until` (its revocation is under way).
  void Defer(int64_t id, base::MonoTime until);

 private:
  void SetExpiry(Lease& l, base::MonoTime at);
  int64_t min_ttl_;
  std::map<int64_t, Lease> leases_;
  std::set<std::pair<base::MonoTime, int64_t>> by_expiry_;
  std::map<std::string, int64_t, std::less<>> of_key_;
};

}  // namespace kvstore::mvcc
