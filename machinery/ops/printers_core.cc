#include <algorithm>
#include <set>

#include "base/strings.h"
#include "machinery/object/meta.h"
#include "machinery/ops/printers.h"
#include "machinery/ops/table.h"

namespace machinery::ops::printers {
namespace {

using value::Value;

constexpr const char* kNone = "<none>";

size_t Size(const Value& v) { return v.is_list() ? v.list().size() : v.is_map() ? v.map().size() : 0; }

std::string FirstOf(std::initializer_list<const Value*> candidates) {
  for (const Value* v : candidates)
    if (std::string_view s = v->string_or(); !s.empty()) return std::string(s);
  return "";
}

Value NodeAddress(const Value& o, std::string_view type) {
  const Value& addresses = o.At("status", "addresses");
  if (addresses.is_list())
    for (const Value& a : addresses.list())
      if (a.At("type").string_or() == type) return Value(a.At("address").string_or());
  return Value(kNone);
}

const Value& Healthy(const Value& o) { return Condition(o.At("conditions"), "Healthy"); }

// Events of both APIs: events.k8s.io renamed what core keeps.
const Value& Either(const Value& o, std::string_view core, std::string_view events) {
  const Value& v = o.At(core);
  return v.is_null() ? o.At(events) : v;
}

std::string QuotaText(const Value& o, bool limits) {
  std::vector<std::string> names;
  if (const Value& hard = o.At("status", "hard"); hard.is_map())
    for (const auto& e : hard.map())
      if (e.key.starts_with("limits.") == limits) names.push_back(e.key);
  std::sort(names.begin(), names.end());
  std::vector<std::string> parts;
  for (const std::string& name : names) {
    parts.push_back(name + ": " + std::string(o.At("status", "used", name).string_or("0")) + "/" +
                    std::string(o.At("status", "hard", name).string_or("0")));
  }
  return base::Join(parts, ", ");
}

std::string AccessModes(const Value& modes) {
  static constexpr std::pair<std::string_view, const char*> kModes[] = {
      {"ReadWriteOnce", "RWO"}, {"ReadOnlyMany", "ROX"}, {"ReadWriteMany", "RWX"}, {"ReadWriteOncePod", "RWOP"}};
  std::vector<std::string> given = object::StringsOf(modes), out;
  for (auto& [mode, text] : kModes)
    if (std::find(given.begin(), given.end(), mode) != given.end()) out.push_back(text);
  return base::Join(out, ",");
}

}  // namespace

Value NodeStatus(const Value& o, base::WallTime) {
  const Value& ready = Condition(o.At("status", "conditions"), "Ready");
  std::string text = !ready.is_map() ? "Unknown" : ready.At("status").string_or() == "True" ? "Ready" : "NotReady";
  if (o.At("spec", "unschedulable").bool_or()) text += ",SchedulingDisabled";
  return Value(std::move(text));
}

Value NodeRoles(const Value& o, base::WallTime) {
  constexpr std::string_view kPrefix = "node-role.kubernetes.io/";
  std::set<std::string> roles;
  if (const Value& labels = object::LabelsOf(o); labels.is_map()) {
    for (const auto& e : labels.map()) {
      if (e.key.starts_with(kPrefix) && e.key.size() > kPrefix.size()) roles.insert(e.key.substr(kPrefix.size()));
      if (e.key == "kubernetes.io/role" && !e.value.string_or().empty()) roles.emplace(e.value.string_or());
    }
  }
  if (roles.empty()) return Value(kNone);
  return Value(base::Join({roles.begin(), roles.end()}, ","));
}

Value NodeInternalIp(const Value& o, base::WallTime) { return NodeAddress(o, "InternalIP"); }
Value NodeExternalIp(const Value& o, base::WallTime) { return NodeAddress(o, "ExternalIP"); }

Value NodeKernelVersion(const Value& o, base::WallTime) {
  const Value& info = o.At("status", "nodeInfo");
  std::string text = FirstOf({&info.At("kernelVersion")});
  if (text.empty()) text = "<unknown>";
  if (std::string_view arch = info.At("architecture").string_or(); !arch.empty())
    text += " (" + std::string(arch) + ")";
  return Value(std::move(text));
}

Value ConfigMapData(const Value& o, base::WallTime) {
  return Value(static_cast<int64_t>(Size(o.At("data")) + Size(o.At("binaryData"))));
}

Value ComponentStatus(const Value& o, base::WallTime) {
  if (!Healthy(o).is_map()) return Value("Unknown");
  return Value(Healthy(o).At("status").string_or() == "True" ? "Healthy" : "Unhealthy");
}
Value ComponentMessage(const Value& o, base::WallTime) { return Value(Healthy(o).At("message").string_or()); }
Value ComponentError(const Value& o, base::WallTime) { return Value(Healthy(o).At("error").string_or()); }

Value EventCount(const Value& o, base::WallTime) {
  if (o.At("series").is_map()) return Value(o.At("series", "count").int_or());
  int64_t count = Either(o, "count", "deprecatedCount").int_or();
  return Value(count == 0 ? int64_t{1} : count);
}

Value EventFirstSeen(const Value& o, base::WallTime now) {
  std::string_view first = Either(o, "firstTimestamp", "deprecatedFirstTimestamp").string_or();
  return Value(Age(first.empty() ? o.At("eventTime").string_or() : first, now));
}

Value EventLastSeen(const Value& o, base::WallTime now) {
  if (o.At("series").is_map()) return Value(Age(o.At("series", "lastObservedTime").string_or(), now));
  std::string_view last = Either(o, "lastTimestamp", "deprecatedLastTimestamp").string_or();
  return last.empty() ? EventFirstSeen(o, now) : Value(Age(last, now));
}

Value EventObject(const Value& o, base::WallTime) {
  const Value& about = Either(o, "involvedObject", "regarding");
  std::string text = base::Lower(about.At("kind").string_or());
  if (std::string_view name = about.At("name").string_or(); !name.empty()) text += "/" + std::string(name);
  return Value(std::move(text));
}

Value EventSource(const Value& o, base::WallTime) {
  const Value& source = Either(o, "source", "deprecatedSource");
  std::string text = FirstOf({&source.At("component"), &o.At("reportingComponent"), &o.At("reportingController")});
  std::string instance = FirstOf({&source.At("host"), &o.At("reportingInstance")});
  return Value(instance.empty() ? text : text + ", " + instance);
}

Value ResourceQuotaRequest(const Value& o, base::WallTime) { return Value(QuotaText(o, false)); }
Value ResourceQuotaLimit(const Value& o, base::WallTime) { return Value(QuotaText(o, true)); }

Value PvAccessModes(const Value& o, base::WallTime) { return Value(AccessModes(o.At("spec", "accessModes"))); }
Value PvCapacity(const Value& o, base::WallTime) { return Value(o.At("spec", "capacity", "storage").string_or("0")); }
Value PvClaim(const Value& o, base::WallTime) {
  const Value& ref = o.At("spec", "claimRef");
  if (!ref.is_map()) return Value("");
  return Value(std::string(ref.At("namespace").string_or()) + "/" + std::string(ref.At("name").string_or()));
}

bool IsBound(const Value& o) { return !o.At("spec", "volumeName").string_or().empty(); }
Value PvcAccessModes(const Value& o, base::WallTime) {
  return Value(IsBound(o) ? AccessModes(o.At("status", "accessModes")) : "");
}
Value PvcCapacity(const Value& o, base::WallTime) {
  return Value(IsBound(o) ? o.At("status", "capacity", "storage").string_or("0") : std::string_view(""));
}

Value PhaseOrTerminating(const Value& o, base::WallTime) {
  return Value(object::IsDeleting(o) ? std::string_view("Terminating") : o.At("status", "phase").string_or());
}

Value StorageClass(const Value& o, base::WallTime) {
  const Value& beta = object::AnnotationsOf(o).At("volume.beta.kubernetes.io/storage-class");
  return Value(beta.is_string() ? beta.string_or() : o.At("spec", "storageClassName").string_or());
}

Value StorageClassName(const Value& o, base::WallTime) {
  bool is_default = object::AnnotationOf(o, "storageclass.kubernetes.io/is-default-class") == "true" ||
                    object::AnnotationOf(o, "storageclass.beta.kubernetes.io/is-default-class") == "true";
  return Value(std::string(object::NameOf(o)) + (is_default ? " (default)" : ""));
}

Value StorageClassExpansion(const Value& o, base::WallTime) { return Value(o.At("allowVolumeExpansion").bool_or()); }

Value CsiDriverModes(const Value& o, base::WallTime) {
  std::string text = base::Join(object::StringsOf(o.At("spec", "volumeLifecycleModes")), ",");
  return Value(text.empty() ? std::string(kNone) : text);
}

Value CsiDriverTokenRequests(const Value& o, base::WallTime) {
  const Value& requests = o.At("spec", "tokenRequests");
  if (!requests.is_list()) return Value("<unset>");
  std::vector<std::string> audiences;
  for (const Value& r : requests.list()) audiences.emplace_back(r.At("audience").string_or());
  return Value(base::Join(audiences, ","));
}

}  // namespace machinery::ops::printers
