// Leases: the fields of coordinated leader election, which is off in 1.36, are kept only where they were before.
#include "apiserver/registry/registry.h"

namespace apiserver::registry {

using machinery::schema::Kind;

namespace {

class LeaseStrategy final : public Strategy {
 public:
  using Strategy::Strategy;
  void PrepareForCreate(const Operation& op, Value& lease) const override {
    Strategy::PrepareForCreate(op, lease);
    DropNew(lease, Value());
  }
  void PrepareForUpdate(const Operation& op, Value& lease, const Value& old) const override {
    Strategy::PrepareForUpdate(op, lease, old);
    DropNew(lease, old);
  }

 private:
  static void DropNew(Value& lease, const Value& old) {
    if (!lease.At("spec").is_map()) return;
    for (std::string_view field : {"strategy", "preferredHolder"})
      if (old.At("spec", field).is_null()) lease.Ensure("spec").Remove(field);
  }
};

}  // namespace

std::unique_ptr<Strategy> NewLeaseStrategy(const Kind& kind) { return std::make_unique<LeaseStrategy>(kind); }

}  // namespace apiserver::registry
