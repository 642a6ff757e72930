#include "apiserver/registry/core/service_ips.h"

#include <algorithm>
#include <map>
#include <set>

#include "apiserver/registry/registry.h"
#include "base/log.h"
#include "machinery/object/meta.h"
#include "machinery/object/time.h"

namespace apiserver::registry {

namespace object = machinery::object;
using machinery::value::List;
using machinery::value::Map;
using object::Cidr;
using object::Ip;

namespace {

constexpr std::string_view kGroup = "networking.k8s.io";
constexpr std::string_view kManagedBy = "ipaddress.kubernetes.io/managed-by";
constexpr std::string_view kManager = "ipallocator.k8s.io";
constexpr auto kRepairInterval = std::chrono::minutes(10);
// An address may be younger than its Service: it is created first.
constexpr int64_t kGraceSeconds = 60;
constexpr uint64_t kMaxTries = 4096;  // of addresses found taken by others, before giving up

std::string FamilyOf(const Ip& ip) { return ip.v4 ? "IPv4" : "IPv6"; }

// How many of the lowest addresses dynamic allocation leaves to static ones: between 16 and 256, a sixteenth of the
// range in between (KEP-3070).
uint64_t StaticBand(uint64_t size) {
  constexpr uint64_t kLeast = 16, kMost = 256, kShare = 16;
  if (size < kLeast) return 0;
  return std::min(kMost, std::max(kLeast, size / kShare));
}

// The name of the address's object. Two texts of one address (IPv6 has many) are one address.
std::string Canonical(const std::string& address) {
  auto ip = object::ParseIp(address);
  return ip ? ip->ToString() : address;
}

}  // namespace

Ip AddressAt(const Cidr& network, uint64_t n) {
  Ip ip = network.Masked();
  for (int i = 15; i >= 0 && n > 0; --i) {
    n += ip.bytes[i];
    ip.bytes[i] = static_cast<uint8_t>(n);
    n >>= 8;
  }
  return ip;
}

uint64_t UsableAddresses(const Cidr& network) {
  int host_bits = (network.address.v4 ? 32 : 128) - network.prefix;
  uint64_t all = host_bits >= 32 ? uint64_t{1} << 32 : uint64_t{1} << host_bits;
  uint64_t reserved = network.address.v4 ? 2 : 1;
  return all > reserved ? all - reserved : 0;
}

ServiceIps::ServiceIps(Registry& registry, std::vector<Cidr> ranges)
    : registry_(registry),
      configured_(std::move(ranges)),
      background_(registry.executor(), base::Context()),
      released_(registry.executor()) {}
ServiceIps::~ServiceIps() = default;

std::vector<Cidr> ServiceIps::Ranges() const {
  std::vector<Cidr> out = configured_;
  Store* store = registry_.FindStore(kGroup, "servicecidrs");
  if (!store) return out;
  store->cache().ForEach([&](const ObjectPtr& o) {
    Value tree = o->Tree();
    if (object::IsDeleting(tree)) return true;
    for (const auto& text : object::StringsOf(tree.At("spec", "cidrs"))) {
      auto cidr = object::ParseCidr(text);
      auto same = [&](const Cidr& c) { return c.ToString() == cidr->ToString(); };
      if (cidr && std::none_of(out.begin(), out.end(), same)) out.push_back(*cidr);
    }
    return true;
  });
  return out;
}

std::string ServiceIps::default_family() const {
  return configured_.empty() ? "IPv4" : FamilyOf(configured_.front().address);
}

bool ServiceIps::HasFamily(std::string_view family) const {
  return std::any_of(configured_.begin(), configured_.end(),
                     [&](const Cidr& c) { return FamilyOf(c.address) == family; });
}

// The cache may not know yet that an address was given back; the store does.
base::Task<base::Result<bool>> ServiceIps::Taken(base::Context ctx, std::string address) {
  while (releasing_.contains(address)) CO_TRY(co_await released_.Wait(ctx));
  Store* store = registry_.FindStore(kGroup, "ipaddresses");
  if (!store || !store->Cached("", address)) co_return false;
  CO_TRY_ASSIGN(ObjectPtr fresh, co_await store->Fresh(ctx, "", address));
  co_return fresh != nullptr;
}

base::Task<base::Status> ServiceIps::CreateObject(base::Context ctx, std::string address, Owner owner) {
  Store* store = registry_.FindStore(kGroup, "ipaddresses");
  if (!store) co_return base::Unavailable("IPAddress objects are switched off");
  auto ip = object::ParseIp(address);
  Map labels{{"ipaddress.kubernetes.io/ip-family", Value(FamilyOf(*ip))}, {std::string(kManagedBy), Value(kManager)}};
  Map parent{
      {"resource", Value("services")}, {"namespace", Value(owner.namespace_name)}, {"name", Value(owner.service)}};
  Value v(Map{{"kind", Value("IPAddress")},
              {"apiVersion", Value("networking.k8s.io/v1")},
              {"metadata", Value(Map{{"name", Value(address)}, {"labels", Value(std::move(labels))}})},
              {"spec", Value(Map{{"parentRef", Value(std::move(parent))}})}});
  auto made = co_await store->CreateInternal(ctx, std::move(v));
  co_return made ? base::Ok() : made.error();
}

base::Task<base::Status> ServiceIps::Take(base::Context ctx, std::string address, Owner owner, bool dry_run) {
  auto ip = object::ParseIp(address);
  if (!ip) co_return base::InvalidArgument("the provided IP is not valid");
  address = Canonical(address);
  auto ranges = Ranges();
  auto inside = [&](const Cidr& c) {
    if (c.address.v4 != ip->v4 || !c.Contains(*ip)) return false;
    // The network's own address and IPv4's broadcast belong to nobody.
    bool last = ip->v4 && c.prefix < 31 && *ip == AddressAt(c, UsableAddresses(c) + 1);
    return !(*ip == c.Masked()) && !last;
  };
  if (std::none_of(ranges.begin(), ranges.end(), inside))
    co_return base::OutOfRange("the provided network does not match the current range");
  CO_TRY_ASSIGN(bool taken, co_await Taken(ctx, address));
  if (taken) co_return base::AlreadyExists("provided IP is already allocated");
  if (dry_run) co_return base::Ok();
  auto s = co_await CreateObject(ctx, address, std::move(owner));
  if (object::IsAlreadyExists(s)) co_return base::AlreadyExists("provided IP is already allocated");
  co_return s;
}

base::Task<base::Result<std::string>> ServiceIps::TakeAny(base::Context ctx, std::string family, Owner owner,
                                                          bool dry_run) {
  bool known = false;
  Store* ips = registry_.FindStore(kGroup, "ipaddresses");
  for (const Cidr& range : Ranges()) {
    if (FamilyOf(range.address) != family) continue;
    known = true;
    uint64_t size = UsableAddresses(range), band = StaticBand(size);
    // Upper part first, then the static band; each from a random place on, once around.
    struct Part {
      uint64_t first, count;
    };
    uint64_t tries = 0;
    for (Part part : {Part{1 + band, size - band}, Part{1, band}}) {
      if (part.count == 0) continue;
      uint64_t start = registry_.random().Below(part.count);
      for (uint64_t i = 0; i < part.count; ++i) {
        std::string address = AddressAt(range, part.first + (start + i) % part.count).ToString();
        if (ips && ips->Cached("", address)) continue;
        if (dry_run) co_return address;
        auto s = co_await CreateObject(ctx, address, owner);
        if (s.ok()) co_return address;
        // Taken by another server, and the cache does not know yet.
        if (!object::IsAlreadyExists(s) || ++tries > kMaxTries) co_return base::Err(s);
      }
    }
  }
  if (!known) co_return base::Err(base::FailedPrecondition("no ServiceCIDR of family " + family));
  co_return base::Err(base::ResourceExhausted(std::string(kFull)));
}

base::Task<void> ServiceIps::Release(base::Context ctx, std::vector<std::string> addresses, Owner owner) {
  Store* store = registry_.FindStore(kGroup, "ipaddresses");
  if (!store) co_return;
  for (const auto& text : addresses) {
    const std::string address = Canonical(text);
    auto found = store->Cached("", address);
    if (!found) {
      auto fresh = co_await store->Fresh(ctx, "", address);
      if (!fresh || !*fresh) continue;
      found = *fresh;
    }
    Value tree = found->Tree();
    const Value& parent = tree.At("spec", "parentRef");
    if (parent.At("namespace").string_or() != owner.namespace_name || parent.At("name").string_or() != owner.service)
      continue;
    auto s = co_await store->DeleteInternal(ctx, "", address, std::string(object::UidOf(tree)));
    if (!s.ok() && !object::IsNotFound(s) && !object::IsConflict(s))
      base::LogWarning("a service address could not be released", {{"ip", address}, {"error", s.ToString()}});
  }
}

void ServiceIps::ReleaseLater(std::vector<std::string> addresses, Owner owner) {
  if (addresses.empty()) return;
  std::transform(addresses.begin(), addresses.end(), addresses.begin(), Canonical);
  releasing_.insert(addresses.begin(), addresses.end());
  background_.Spawn(ReleaseInTurn(std::move(addresses), std::move(owner)));
}

base::Task<void> ServiceIps::ReleaseInTurn(std::vector<std::string> addresses, Owner owner) {
  co_await Release(background_.context(), addresses, std::move(owner));
  for (const auto& address : addresses) releasing_.erase(releasing_.find(address));
  released_.NotifyAll();
}

base::Task<base::Status> ServiceIps::Repair(base::Context ctx) {
  Store* services = registry_.FindStore("", "services");
  Store* store = registry_.FindStore(kGroup, "ipaddresses");
  if (!services || !store) co_return base::Ok();
  std::map<std::string, Owner> used;
  services->cache().ForEach([&](const ObjectPtr& o) {
    for (const auto& ip : object::StringsOf(o->Tree().At("spec", "clusterIPs")))
      if (ip != "None") used[Canonical(ip)] = {std::string(o->namespace_name()), std::string(o->name())};
    return true;
  });
  int64_t now = std::chrono::floor<std::chrono::seconds>(registry_.executor().WallNow()).time_since_epoch().count();
  std::vector<std::pair<std::string, std::string>> leaked;
  store->cache().ForEach([&](const ObjectPtr& o) {
    Value tree = o->Tree();
    if (object::LabelOf(tree, kManagedBy) != kManager) return true;
    auto owner = used.find(std::string(o->name()));
    const Value& parent = tree.At("spec", "parentRef");
    bool good = owner != used.end() && parent.At("namespace").string_or() == owner->second.namespace_name &&
                parent.At("name").string_or() == owner->second.service;
    if (owner != used.end() && good) {
      used.erase(owner);
      return true;
    }
    auto made = object::ParseTime(object::CreationTimestampOf(tree));
    if (made && made->seconds + kGraceSeconds < now) leaked.emplace_back(o->name(), object::UidOf(tree));
    return true;
  });
  for (const auto& [address, uid] : leaked) {
    base::LogWarning("releasing a service address that no Service uses", {{"ip", address}});
    (void)co_await store->DeleteInternal(ctx, "", address, uid);
  }
  for (const auto& [address, owner] : used) {
    auto s = co_await CreateObject(ctx, address, owner);
    if (!s.ok() && !object::IsAlreadyExists(s)) co_return s;
  }
  co_return base::Ok();
}

base::Task<void> ServiceIps::Run(base::Context ctx) {
  while (!ctx.done()) {
    auto s = co_await Repair(ctx);
    if (!s.ok() && !ctx.done()) base::LogWarning("service addresses could not be repaired", {{"error", s.ToString()}});
    if (!(co_await base::Sleep(registry_.executor(), ctx, kRepairInterval)).ok()) break;
  }
  co_await background_.CancelAndJoin();
}

}  // namespace apiserver::registry
