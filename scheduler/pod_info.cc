#include "scheduler/pod_info.h"

#include <algorithm>
#include <charconv>

#include "machinery/object/quantity.h"
#include "proto/k8s/core/v1/node.pb.h"
#include "proto/k8s/core/v1/pod.pb.h"

namespace scheduler {
namespace {
using k8s::io::api::core::v1::Container;

constexpr int64_t kDefaultMilliCpu = 100;
constexpr int64_t kDefaultMemory = 200 << 20;

template <class Map>
Resources FromQuantities(const Map& quantities) {
  Resources out;
  for (const auto& [name, quantity] : quantities) {
    if (name == "cpu")
      out.milli_cpu = MilliValue(quantity.string());
    else if (name == "memory")
      out.memory = WholeValue(quantity.string());
    else if (name == "ephemeral-storage")
      out.ephemeral_storage = WholeValue(quantity.string());
    else
      out.AddExtended(name, WholeValue(quantity.string()));
  }
  return out;
}

Resources RequestsOf(const Container& c, bool nonzero) {
  Resources out = FromQuantities(c.resources().requests());
  if (nonzero && !c.resources().requests().contains("cpu")) out.milli_cpu = kDefaultMilliCpu;
  if (nonzero && !c.resources().requests().contains("memory")) out.memory = kDefaultMemory;
  return out;
}

// Containers run together; an ordinary init container runs alone beside the sidecars started before it; overhead is on
// top (KEP-753, KEP-688). Pod-level requests, where given, stand for the sum.
Resources PodRequests(const Pod& pod, bool nonzero) {
  Resources sum, sidecars, highest_init;
  for (const auto& c : pod.spec().containers()) sum += RequestsOf(c, nonzero);
  for (const auto& c : pod.spec().initcontainers()) {
    Resources r = RequestsOf(c, nonzero);
    if (c.restartpolicy() == "Always") {
      sidecars += r;
      highest_init.Max(sidecars);
    } else {
      r += sidecars;
      highest_init.Max(r);
    }
  }
  sum += sidecars;
  sum.Max(highest_init);
  const auto& whole = pod.spec().resources().requests();
  if (!whole.empty()) {
    Resources r = FromQuantities(whole);
    if (whole.contains("cpu")) sum.milli_cpu = r.milli_cpu;
    if (whole.contains("memory")) sum.memory = r.memory;
  }
  sum += FromQuantities(pod.spec().overhead());
  return sum;
}
}  // namespace

int64_t MilliValue(const std::string& text) {
  auto q = machinery::object::Quantity::Parse(text);
  return q ? q->MilliValue() : 0;
}

int64_t WholeValue(const std::string& text) {
  auto q = machinery::object::Quantity::Parse(text);
  return q ? q->Value() : 0;
}

int64_t Resources::Extended(std::string_view name) const {
  for (const auto& [n, v] : extended)
    if (n == name) return v;
  return 0;
}

void Resources::AddExtended(std::string_view name, int64_t amount) {
  auto it = std::ranges::lower_bound(extended, name, {}, [](const auto& e) -> std::string_view { return e.first; });
  if (it == extended.end() || it->first != name) it = extended.insert(it, {std::string(name), 0});
  it->second += amount;
}

Resources& Resources::operator+=(const Resources& o) {
  milli_cpu += o.milli_cpu;
  memory += o.memory;
  ephemeral_storage += o.ephemeral_storage;
  for (const auto& [name, amount] : o.extended) AddExtended(name, amount);
  return *this;
}

Resources& Resources::operator-=(const Resources& o) {
  milli_cpu -= o.milli_cpu;
  memory -= o.memory;
  ephemeral_storage -= o.ephemeral_storage;
  for (const auto& [name, amount] : o.extended) AddExtended(name, -amount);
  return *this;
}

void Resources::Max(const Resources& o) {
  milli_cpu = std::max(milli_cpu, o.milli_cpu);
  memory = std::max(memory, o.memory);
  ephemeral_storage = std::max(ephemeral_storage, o.ephemeral_storage);
  for (const auto& [name, amount] : o.extended) AddExtended(name, std::max<int64_t>(amount - Extended(name), 0));
}

PodInfo::PodInfo(std::shared_ptr<const Pod> p) : pod(std::move(p)) {
  const auto& m = pod->metadata();
  key = m.namespace_() + "/" + m.name();
  uid = m.uid();
  priority = pod->spec().priority();
  requests = PodRequests(*pod, false);
  Resources nonzero = PodRequests(*pod, true);
  nonzero_milli_cpu = nonzero.milli_cpu;
  nonzero_memory = nonzero.memory;
  auto add_ports = [&](const auto& containers, bool sidecars_only) {
    for (const auto& c : containers) {
      if (sidecars_only && c.restartpolicy() != "Always") continue;
      for (const auto& p : c.ports())
        if (p.hostport() > 0)
          ports.push_back(
              {p.hostip().empty() ? "0.0.0.0" : p.hostip(), p.protocol().empty() ? "TCP" : p.protocol(), p.hostport()});
    }
  };
  add_ports(pod->spec().containers(), false);
  add_ports(pod->spec().initcontainers(), true);
}

bool Tolerates(const Toleration& toleration, const Taint& taint) {
  if (!toleration.effect().empty() && toleration.effect() != taint.effect()) return false;
  if (!toleration.key().empty() && toleration.key() != taint.key()) return false;
  const auto& op = toleration.operator_();
  if (op == "Exists") return true;
  if (op == "Lt" || op == "Gt") {
    int64_t a = 0, b = 0;
    auto number = [](const std::string& s, int64_t& out) {
      auto r = std::from_chars(s.data(), s.data() + s.size(), out);
      return r.ec == std::errc() && r.ptr == s.data() + s.size();
    };
    if (!number(taint.value(), a) || !number(toleration.value(), b)) return false;
    return op == "Lt" ? a < b : a > b;
  }
  return toleration.value() == taint.value();
}

}  // namespace scheduler
