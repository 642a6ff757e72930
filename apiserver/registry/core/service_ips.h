// Cluster IPs of Services, one IPAddress object each (networking.k8s.io/v1), within the ServiceCIDRs. The object's
// creation is the allocation: its name is the address, so two servers on one store cannot give it out twice.
//
// A Service that could not be written gives its addresses back; what a crash leaves behind is found by Repair:
// addresses whose Service does not use them are deleted after a grace period, addresses in use without an object get
// one.
//
// Owned by the Server, on its loop.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "apiserver/registry/strategy.h"
#include "base/sync.h"
#include "machinery/object/names.h"

namespace apiserver::registry {

// The n-th address of a network, counted from its first (which is the network's own).
machinery::object::Ip AddressAt(const machinery::object::Cidr& network, uint64_t n);
// How many addresses may be given out: without the network's own, without IPv4's broadcast; at most 2^32.
uint64_t UsableAddresses(const machinery::object::Cidr& network);

class ServiceIps {
 public:
  // `ranges`: --service-cluster-ip-range; they count even before their ServiceCIDR object is in the cache.
  ServiceIps(Registry& registry, std::vector<machinery::object::Cidr> ranges);
  ~ServiceIps();

  static constexpr std::string_view kFull = "range is full";

  // "IPv4" or "IPv6": of the primary range.
  std::string default_family() const;
  bool HasFamily(std::string_view family) const;

  struct Owner {
    std::string namespace_name, service;
  };
  // A given address. Errors carry the original's reason: "provided IP is already allocated", "the provided network does
  // not match the current range". With `dry_run` nothing is created.
  base::Task<base::Status> Take(base::Context ctx, std::string address, Owner owner, bool dry_run);
  // Any address of the family: random, from the upper part of the range first, so that low addresses stay for those
  // who ask for them. kFull when there is none.
  base::Task<base::Result<std::string>> TakeAny(base::Context ctx, std::string family, Owner owner, bool dry_run);
  // Gives back what `owner` holds; addresses of others are left alone.
  base::Task<void> Release(base::Context ctx, std::vector<std::string> addresses, Owner owner);
  // Release in the background.
  void ReleaseLater(std::vector<std::string> addresses, Owner owner);

  base::Task<base::Status> Repair(base::Context ctx);
  // Repairs at once and then every ten minutes, until the context ends.
  base::Task<void> Run(base::Context ctx);

 private:
  std::vector<machinery::object::Cidr> Ranges() const;
  base::Task<base::Status> CreateObject(base::Context ctx, std::string address, Owner owner);
  base::Task<base::Result<bool>> Taken(base::Context ctx, std::string address);
  base::Task<void> ReleaseInTurn(std::vector<std::string> addresses, Owner owner);

  Registry& registry_;
  std::vector<machinery::object::Cidr> configured_;
  base::TaskScope background_;
  // Being given back in the background: whoever wants one of them waits for that.
  std::multiset<std::string> releasing_;
  base::Event released_;
};

}  // namespace apiserver::registry
