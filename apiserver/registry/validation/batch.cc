// Jobs and CronJobs.
#include <sys/stat.h>

#include <algorithm>
#include <charconv>

#include "apiserver/registry/validation/check.h"
#include "apiserver/registry/validation/kinds.h"
#include "base/strings.h"
#include "machinery/object/cron.h"
#include "machinery/ops/selector.h"

namespace apiserver::registry::validation {
namespace {

using object::GoQuote;

constexpr int64_t kManyCompletions = 100000;  // from here on retries per index are limited
constexpr int64_t kLimitWithMany = 10000;     // parallelism and failed indexes then
constexpr int64_t kMaxParallelismIndexed = 100000;
constexpr int64_t kMaxFailedIndexes = 100000;
constexpr int kMaxRules = 20, kMaxExitCodes = 255, kMaxConditionPatterns = 20, kMaxManagedBy = 63;
constexpr int kMaxSucceededIndexes = 64 * 1024;

std::string ValidValues(const Names& names) {
  std::string out = "valid values: [";
  for (size_t i = 0; i < names.size(); ++i) out += (i ? " " : "") + GoQuote(names[i]);
  return out + "]";
}
FieldErrors OneOfListed(const std::string& path, const Value& v, const Names& names) {
  if (NoText(v)) return {Required(path, ValidValues(names))};
  if (Contains(names, v.string_or())) return {};
  return {NotSupported(path, v, names)};
}
FieldError WithoutValue(const std::string& path, std::string detail) {
  FieldError e = Invalid(path, Value(), std::move(detail));
  e.has_value = false;
  return e;
}
bool IsIndexed(const Value& spec) { return spec.At("completionMode").string_or() == "Indexed"; }

// --- pod failure policy ---

FieldErrors ValidateExitCodes(const Value& rule, const Value& pod, const std::string& path) {
  std::string op = Text(rule.At("operator")), at = Child(path, "values");
  FieldErrors errors = OneOfListed(Child(path, "operator"), rule.At("operator"), {"In", "NotIn"});
  if (const Value& name = rule.At("containerName"); name.is_string()) {
    bool found = false;
    for (const char* list : {"containers", "initContainers"})
      for (const Value& c : Items(pod.At(list))) found |= Text(c.At("name")) == name.as_string();
    if (!found)
      errors.push_back(Invalid(Child(path, "containerName"), name,
                               "must be one of the container or initContainer names in the pod template"));
  }
  const List& values = Items(rule.At("values"));
  if (values.empty()) {
    errors.push_back(Invalid(at, rule.At("values"), "at least one value is required"));
  } else if (values.size() > kMaxExitCodes) {
    errors.push_back(TooMany(at, static_cast<int>(values.size()), kMaxExitCodes));
  }
  bool ordered = true;
  std::set<int64_t> seen;
  for (size_t i = 0; i < values.size(); ++i) {
    int64_t code = values[i].int_or();
    if (op == "In" && code == 0) errors.push_back(Invalid(Index(at, i), code, "must not be 0 for the In operator"));
    if (!seen.insert(code).second) errors.push_back(Duplicate(Index(at, i), code));
    if (i > 0 && values[i - 1].int_or() > code) ordered = false;
  }
  if (!ordered) errors.push_back(Invalid(at, rule.At("values"), "must be ordered"));
  return errors;
}

FieldErrors ValidateConditionPatterns(const Value& patterns, const std::string& path) {
  FieldErrors errors;
  const List& list = Items(patterns);
  if (list.size() > kMaxConditionPatterns)
    errors.push_back(TooMany(path, static_cast<int>(list.size()), kMaxConditionPatterns));
  for (size_t i = 0; i < list.size(); ++i) {
    std::string type = Text(list[i].At("type"));
    AppendInvalid(errors, Child(Index(path, i), "type"), type, object::IsQualifiedName(type));
    Append(errors, OneOfListed(Child(Index(path, i), "status"), list[i].At("status"), {"False", "True", "Unknown"}));
  }
  return errors;
}

FieldErrors ValidateFailureRule(const Value& rule, const Value& spec, const std::string& path) {
  FieldErrors errors;
  std::string at = Child(path, "action");
  const Value& action = rule.At("action");
  if (action.string_or() != "FailIndex") {
    Append(errors, OneOfListed(at, action, {"Count", "FailIndex", "FailJob", "Ignore"}));
  } else if (!spec.At("backoffLimitPerIndex").is_int()) {
    errors.push_back(Invalid(at, action, "requires the backoffLimitPerIndex to be set"));
  }
  const Value &codes = rule.At("onExitCodes"), &conditions = rule.At("onPodConditions");
  if (codes.is_map()) Append(errors, ValidateExitCodes(codes, spec.At("template", "spec"), Child(path, "onExitCodes")));
  if (Size(conditions) > 0) Append(errors, ValidateConditionPatterns(conditions, Child(path, "onPodConditions")));
  if (codes.is_map() && Size(conditions) > 0)
    errors.push_back(WithoutValue(path, "specifying both OnExitCodes and OnPodConditions is not supported"));
  if (!codes.is_map() && Size(conditions) == 0)
    errors.push_back(WithoutValue(path, "specifying one of OnExitCodes and OnPodConditions is required"));
  return errors;
}

FieldErrors ValidateFailurePolicy(const Value& spec, const std::string& path) {
  FieldErrors errors;
  const List& rules = Items(spec.At("podFailurePolicy", "rules"));
  std::string at = Child(path, "rules");
  if (rules.size() > kMaxRules) errors.push_back(TooMany(at, static_cast<int>(rules.size()), kMaxRules));
  for (size_t i = 0; i < rules.size(); ++i) Append(errors, ValidateFailureRule(rules[i], spec, Index(at, i)));
  return errors;
}

// --- success policy ---

// "0,2-4": how many indexes it names, or the reason why it is wrong.
struct IndexCount {
  int64_t total = 0;
  std::string error;
};
IndexCount CountIndexes(const std::string& text, int64_t completions) {
  IndexCount out;
  if (text.empty()) return out;
  int64_t last = -1;
  auto number = [&](const std::string& s, int64_t* n) {
    auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), *n);
    if (error != std::errc() || end != s.data() + s.size()) {
      out.error = "cannot convert string to integer for index: " + GoQuote(s);
    } else if (*n >= completions) {
      out.error = "too large index: " + GoQuote(s);
    }
    return out.error.empty();
  };
  auto falling = [&](int64_t a, int64_t b) {
    out.error = "non-increasing order, previous: " + std::to_string(a) + ", current: " + std::to_string(b);
    return out;
  };
  for (const std::string& part : base::Split(text, ',')) {
    auto ends = base::Split(part, '-');
    if (ends.size() > 2) {
      out.error = "the fragment " + GoQuote(part) +
                  " violates the requirement that an index interval can have at most two parts separated by '-'";
      return out;
    }
    int64_t low = 0;
    if (!number(ends[0], &low)) return out;
    int64_t high = low;
    if (ends.size() == 2) {
      if (!number(ends[1], &high)) return out;
      if (low >= high) return falling(low, high);
    }
    if (last >= low) return falling(last, low);
    out.total += high - low + 1;
    last = high;
  }
  return out;
}

FieldErrors ValidateSuccessRule(const Value& rule, int64_t completions, const std::string& path) {
  FieldErrors errors;
  const Value &count = rule.At("succeededCount"), &indexes = rule.At("succeededIndexes");
  if (!count.is_int() && !indexes.is_string())
    errors.push_back(Required(path, "at least one of succeededCount or succeededIndexes must be specified"));
  IndexCount named;
  if (indexes.is_string()) {
    std::string at = Child(path, "succeededIndexes");
    if (indexes.as_string().size() > kMaxSucceededIndexes) errors.push_back(object::TooLong(at, kMaxSucceededIndexes));
    named = CountIndexes(Text(indexes), completions);
    if (!named.error.empty()) errors.push_back(Invalid(at, indexes, "error parsing succeededIndexes: " + named.error));
  }
  if (!count.is_int()) return errors;
  std::string at = Child(path, "succeededCount");
  Append(errors, NotNegative(count, at));
  if (count.as_int() > completions)
    errors.push_back(Invalid(
        at, count,
        "must be less than or equal to " + std::to_string(completions) + " (the number of specified completions)"));
  if (indexes.is_string() && count.as_int() > named.total)
    errors.push_back(Invalid(at, count,
                             "must be less than or equal to " + std::to_string(named.total) +
                                 " (the number of indexes in the specified succeededIndexes field)"));
  return errors;
}

FieldErrors ValidateSuccessPolicy(const Value& spec, const std::string& path) {
  FieldErrors errors;
  const Value& policy = spec.At("successPolicy");
  if (!IsIndexed(spec))
    return {Invalid(path, GoStruct(policy, {{"Rules", "rules", Value()}}), "requires indexed completion mode")};
  const List& rules = Items(policy.At("rules"));
  std::string at = Child(path, "rules");
  if (rules.empty())
    errors.push_back(Required(at, "at least one rules must be specified when the successPolicy is specified"));
  if (rules.size() > kMaxRules) errors.push_back(TooMany(at, static_cast<int>(rules.size()), kMaxRules));
  for (size_t i = 0; i < rules.size(); ++i)
    Append(errors, ValidateSuccessRule(rules[i], spec.At("completions").int_or(), Index(at, i)));
  return errors;
}

// --- the spec ---

FieldErrors ValidateIndexedMode(const Value& spec, const std::string& path) {
  FieldErrors errors;
  const Value &completions = spec.At("completions"), &parallelism = spec.At("parallelism"),
              &failed = spec.At("maxFailedIndexes");
  auto at_most = [&](const char* field, int64_t limit, const std::string& suffix) {
    if (spec.At(field).int_or() > limit)
      errors.push_back(Invalid(Child(path, field), spec.At(field),
                               "must be less than or equal to " + std::to_string(limit) + suffix));
  };
  if (!completions.is_int()) errors.push_back(Required(Child(path, "completions"), "when completion mode is Indexed"));
  at_most("parallelism", kMaxParallelismIndexed, " when completion mode is Indexed");
  if (completions.is_int() && failed.is_int() && failed.as_int() > completions.as_int())
    errors.push_back(Invalid(Child(path, "maxFailedIndexes"), failed, "must be less than or equal to completions"));
  at_most("maxFailedIndexes", kMaxFailedIndexes, "");
  if (completions.int_or() > kManyCompletions && spec.At("backoffLimitPerIndex").is_int()) {
    if (!failed.is_int())
      errors.push_back(Required(Child(path, "maxFailedIndexes"),
                                "must be specified when completions is above " + std::to_string(kManyCompletions)));
    std::string with_many =
        " when completions are above " + std::to_string(kManyCompletions) + " and used with backoff limit per index";
    if (parallelism.is_int()) at_most("parallelism", kLimitWithMany, with_many);
    at_most("maxFailedIndexes", kLimitWithMany, with_many);
  }
  return errors;
}

FieldErrors ValidateCompletionMode(const Value& spec, const std::string& path) {
  FieldErrors errors;
  const Value& mode = spec.At("completionMode");
  if (mode.is_string() && !Contains({"NonIndexed", "Indexed"}, mode.as_string()))
    errors.push_back(NotSupported(Child(path, "completionMode"), mode, {"NonIndexed", "Indexed"}));
  if (IsIndexed(spec)) Append(errors, ValidateIndexedMode(spec, path));
  if (mode.is_null() || mode.string_or() == "NonIndexed") {
    for (const char* field : {"backoffLimitPerIndex", "maxFailedIndexes"})
      if (spec.At(field).is_int())
        errors.push_back(Invalid(Child(path, field), spec.At(field), "requires indexed completion mode"));
  }
  return errors;
}

FieldErrors ValidateJobRestartPolicy(const Value& spec, const std::string& path) {
  std::string policy = Text(spec.At("template", "spec", "restartPolicy"));
  if (policy.empty() || policy == "Always") return {Required(path, "valid values: \"OnFailure\", \"Never\"")};
  if (policy != "OnFailure" && policy != "Never") return {NotSupported(path, policy, {"OnFailure", "Never"})};
  if (policy != "Never" && spec.At("podFailurePolicy").is_map())
    return {Invalid(path, policy, "only \"Never\" is supported when podFailurePolicy is specified")};
  return {};
}

// What Jobs and the templates of CronJobs share: everything but the selector.
FieldErrors ValidateJobSpecCommon(const Value& spec, const std::string& path) {
  FieldErrors errors;
  for (const char* field : {"parallelism", "completions", "activeDeadlineSeconds", "backoffLimit",
                            "ttlSecondsAfterFinished", "backoffLimitPerIndex", "maxFailedIndexes"})
    Append(errors, NotNegative(spec.At(field), Child(path, field)));
  if (spec.At("maxFailedIndexes").is_int() && !spec.At("backoffLimitPerIndex").is_int())
    errors.push_back(Required(Child(path, "backoffLimitPerIndex"), "when maxFailedIndexes is specified"));
  if (const Value& by = spec.At("managedBy"); by.is_string()) {
    Append(errors, object::IsDomainPrefixedPath(Child(path, "managedBy"), by.as_string()));
    if (by.as_string().size() > kMaxManagedBy)
      errors.push_back(object::TooLong(Child(path, "managedBy"), kMaxManagedBy));
  }
  Append(errors, ValidateCompletionMode(spec, path));
  bool has_failure_policy = spec.At("podFailurePolicy").is_map();
  if (has_failure_policy) Append(errors, ValidateFailurePolicy(spec, Child(path, "podFailurePolicy")));
  if (spec.At("successPolicy").is_map()) Append(errors, ValidateSuccessPolicy(spec, Child(path, "successPolicy")));
  if (const Value& replacement = spec.At("podReplacementPolicy"); replacement.is_string()) {
    Names allowed = has_failure_policy ? Names{"Failed"} : Names{"Failed", "TerminatingOrFailed"};
    if (!Contains(allowed, replacement.as_string()))
      errors.push_back(NotSupported(Child(path, "podReplacementPolicy"), replacement, allowed));
  }
  Append(errors, ValidatePodTemplate(spec.At("template"), Child(path, "template")));
  Append(errors, ValidateJobRestartPolicy(spec, Child(Child(path, "template", "spec"), "restartPolicy")));
  return errors;
}

FieldErrors ValidateJobSpec(const Value& spec, const std::string& path) {
  FieldErrors errors = ValidateJobSpecCommon(spec, path);
  const Value &selector = spec.At("selector"), &labels = object::LabelsOf(spec.At("template"));
  if (!selector.is_map()) {
    errors.push_back(Required(Child(path, "selector")));
  } else {
    Append(errors, ops::ValidateLabelSelector(selector, Child(path, "selector")));
  }
  if (auto parsed = ops::LabelSelector::FromObject(selector); parsed && !parsed->Matches(labels))
    errors.push_back(Invalid(Child(Child(path, "template", "metadata"), "labels"),
                             labels.is_map() ? labels : Value(Map()), "`selector` does not match template `labels`"));
  return errors;
}

constexpr const char *kUid = "batch.kubernetes.io/controller-uid", *kName = "batch.kubernetes.io/job-name";
constexpr const char *kOldUid = "controller-uid", *kOldName = "job-name";

// The selector and labels that the server makes for Jobs without manualSelector.
FieldErrors ValidateGeneratedSelector(const Value& job, bool with_prefixed) {
  FieldErrors errors;
  const Value& spec = job.At("spec");
  if (spec.At("manualSelector").bool_or() || !spec.At("selector").is_map()) return errors;
  if (object::UidOf(job).empty()) errors.push_back(Required("metadata.uid"));
  const Value& labels = object::LabelsOf(spec.At("template"));
  Map expected;
  auto has = [&](const char* key, std::string_view value) {
    std::string path = Key("spec.template.metadata.labels", key), why = "must be '" + std::string(value) + "'";
    expected.Append(key, value);
    if (!labels.At(key).is_string()) {
      errors.push_back(Required(path, why));
    } else if (labels.At(key).as_string() != value) {
      errors.push_back(Invalid(path, labels, why));
    }
  };
  has(kOldUid, object::UidOf(job));
  has(kOldName, object::NameOf(job));
  if (with_prefixed) {
    has(kUid, object::UidOf(job));
    has(kName, object::NameOf(job));
  }
  if (auto parsed = ops::LabelSelector::FromObject(spec.At("selector"));
      parsed && !parsed->Matches(Value(std::move(expected))))
    errors.push_back(Invalid("spec.selector", spec.At("selector"), "`selector` not auto-generated"));
  return errors;
}

// A suspended Job that has not started may get other scheduling directives and resources.
bool TemplateIsMutable(const Value& job) {
  bool suspended_condition = false;
  for (const Value& c : Items(job.At("status", "conditions")))
    suspended_condition |= Text(c.At("type")) == "Suspended" && Text(c.At("status")) == "True";
  return job.At("spec", "suspend").bool_or() && (job.At("status", "startTime").is_null() || suspended_condition) &&
         job.At("status", "active").int_or() == 0;
}

void Take(Value& to, const Value& from, const char* field) {
  if (const Value& v = from.At(field); !v.is_null()) {
    to.Set(field, v);
  } else if (to.is_map()) {
    to.Remove(field);
  }
}

FieldErrors ValidateTemplateUpdate(const Value& job, const Value& old, const std::string& path) {
  const Value& now = job.At("spec", "template");
  Value before = old.At("spec", "template");
  if (TemplateIsMutable(old) && before.is_map()) {
    Value& pod = before.Ensure("spec");
    const Value& new_pod = now.At("spec");
    for (const char* field : {"nodeSelector", "tolerations", "schedulingGates"}) Take(pod, new_pod, field);
    Take(pod.Ensure("affinity"), new_pod.At("affinity"), "nodeAffinity");
    for (const char* field : {"annotations", "labels"}) Take(before.Ensure("metadata"), now.At("metadata"), field);
    for (const char* list : {"containers", "initContainers"}) {
      if (!pod.At(list).is_list() || Size(pod.At(list)) != Size(new_pod.At(list))) continue;
      List& containers = pod.Ensure(list).list();
      for (size_t i = 0; i < containers.size(); ++i)
        if (Text(containers[i].At("name")) == Text(new_pod.At(list).At(i).At("name")))
          Take(containers[i], new_pod.At(list).At(i), "resources");
    }
  }
  return ops::ValidateImmutable(now, before, path);
}

FieldErrors ValidateCompletionsUpdate(const Value& spec, const Value& old, const std::string& path) {
  const Value& completions = spec.At("completions");
  if (!IsIndexed(spec)) return ops::ValidateImmutable(completions, old.At("completions"), path);
  if (SemanticEqual(completions, old.At("completions")) || !completions.is_int()) return {};
  if (completions.as_int() == spec.At("parallelism").int_or()) return {};
  return {Invalid(path, completions, "can only be modified in tandem with spec.parallelism")};
}

// --- CronJob ---

bool IsKnownTimeZone(const std::string& name) {
  constexpr const char* kZones = "/usr/share/zoneinfo/";
  struct stat st;
  if (name == "UTC" || ::stat(kZones, &st) != 0) return true;  // a host without zones cannot tell
  return ::stat((kZones + name).c_str(), &st) == 0 && S_ISREG(st.st_mode);
}

FieldErrors ValidateTimeZone(const Value& zone, const std::string& path) {
  if (!zone.is_string()) return {};
  std::string name = Text(zone);
  if (name.empty()) return {Invalid(path, zone, "timeZone must be nil or non-empty string")};
  auto allowed = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
           c == '_' || c == '+';
  };
  for (const std::string& part : base::Split(name, '/')) {
    bool fine = !part.empty() && part.size() <= 14 && std::all_of(part.begin(), part.end(), allowed);
    if (part == "." || part == ".." || part.starts_with("-") || !fine)
      return {Invalid(path, zone, "unknown time zone " + name)};
  }
  FieldErrors errors;
  std::string lower;
  for (char c : name) lower += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  if (lower == "local")
    errors.push_back(
        Invalid(path, zone, "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"));
  if (name != "Local" && !IsKnownTimeZone(name)) errors.push_back(Invalid(path, zone, "unknown time zone " + name));
  return errors;
}

FieldErrors ValidateSchedule(const Value& spec, const Value* old, const std::string& path) {
  std::string schedule = Text(spec.At("schedule"));
  if (schedule.empty()) return {Required(path)};
  FieldErrors errors;
  if (auto parsed = object::ParseCron(schedule); !parsed)
    errors.push_back(Invalid(path, schedule, std::string(parsed.error().message())));
  bool allowed = old && Text(old->At("schedule")).find("TZ") != std::string::npos;
  bool has_zone = schedule.find("TZ") != std::string::npos;
  if (allowed && has_zone && spec.At("timeZone").is_string()) {
    errors.push_back(Invalid(path, schedule, "cannot use both timeZone field and TZ or CRON_TZ in schedule"));
  } else if (!allowed && has_zone) {
    errors.push_back(Invalid(path, schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"));
  }
  return errors;
}

FieldErrors ValidateCronJobSpec(const Value& spec, const Value* old, const std::string& path) {
  FieldErrors errors = ValidateSchedule(spec, old, Child(path, "schedule"));
  Append(errors, NotNegative(spec.At("startingDeadlineSeconds"), Child(path, "startingDeadlineSeconds")));
  if (!old || !(spec.At("timeZone") == old->At("timeZone")))
    Append(errors, ValidateTimeZone(spec.At("timeZone"), Child(path, "timeZone")));
  Append(errors, OneOf(Child(path, "concurrencyPolicy"), spec.At("concurrencyPolicy"), {"Allow", "Forbid", "Replace"}));
  const Value& job = spec.At("jobTemplate", "spec");
  std::string at = Child(path, "jobTemplate", "spec");
  Append(errors, ValidateJobSpecCommon(job, at));
  if (job.At("selector").is_map())
    errors.push_back(Invalid(Child(at, "selector"), job.At("selector"), "`selector` will be auto-generated"));
  if (job.At("manualSelector").bool_or())
    errors.push_back(NotSupported(Child(at, "manualSelector"), true, {"nil", "false"}));
  for (const char* field : {"successfulJobsHistoryLimit", "failedJobsHistoryLimit"})
    Append(errors, NotNegative(spec.At(field), Child(path, field)));
  return errors;
}

}  // namespace

// Jobs of before the prefixed labels keep what they have.
static FieldErrors ValidateWholeJob(const Value& object, bool with_prefixed) {
  FieldErrors errors = Meta(object, true);
  Append(errors, ValidateGeneratedSelector(object, with_prefixed));
  const Value& spec = object.At("spec");
  Append(errors, ValidateJobSpec(spec, "spec"));
  if (int64_t n = spec.At("completions").int_or(); IsIndexed(spec) && n > 0) {
    std::string name(object::NameOf(object)), host = name + "-" + std::to_string(n - 1);
    if (!object::IsDns1123Label(host).empty())
      errors.push_back(Invalid("metadata.name", name, "will not able to create pod with invalid DNS label: " + host));
  }
  return errors;
}

FieldErrors ValidateJob(const Value& object) { return ValidateWholeJob(object, true); }

FieldErrors ValidateJobUpdate(const Value& object, const Value& old) {
  const Value& old_labels = object::LabelsOf(old.At("spec", "template"));
  FieldErrors errors = ValidateWholeJob(object, old_labels.At(kUid).is_string() && old_labels.At(kName).is_string());
  Append(errors, MetaUpdate(object, old));
  const Value &spec = object.At("spec"), &before = old.At("spec");
  Append(errors, ValidateJobSpec(spec, "spec"));
  Append(errors, ValidateCompletionsUpdate(spec, before, "spec.completions"));
  Append(errors, ops::ValidateImmutable(spec.At("selector"), before.At("selector"), "spec.selector"));
  Append(errors, ValidateTemplateUpdate(object, old, "spec.template"));
  for (const char* field : {"completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"})
    Append(errors, ops::ValidateImmutable(spec.At(field), before.At(field), Child("spec", field)));
  return errors;
}

FieldErrors ValidateCronJob(const Value& object) {
  constexpr size_t kMaxName = 52;  // the Jobs' names get a suffix
  FieldErrors errors = Meta(object, true);
  Append(errors, ValidateCronJobSpec(object.At("spec"), nullptr, "spec"));
  if (object::NameOf(object).size() > kMaxName)
    errors.push_back(Invalid("metadata.name", object::NameOf(object), "must be no more than 52 characters"));
  return errors;
}
FieldErrors ValidateCronJobUpdate(const Value& object, const Value& old) {
  FieldErrors errors = MetaUpdate(object, old);
  Append(errors, ValidateCronJobSpec(object.At("spec"), &old.At("spec"), "spec"));
  return errors;
}

}  // namespace apiserver::registry::validation
