#include "machinery/object/go_text.h"
#include "machinery/object/meta.h"
#include "machinery/object/time.h"
#include "machinery/ops/printers.h"
#include "machinery/ops/selector.h"
#include "machinery/ops/table.h"

namespace machinery::ops::printers {
namespace {

using value::Value;

std::string Fraction(int64_t a, int64_t b) { return std::to_string(a) + "/" + std::to_string(b); }

bool Has(const Value& o, std::string_view condition) {
  return Condition(o.At("status", "conditions"), condition).At("status").string_or() == "True";
}

// current/target of one metric of an autoscaler. Quantities stand as they are written.
std::string MetricText(const Value& spec, const Value& status) {
  static constexpr std::pair<std::string_view, std::string_view> kFields[] = {
      {"External", "external"},
      {"Object", "object"},
      {"Pods", "pods"},
      {"Resource", "resource"},
      {"ContainerResource", "containerResource"}};
  std::string_view type = spec.At("type").string_or(), field;
  for (auto& [name, f] : kFields)
    if (name == type) field = f;
  if (field.empty()) return "<unknown type>";
  const Value& target = spec.At(field, "target");
  const Value& current = status.At(field, "current");
  bool has_status = status.At(field).is_map();
  bool average = target.At("averageValue").is_string();
  auto quantity = [](const Value& v) { return std::string(v.string_or("<nil>")); };
  if (type == "Pods")
    return (has_status ? quantity(current.At("averageValue")) : "<unknown>") + "/" +
           quantity(target.At("averageValue"));
  if (type == "External" || type == "Object") {
    const char* which = average ? "averageValue" : "value";
    bool known = average ? current.At(which).is_string() : has_status;
    return (known ? quantity(current.At(which)) : "<unknown>") + "/" + quantity(target.At(which)) +
           (average ? " (avg)" : "");
  }
  std::string name = std::string(spec.At(field, "name").string_or()) + ": ";
  if (average)
    return name + (has_status ? quantity(current.At("averageValue")) : "<unknown>") + "/" +
           quantity(target.At("averageValue"));
  auto percent = [](const Value& v, const char* otherwise) {
    return v.is_int() ? std::to_string(v.as_int()) + "%" : std::string(otherwise);
  };
  return name + percent(current.At("averageUtilization"), "<unknown>") + "/" +
         percent(target.At("averageUtilization"), "<auto>");
}

}  // namespace

Value ReplicasReady(const Value& o, base::WallTime) {
  return Value(Fraction(o.At("status", "readyReplicas").int_or(), o.At("spec", "replicas").int_or()));
}

Value DeploymentSelector(const Value& o, base::WallTime) {
  auto selector = LabelSelector::FromObject(o.At("spec", "selector"));
  return Value(selector ? selector->ToString() : "<invalid>");
}

Value ControllerRef(const Value& o, base::WallTime) {
  const Value* owner = object::ControllerOf(o);
  if (!owner) return Value("<none>");
  std::string kind(owner->At("kind").string_or());
  std::string group = object::ParseGroupVersion(owner->At("apiVersion").string_or()).group;
  if (!group.empty()) kind += "." + group;
  for (char& c : kind)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return Value(kind + "/" + std::string(owner->At("name").string_or()));
}

Value JobStatus(const Value& o, base::WallTime) {
  if (Has(o, "Complete")) return Value("Complete");
  if (Has(o, "Failed")) return Value("Failed");
  if (object::IsDeleting(o)) return Value("Terminating");
  for (const char* condition : {"Suspended", "FailureTarget", "SuccessCriteriaMet"})
    if (Has(o, condition)) return Value(condition);
  return Value("Running");
}

Value JobCompletions(const Value& o, base::WallTime) {
  int64_t succeeded = o.At("status", "succeeded").int_or();
  if (const Value& completions = o.At("spec", "completions"); completions.is_int())
    return Value(Fraction(succeeded, completions.as_int()));
  int64_t parallelism = o.At("spec", "parallelism").int_or();
  std::string text = Fraction(succeeded, 1);
  if (parallelism > 1) text += " of " + std::to_string(parallelism);
  return Value(std::move(text));
}

Value JobDuration(const Value& o, base::WallTime now) {
  std::string_view start = o.At("status", "startTime").string_or();
  if (start.empty()) return Value("");
  std::string_view end = o.At("status", "completionTime").string_or();
  if (end.empty()) return Value(Age(start, now));
  auto finished = object::ParseTime(end);
  if (!finished) return Value("<unknown>");
  return Value(Age(start, base::WallTime(std::chrono::seconds(finished->seconds))));
}

Value CronJobSuspend(const Value& o, base::WallTime) {
  const Value& suspend = o.At("spec", "suspend");
  return Value(!suspend.is_bool() ? "<unset>" : suspend.as_bool() ? "True" : "False");
}

Value CronJobLastSchedule(const Value& o, base::WallTime now) {
  std::string_view last = o.At("status", "lastScheduleTime").string_or();
  return Value(last.empty() ? "<none>" : Age(last, now));
}

Value HpaReference(const Value& o, base::WallTime) {
  const Value& ref = o.At("spec", "scaleTargetRef");
  return Value(std::string(ref.At("kind").string_or()) + "/" + std::string(ref.At("name").string_or()));
}

Value HpaTargets(const Value& o, base::WallTime) {
  const Value& specs = o.At("spec", "metrics");
  const Value& statuses = o.At("status", "currentMetrics");
  if (!specs.is_list() || specs.list().empty()) {
    // The first version of the API knows one metric: CPU.
    const Value& target = o.At("spec", "targetCPUUtilizationPercentage");
    if (!target.is_int()) return Value("<none>");
    const Value& current = o.At("status", "currentCPUUtilizationPercentage");
    return Value("cpu: " + (current.is_int() ? std::to_string(current.as_int()) + "%" : std::string("<unknown>")) +
                 "/" + std::to_string(target.as_int()) + "%");
  }
  std::vector<std::string> out;
  for (size_t i = 0; i < specs.list().size(); ++i) {
    bool known = statuses.is_list() && statuses.list().size() > i;
    out.push_back(MetricText(specs.list()[i], known ? statuses.list()[i] : Value::Null()));
  }
  return Value(ListWithMore(out, 2, ", "));
}

}  // namespace machinery::ops::printers
