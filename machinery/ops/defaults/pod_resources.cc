// Requests and limits of a whole pod (KEP-2837): where a pod states some for all its containers together, the rest
// follows from them and from its containers.
#include <string>

#include "machinery/object/quantity.h"
#include "machinery/ops/defaults/table.h"

namespace machinery::ops::defaults {
namespace {

using object::Quantity;
using value::Map;
using value::Value;

bool IsHugePages(std::string_view resource) { return resource.starts_with("hugepages-"); }
bool IsOvercommitted(std::string_view resource) { return resource == "cpu" || resource == "memory"; }
bool IsPodLevel(std::string_view resource) { return IsOvercommitted(resource) || IsHugePages(resource); }

Quantity AmountOf(const Value& v) {
  auto q = Quantity::Parse(v.string_or("0"));
  return q ? *q : Quantity();
}

// Ordered by first appearance; few entries.
class Amounts {
 public:
  void Add(const Value& more) {
    ForEntries(more, [&](const std::string& name, const Quantity& q) { At(name) += q; });
  }
  void Add(const Amounts& more) {
    for (const auto& [name, q] : entries_of(more)) At(name) += q;
  }
  void Max(const Amounts& other) {
    for (const auto& [name, q] : entries_of(other))
      if (Quantity& mine = At(name); mine < q) mine = q;
  }
  const std::vector<std::pair<std::string, Quantity>>& entries() const { return entries_; }

 private:
  static const std::vector<std::pair<std::string, Quantity>>& entries_of(const Amounts& a) { return a.entries_; }
  template <class F>
  static void ForEntries(const Value& v, F f) {
    if (!v.is_map()) return;
    for (const auto& e : v.map()) f(e.key, AmountOf(e.value));
  }
  Quantity& At(const std::string& name) {
    for (auto& [known, q] : entries_)
      if (known == name) return q;
    return entries_.emplace_back(name, Quantity()).second;
  }
  std::vector<std::pair<std::string, Quantity>> entries_;
};

// What all containers of a pod need together: those that run side by side, or more while an init container runs.
Amounts OfContainers(const Value& spec, std::string_view which) {
  Amounts total, sidecars, starting;
  if (spec.At("containers").is_list())
    for (const Value& c : spec.At("containers").list()) total.Add(c.At("resources", which));
  if (spec.At("initContainers").is_list()) {
    for (const Value& c : spec.At("initContainers").list()) {
      const Value& own = c.At("resources", which);
      if (c.At("restartPolicy").string_or() == "Always") {
        total.Add(own);
        sidecars.Add(own);
        starting.Max(sidecars);
      } else {
        Amounts here = sidecars;
        here.Add(own);
        starting.Max(here);
      }
    }
  }
  total.Max(starting);
  return total;
}

}  // namespace

void PodLevelResources(Value& spec) {
  const Value& resources = spec.At("resources");
  if (!resources.is_map()) return;
  bool limited = !NoEntries(resources, "limits");
  if (!limited && NoEntries(resources, "requests")) return;
  Value limits = limited ? resources.At("limits") : Value(Map{});
  for (const auto& [name, q] : OfContainers(spec, "limits").entries())
    if (IsHugePages(name) && resources.At("requests", name).is_null()) SetIfAbsent(limits, name, q.ToString());
  if (!limits.map().empty()) spec.Ensure("resources").Set("limits", limits);
  if (limits.map().empty()) return;
  const Value& given = spec.At("resources", "requests");
  Value requests = given.is_map() ? given : Value(Map{});
  for (const auto& [name, q] : OfContainers(spec, "requests").entries())
    if (IsOvercommitted(name)) SetIfAbsent(requests, name, q.ToString());
  for (const auto& e : limits.map())
    if (IsPodLevel(e.key)) SetIfAbsent(requests, e.key, e.value);
  if (!requests.map().empty()) spec.Ensure("resources").Set("requests", std::move(requests));
}

}  // namespace machinery::ops::defaults
