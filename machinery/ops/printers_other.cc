#include <algorithm>

#include "base/strings.h"
#include "machinery/object/go_text.h"
#include "machinery/object/meta.h"
#include "machinery/ops/printers.h"
#include "machinery/ops/table.h"

namespace machinery::ops::printers {
namespace {

using value::Value;

std::string Text(const Value& v) { return std::string(v.string_or()); }

template <class F>
void ForEach(const Value& list, F f) {
  if (!list.is_list()) return;
  for (const Value& v : list.list()) f(v);
}

Value Subjects(const Value& o, std::string_view kind) {
  std::vector<std::string> out;
  ForEach(o.At("subjects"), [&](const Value& s) {
    if (s.At("kind").string_or() != kind) return;
    std::string name = Text(s.At("name"));
    out.push_back(kind == "ServiceAccount" ? Text(s.At("namespace")) + "/" + name : name);
  });
  return Value(base::Join(out, ", "));
}

// fmt's %v of a LabelSelector as the original's generated String method prints it.
std::string SelectorGoText(const Value& s) {
  std::string labels = "map[string]string{", expressions = "[]LabelSelectorRequirement{";
  std::vector<std::pair<std::string, std::string>> sorted;
  if (s.At("matchLabels").is_map())
    for (const auto& e : s.At("matchLabels").map()) sorted.emplace_back(e.key, Text(e.value));
  std::sort(sorted.begin(), sorted.end());
  for (auto& [k, v] : sorted) labels += k + ": " + v + ",";
  ForEach(s.At("matchExpressions"), [&](const Value& e) {
    expressions += "LabelSelectorRequirement{Key:" + Text(e.At("key")) + ",Operator:" + Text(e.At("operator")) +
                   ",Values:[" + base::Join(object::StringsOf(e.At("values")), " ") + "],},";
  });
  return "&LabelSelector{MatchLabels:" + labels + "},MatchExpressions:" + expressions + "},}";
}

bool IsTrue(const Value& conditions, std::string_view type) {
  return Condition(conditions, type).At("status").string_or() == "True";
}

// A column of a pool status request that sums a count over the pools.
Value PoolSum(const Value& o, std::string_view field) {
  const Value& status = o.At("status");
  if (!status.is_map() || (!IsTrue(status.At("conditions"), "Complete") && IsTrue(status.At("conditions"), "Failed")))
    return Value("-");
  int64_t sum = 0;
  ForEach(status.At("pools"), [&](const Value& pool) {
    sum += field == "validationError" ? !pool.At(field).is_null() : pool.At(field).int_or();
  });
  return Value(std::to_string(sum));
}

}  // namespace

Value RoleRef(const Value& o, base::WallTime) {
  return Value(Text(o.At("roleRef", "kind")) + "/" + Text(o.At("roleRef", "name")));
}
Value RoleBindingUsers(const Value& o, base::WallTime) { return Subjects(o, "User"); }
Value RoleBindingGroups(const Value& o, base::WallTime) { return Subjects(o, "Group"); }
Value RoleBindingServiceAccounts(const Value& o, base::WallTime) { return Subjects(o, "ServiceAccount"); }

Value ApiServiceService(const Value& o, base::WallTime) {
  const Value& service = o.At("spec", "service");
  if (!service.is_map()) return Value("Local");
  return Value(Text(service.At("namespace")) + "/" + Text(service.At("name")));
}

Value ApiServiceAvailable(const Value& o, base::WallTime) {
  const Value& c = Condition(o.At("status", "conditions"), "Available");
  if (!c.is_map()) return Value("Unknown");
  std::string status = Text(c.At("status")), reason = Text(c.At("reason"));
  return Value(status != "True" && !reason.empty() ? status + " (" + reason + ")" : status);
}

Value AdmissionParamKind(const Value& o, base::WallTime) {
  const Value& kind = o.At("spec", "paramKind");
  if (!kind.is_map()) return Value("<unset>");
  return Value(Text(kind.At("apiVersion")) + "/" + Text(kind.At("kind")));
}

Value AdmissionParamRef(const Value& o, base::WallTime) {
  const Value& ref = o.At("spec", "paramRef");
  if (!ref.is_map()) return Value("<unset>");
  std::string name = Text(ref.At("name")), ns = Text(ref.At("namespace"));
  if (!name.empty()) return Value((ns.empty() ? "*" : ns) + "/" + name);
  return Value(ref.At("selector").is_map() ? SelectorGoText(ref.At("selector")) : "<unset>");
}

Value CsrCondition(const Value& o, base::WallTime) {
  const Value& conditions = o.At("status", "conditions");
  std::string text = Condition(conditions, "Denied").is_map()     ? "Denied"
                     : Condition(conditions, "Approved").is_map() ? "Approved"
                                                                  : "Pending";
  if (Condition(conditions, "Failed").is_map()) text += ",Failed";
  if (!o.At("status", "certificate").string_or().empty()) text += ",Issued";
  return Value(std::move(text));
}

Value CsrRequestedDuration(const Value& o, base::WallTime) {
  const Value& seconds = o.At("spec", "expirationSeconds");
  return Value(seconds.is_int() ? HumanDuration(std::chrono::seconds(seconds.as_int())) : "<none>");
}

Value FlowSchemaMissingPl(const Value& o, base::WallTime) {
  return Value(Condition(o.At("status", "conditions"), "Dangling").At("status").string_or("?"));
}

Value StorageVersions(const Value& o, base::WallTime) {
  std::vector<std::string> out;
  ForEach(o.At("status", "storageVersions"),
          [&](const Value& v) { out.push_back(Text(v.At("apiServerID")) + "=" + Text(v.At("encodingVersion"))); });
  return Value(out.empty() ? "<unset>" : ListWithMore(out, 3));
}

Value StorageMigrationResource(const Value& o, base::WallTime) {
  std::string group = Text(o.At("spec", "resource", "group"));
  return Value(Text(o.At("spec", "resource", "resource")) + (group.empty() ? "" : "." + group));
}

Value StorageMigrationStatus(const Value& o, base::WallTime) {
  std::string text = "Unknown";
  ForEach(o.At("status", "conditions"), [&](const Value& c) {
    std::string_view type = c.At("type").string_or();
    bool known = type == "Running" || type == "Failed" || type == "Succeeded";
    if (known && c.At("status").string_or() == "True") text = type;
  });
  return Value(std::move(text));
}

Value ResourceClaimState(const Value& o, base::WallTime) {
  std::vector<std::string> states;
  if (object::IsDeleting(o)) states.push_back("deleted");
  if (o.At("status", "allocation").is_null()) {
    if (states.empty()) states.push_back("pending");
  } else {
    states.push_back("allocated");
    const Value& reserved = o.At("status", "reservedFor");
    if (reserved.is_list() && !reserved.list().empty()) states.push_back("reserved");
  }
  return Value(base::Join(states, ","));
}

Value DeviceTaintTimeAdded(const Value& o, base::WallTime now) {
  std::string_view added = o.At("spec", "taint", "timeAdded").string_or();
  return Value(added.empty() ? "" : Age(added, now));
}

Value PoolTotal(const Value& o, base::WallTime) { return PoolSum(o, "totalDevices"); }
Value PoolAvailable(const Value& o, base::WallTime) { return PoolSum(o, "availableDevices"); }
Value PoolAllocated(const Value& o, base::WallTime) { return PoolSum(o, "allocatedDevices"); }
Value PoolUnavailable(const Value& o, base::WallTime) { return PoolSum(o, "unavailableDevices"); }
Value PoolErrors(const Value& o, base::WallTime) { return PoolSum(o, "validationError"); }

Value PoolStatus(const Value& o, base::WallTime) {
  const Value& conditions = o.At("status", "conditions");
  if (IsTrue(conditions, "Complete")) {
    const Value& pools = o.At("status", "pools");
    int64_t shown = pools.is_list() ? static_cast<int64_t>(pools.list().size()) : 0;
    int64_t count = o.At("status", "poolCount").int_or();
    if (count <= shown) return Value("Complete");
    return Value("Complete (" + std::to_string(shown) + "/" + std::to_string(count) + " pools)");
  }
  return Value(IsTrue(conditions, "Failed") ? "Failed" : "Pending");
}

Value PoolCompleted(const Value& o, base::WallTime now) {
  const Value& c = Condition(o.At("status", "conditions"), "Complete");
  if (c.At("status").string_or() != "True") return Value("<none>");
  return Value(Age(c.At("lastTransitionTime").string_or(), now));
}

}  // namespace machinery::ops::printers
