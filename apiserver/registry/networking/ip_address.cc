// An IPAddress is named by its address, which is no DNS name for IPv6.
#include "apiserver/registry/registry.h"

namespace apiserver::registry {

namespace object = machinery::object;
using machinery::schema::Kind;

namespace {

object::Reasons NameIsAddress(std::string_view name, bool) {
  auto ip = object::ParseIp(name);
  if (!ip) return {"must be a valid IP address"};
  if (ip->ToString() != name) return {"must be in canonical form (\"" + ip->ToString() + "\")"};
  return {};
}

class IpAddressStrategy final : public Strategy {
 public:
  using Strategy::Strategy;
  object::NameRule name_rule() const override { return NameIsAddress; }
};

}  // namespace

std::unique_ptr<Strategy> NewIpAddressStrategy(const Kind& kind) { return std::make_unique<IpAddressStrategy>(kind); }

}  // namespace apiserver::registry
