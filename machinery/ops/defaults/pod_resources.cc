// Requests and limits of a whole pod (KEP-2837): where a pod states some for all its containers together, the rest
// follows from them and from its containers.
#include <map>
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

using Amounts = std::map<std::string, Quantity>;

void Add(Amounts& to, const Value& more) {
  if (!more.is_map()) return;
  for (const auto& e : more.map()) to[e.key] += AmountOf(e.value);
}
// What all containers of a pod need together: those that run side by side, or more while an init container runs beside
// the sidecars that were started before it.
Amounts OfContainers(const Value& spec, std::string_view which) {
  Amounts total, sidecars, starting;
  if (spec.At("containers").is_list())
    for (const Value& c : spec.At("containers").list()) Add(total, c.At("resources", which));
  if (spec.At("initContainers").is_list()) {
    for (const Value& c : spec.At("initContainers").list()) {
      const Value& own = c.At("resources", which);
      if (c.At("restartPolicy").string_or() == "Always") {
        Add(total, own);
        Add(sidecars, own);
      } else if (own.is_map()) {
        // Of what it does not ask for, the sidecars' share is in the total already.
        for (const auto& e : own.map()) {
          auto beside = sidecars.find(e.key);
          Quantity here = AmountOf(e.value);
          if (beside != sidecars.end()) here += beside->second;
          if (Quantity& most = starting[e.key]; most < here) most = here;
        }
      }
    }
  }
  for (const auto& [name, q] : starting)
    if (Quantity& mine = total[name]; mine < q) mine = q;
  return total;
}

}  // namespace

void PodLevelResources(Value& spec) {
  const Value& resources = spec.At("resources");
  if (!resources.is_map()) return;
  bool limited = !NoEntries(resources, "limits");
  if (!limited && NoEntries(resources, "requests")) return;
  Value limits = limited ? resources.At("limits") : Value(Map{});
  for (const auto& [name, q] : OfContainers(spec, "limits"))
    if (IsHugePages(name) && resources.At("requests", name).is_null()) SetIfAbsent(limits, name, q.ToString());
  if (!limits.map().empty()) spec.Ensure("resources").Set("limits", limits);
  if (limits.map().empty()) return;
  const Value& given = spec.At("resources", "requests");
  Value requests = given.is_map() ? given : Value(Map{});
  for (const auto& [name, q] : OfContainers(spec, "requests"))
    if (IsOvercommitted(name)) SetIfAbsent(requests, name, q.ToString());
  for (const auto& e : limits.map())
    if (IsPodLevel(e.key)) SetIfAbsent(requests, e.key, e.value);
  if (!requests.map().empty()) spec.Ensure("resources").Set("requests", std::move(requests));
}

}  // namespace machinery::ops::defaults
