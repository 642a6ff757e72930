// Short words for writing rules, and the pieces several kinds share. Internal to this folder.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "apiserver/registry/validation/validation.h"
#include "machinery/object/go_text.h"
#include "machinery/object/meta.h"
#include "machinery/object/names.h"
#include "machinery/object/quantity.h"
#include "machinery/ops/validation.h"

namespace apiserver::registry::validation {

namespace object = machinery::object;
namespace ops = machinery::ops;
using machinery::value::List;
using machinery::value::Map;
using object::Append;
using object::AppendInvalid;
using object::Duplicate;
using object::FieldError;
using object::FieldForbidden;
using object::FieldNotFound;
using object::Invalid;
using object::NotSupported;
using object::Required;
using object::TooMany;
using ops::Child;
using ops::Index;
using ops::Key;
using ops::SemanticEqual;
using Names = std::vector<std::string>;

// Items of a list, none when it is no list.
const List& Items(const Value& v);
inline std::string Text(const Value& v) { return std::string(v.string_or()); }
inline bool NoText(const Value& v) { return v.string_or().empty(); }
size_t Size(const Value& v);
bool Contains(const Names& names, std::string_view name);
std::string Child(const std::string& path, std::string_view a, std::string_view b);
object::Quantity QuantityOf(const Value& v);

// Required when empty, NotSupported (with `allowed` as listed) when none of them.
FieldErrors OneOf(const std::string& path, const Value& v, const Names& allowed);
FieldErrors NotNegative(const Value& v, const std::string& path);  // absent is fine
FieldErrors Positive(int64_t v, const std::string& path);
FieldErrors Reasoned(const std::string& path, const Value& v, const object::Reasons& reasons);

// How Go prints a struct without JSON tags: its field names in order, absent as null (or the given zero).
struct GoField {
  const char* name;
  const char* json;
  Value zero;
};
Value GoStruct(const Value& v, const std::vector<GoField>& fields);

// Object metadata as every kind checks it.
FieldErrors Meta(const Value& object, bool namespaced, object::NameRule rule = object::NameIsDnsSubdomain);
FieldErrors MetaUpdate(const Value& object, const Value& old);

// --- pods and templates ---
struct PodOptions {
  bool is_pod = true;  // not a template
  std::string name;    // of the pod, where it is known
};
FieldErrors ValidatePodSpec(const Value& spec, const std::string& path, const PodOptions& options);
// metadata (labels, annotations, finalizers) and spec of a PodTemplateSpec.
FieldErrors ValidatePodTemplate(const Value& pod_template, const std::string& path);
FieldErrors ValidateClaimSpec(const Value& spec, const std::string& path);  // of a PersistentVolumeClaim
// Gives the names of volumes without errors too: mounts may name only those.
FieldErrors ValidateVolumes(const Value& volumes, const std::string& path, const std::string& pod_name,
                            std::set<std::string>* good);
// One source of a volume: kind is its field ("hostPath").
FieldErrors ValidatePodVolumeSource(std::string_view kind, const Value& source, const std::string& path);
FieldErrors ValidateResourceClaims(const Value& spec, const std::string& path);  // its own, and its containers'
FieldErrors ValidateTolerations(const Value& tolerations, const std::string& path);
FieldErrors ValidateAffinity(const Value& affinity, const std::string& path);
FieldErrors ValidateTopologySpread(const Value& constraints, const std::string& path);
FieldErrors ValidateNodeSelector(const Value& selector, const std::string& path);
FieldErrors ValidateTaintEffect(const Value& effect, bool allow_empty, const std::string& path);
FieldErrors ValidateObjectFieldRef(const Value& ref, const Names& allowed, const std::string& path);
FieldErrors ValidateResourceFieldRef(const Value& ref, bool in_volume, const std::string& path);
FieldErrors ValidateLocalPath(const std::string& p, const std::string& path);  // relative, without ..
FieldErrors ValidatePort(const Value& port, const std::string& path);          // number or name
// Annotations with a meaning, of a pod or a template; `old`: those it had, null on create. A text that was wrong before
// may stay.
FieldErrors ValidatePodAnnotations(const Value& annotations, const Value& spec, const std::string& path,
                                   const Value& old);
FieldErrors ValidatePodAnnotationUpdates(const Value& pod, const Value& old);
// Annotations and fields say the same of seccomp and AppArmor; `path` is where the spec stands.
FieldErrors ValidateProfilesMatch(const Value& annotations, const Value& spec, const std::string& path);
FieldErrors ValidateAppArmorProfile(const Value& profile, const std::string& path);
FieldErrors ValidateSeccompProfile(const Value& profile, const std::string& path);

// --- resources ---
bool IsStandardResource(std::string_view name);
bool IsStandardQuotaResource(std::string_view name);
bool IsExtendedResource(std::string_view name);
bool IsNativeResource(std::string_view name);
FieldErrors ValidateResourceName(const std::string& name, const std::string& path);
FieldErrors ValidateContainerResourceName(const std::string& name, const std::string& path);
FieldErrors ValidateResourceQuantity(const std::string& name, const Value& v, const std::string& path);
FieldErrors ValidateContainerResources(const Value& resources, const std::string& path);

// --- numbers or percentages ---
FieldErrors ValidatePositiveIntOrPercent(const Value& v, const std::string& path);
FieldErrors ValidateNotMoreThan100Percent(const Value& v, const std::string& path);
int64_t PercentOrInt(const Value& v);

}  // namespace apiserver::registry::validation
