// PersistentVolume, PersistentVolumeClaim, StorageClass, CSIDriver.
#include <algorithm>

#include "apiserver/registry/validation/check.h"
#include "apiserver/registry/validation/kinds.h"
#include "apiserver/registry/validation/text_diff.h"
#include "base/strings.h"

namespace apiserver::registry::validation {
namespace {

const Names kAccessModes = {"ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"};
const Names kVolumeModes = {"Block", "Filesystem"};
constexpr const char* kClassAnnotation = "volume.beta.kubernetes.io/storage-class";
constexpr const char* kNotPositive = "must be greater than zero";

FieldErrors ValidateClassName(const Value& name, const std::string& path) {
  if (NoText(name)) return {};
  return Reasoned(path, name, object::IsDns1123Subdomain(name.as_string()));
}

FieldErrors ValidateAccessModes(const Value& modes, const std::string& path) {
  FieldErrors errors;
  bool one_pod = false, other = false;
  for (const Value& mode : Items(modes)) {
    bool known = Contains(kAccessModes, Text(mode));
    if (!known) errors.push_back(NotSupported(path, mode, kAccessModes));
    bool is_one_pod = mode.string_or() == "ReadWriteOncePod";
    one_pod |= is_one_pod;
    other |= known && !is_one_pod;
  }
  if (one_pod && other) errors.push_back(FieldForbidden(path, "may not use ReadWriteOncePod with other access modes"));
  return errors;
}

FieldErrors ValidatePositiveQuantity(const Value& v, const std::string& path) {
  object::Quantity q = QuantityOf(v);
  if (q.Sign() > 0) return {};
  return {Invalid(path, q.ToString(), kNotPositive)};
}

FieldErrors ValidateDriverName(const Value& v, const std::string& path) {
  constexpr int kMax = 63;
  if (NoText(v)) return {Required(path)};
  FieldErrors errors;
  std::string name = Text(v), lower;
  for (char c : name) lower += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  if (name.size() > kMax) errors.push_back(object::TooLong(path, kMax));
  AppendInvalid(errors, path, name, object::IsDns1123Subdomain(lower));
  return errors;
}

// --- PersistentVolume ---

// Every kind of source a volume can have, as Go lists them; one must be there.
constexpr const char* kSources[] = {"gcePersistentDisk",
                                    "awsElasticBlockStore",
                                    "hostPath",
                                    "glusterfs",
                                    "nfs",
                                    "rbd",
                                    "quobyte",
                                    "iscsi",
                                    "flexVolume",
                                    "cinder",
                                    "cephfs",
                                    "fc",
                                    "flocker",
                                    "azureFile",
                                    "vsphereVolume",
                                    "azureDisk",
                                    "photonPersistentDisk",
                                    "portworxVolume",
                                    "scaleIO",
                                    "local",
                                    "storageos",
                                    "csi"};

FieldErrors ValidateSecretReference(const Value& ref, const std::string& path) {
  if (!ref.is_map()) return {};
  FieldErrors errors;
  auto check = [&](const char* field, object::Reasons (*rule)(std::string_view)) {
    std::string at = Child(path, field);
    if (NoText(ref.At(field))) {
      errors.push_back(Required(at));
    } else {
      AppendInvalid(errors, at, ref.At(field), rule(ref.At(field).as_string()));
    }
  };
  check("name", object::IsDns1123Subdomain);
  check("namespace", object::IsDns1123Label);
  return errors;
}

FieldErrors ValidateCsi(const Value& csi, const std::string& path) {
  FieldErrors errors = ValidateDriverName(csi.At("driver"), Child(path, "driver"));
  if (NoText(csi.At("volumeHandle"))) errors.push_back(Required(Child(path, "volumeHandle")));
  for (const char* ref :
       {"controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef"})
    Append(errors, ValidateSecretReference(csi.At(ref), Child(path, ref)));
  return errors;
}

FieldErrors ValidateLocal(const Value& local, const std::string& path) {
  std::string text = Text(local.At("path")), at = Child(path, "path");
  if (text.empty()) return {Required(at)};
  auto parts = base::Split(text, '/');
  if (!Contains(parts, "..")) return {};
  return {Invalid(at, text, "must not contain '..'")};
}

FieldErrors ValidateVolumeSource(const Value& spec, const std::string& path) {
  FieldErrors errors;
  int sources = 0;
  for (const char* kind : kSources) {
    const Value& source = spec.At(kind);
    if (!source.is_map()) continue;
    std::string at = Child(path, kind), name = kind;
    if (sources++ > 0) {
      errors.push_back(FieldForbidden(at, "may not specify more than 1 volume type"));
    } else if (name == "csi") {
      Append(errors, ValidateCsi(source, at));
    } else if (name == "local") {
      Append(errors, ValidateLocal(source, at));
      if (!spec.At("nodeAffinity").is_map())
        errors.push_back(Required(Child(path, "nodeAffinity"), "Local volume requires node affinity"));
    } else {
      Append(errors, ValidatePodVolumeSource(kind, source, at));
    }
  }
  if (sources == 0) errors.push_back(Required(path, "must specify a volume type"));
  return errors;
}

FieldErrors ValidateVolumeSpec(const Value& spec, const std::string& path) {
  FieldErrors errors;
  if (Size(spec.At("accessModes")) == 0) errors.push_back(Required(Child(path, "accessModes")));
  Append(errors, ValidateAccessModes(spec.At("accessModes"), Child(path, "accessModes")));
  const Value& capacity = spec.At("capacity");
  std::string at = Child(path, "capacity");
  if (Size(capacity) == 0) errors.push_back(Required(at));
  if (capacity.At("storage").is_null() || Size(capacity) > 1)
    errors.push_back(NotSupported(at, capacity.is_map() ? capacity : Value(Map()), {"storage"}));
  if (capacity.is_map()) {
    for (const auto& e : capacity.map()) {
      if (QuantityOf(e.value).Sign() < 0)
        errors.push_back(Invalid(Key(at, e.key), QuantityOf(e.value).Value(), "must be a valid resource quantity"));
      Append(errors, ValidatePositiveQuantity(e.value, Key(at, e.key)));
    }
  }
  const Value &policy = spec.At("persistentVolumeReclaimPolicy"), &affinity = spec.At("nodeAffinity");
  const Names policies = {"Delete", "Recycle", "Retain"};
  if (!NoText(policy) && !Contains(policies, policy.as_string()))
    errors.push_back(NotSupported(Child(path, "persistentVolumeReclaimPolicy"), policy, policies));
  if (affinity.is_map()) {
    std::string required = Child(path, "nodeAffinity", "required");
    if (affinity.At("required").is_map()) {
      Append(errors, ValidateNodeSelector(affinity.At("required"), required));
    } else {
      errors.push_back(Required(required, "must specify required node constraints"));
    }
  }
  Append(errors, ValidateVolumeSource(spec, path));
  if (Text(spec.At("hostPath", "path")) == "/" && policy.string_or() == "Recycle")
    errors.push_back(FieldForbidden(Child(path, "persistentVolumeReclaimPolicy"),
                                    "may not be 'recycle' for a hostPath mount of '/'"));
  Append(errors, ValidateClassName(spec.At("storageClassName"), Child(path, "storageClassName")));
  if (const Value& mode = spec.At("volumeMode"); mode.is_string() && !Contains(kVolumeModes, mode.as_string()))
    errors.push_back(NotSupported(Child(path, "volumeMode"), mode, kVolumeModes));
  if (const Value& attributes = spec.At("volumeAttributesClassName"); attributes.is_string()) {
    std::string field = Child(path, "volumeAttributesClassName");
    if (attributes.as_string().empty()) {
      errors.push_back(Required(field, "an empty string is disallowed"));
    } else {
      Append(errors, ValidateClassName(attributes, field));
    }
    if (!spec.At("csi").is_map())
      errors.push_back(Required(Child(path, "csi"), "has to be specified when using volumeAttributesClassName"));
  }
  return errors;
}

Value SourceOf(const Value& spec) {
  Map out;
  for (const char* kind : kSources)
    if (spec.At(kind).is_map()) out.Append(kind, spec.At(kind));
  return Value(std::move(out));
}

// --- PersistentVolumeClaim ---

FieldErrors ValidateDataSource(const Value& ref, const std::string& path) {
  if (!ref.is_map()) return {};
  FieldErrors errors;
  for (const char* field : {"name", "kind"})
    if (NoText(ref.At(field))) errors.push_back(Required(Child(path, field)));
  std::string group = Text(ref.At("apiGroup")), ns = Text(ref.At("namespace"));
  if (group.empty() && Text(ref.At("kind")) != "PersistentVolumeClaim")
    errors.push_back(
        Invalid(path, Text(ref.At("kind")), "must be 'PersistentVolumeClaim' when referencing the default apiGroup"));
  if (!group.empty()) AppendInvalid(errors, Child(path, "apiGroup"), group, object::IsDns1123Subdomain(group));
  if (!ns.empty()) AppendInvalid(errors, Child(path, "namespace"), ns, object::NameIsDnsLabel(ns, false));
  return errors;
}

// The spec as Go prints it.
Value ClaimAsGo(const Value& spec) {
  auto reference = [](const Value& v, bool with_namespace) {
    if (!v.is_map()) return Value();
    std::vector<GoField> fields = {{"APIGroup", "apiGroup", Value()}, {"Kind", "kind", ""}, {"Name", "name", ""}};
    if (with_namespace) fields.push_back({"Namespace", "namespace", Value()});
    return GoStruct(v, fields);
  };
  Value out = GoStruct(spec, {{"AccessModes", "accessModes", Value()},
                              {"Selector", "selector", Value()},
                              {"Resources", "resources", Value()},
                              {"VolumeName", "volumeName", ""},
                              {"StorageClassName", "storageClassName", Value()},
                              {"VolumeMode", "volumeMode", Value()},
                              {"DataSource", "dataSource", Value()},
                              {"DataSourceRef", "dataSourceRef", Value()},
                              {"VolumeAttributesClassName", "volumeAttributesClassName", Value()}});
  out.Set("Resources",
          GoStruct(spec.At("resources"), {{"Limits", "limits", Value()}, {"Requests", "requests", Value()}}));
  out.Set("DataSource", reference(spec.At("dataSource"), false));
  out.Set("DataSourceRef", reference(spec.At("dataSourceRef"), true));
  return out;
}

// The new spec with all that an update may change set back to what it was; what differs then is an error.
Value WithMutableReset(const Value& claim, const Value& old) {
  Value spec = claim.At("spec");
  if (!spec.is_map()) return spec;
  const Value& before = old.At("spec");
  const Value &old_class = before.At("storageClassName"), &new_class = spec.At("storageClassName");
  const Value& annotation = object::AnnotationsOf(old).At(kClassAnnotation);
  bool gets_class = new_class.is_string() && !old_class.is_string();
  if (gets_class && (!annotation.is_string() || annotation == new_class)) spec.Remove("storageClassName");
  if (claim.At("status", "phase").string_or() != "Bound") return spec;
  const Value& size = before.At("resources", "requests", "storage");
  if (spec.At("resources", "requests").is_map()) spec.Ensure("resources").Ensure("requests").Set("storage", size);
  const Value& attributes = before.At("volumeAttributesClassName");
  if (attributes.is_null()) {
    spec.Remove("volumeAttributesClassName");
  } else {
    spec.Set("volumeAttributesClassName", attributes);
  }
  return spec;
}

// --- StorageClass and CSIDriver ---

FieldErrors ValidateParameters(const Value& parameters, const std::string& path) {
  constexpr size_t kMaxCount = 512;
  constexpr size_t kMaxSize = 256 * 1024;
  if (!parameters.is_map()) return {};
  if (parameters.map().size() > kMaxCount) return {object::TooLong(path, kMaxCount)};
  FieldErrors errors;
  size_t total = 0;
  for (const auto& e : parameters.map()) {
    if (e.key.empty()) errors.push_back(Invalid(path, e.key, "field can not be empty."));
    total += e.key.size() + e.value.string_or().size();
  }
  if (total > kMaxSize) errors.push_back(object::TooLong(path, kMaxSize));
  return errors;
}

FieldErrors ValidateTopologies(const Value& topologies, const std::string& path) {
  FieldErrors errors;
  const List& terms = Items(topologies);
  for (size_t i = 0; i < terms.size(); ++i) {
    std::string at = Child(Index(path, i), "matchLabelExpressions");
    const List& expressions = Items(terms[i].At("matchLabelExpressions"));
    std::set<std::string> keys;
    for (size_t j = 0; j < expressions.size(); ++j) {
      std::string key = Text(expressions[j].At("key")), item = Index(at, j), values = Child(item, "values");
      const List& list = Items(expressions[j].At("values"));
      if (list.empty()) errors.push_back(Required(values));
      std::set<std::string> seen;
      for (size_t k = 0; k < list.size(); ++k)
        if (!seen.insert(Text(list[k])).second) errors.push_back(Duplicate(Index(values, k), list[k]));
      AppendInvalid(errors, Child(item, "key"), key, object::IsQualifiedName(key));
      if (!keys.insert(key).second) errors.push_back(Duplicate(Child(item, "key"), key));
    }
    for (size_t j = 0; j < i; ++j)
      if (terms[j] == terms[i]) errors.push_back(Duplicate(at, ""));
  }
  return errors;
}

FieldErrors ValidateDriverSpec(const Value& spec, const std::string& path) {
  constexpr int64_t kLeast = 600, kMost = int64_t{1} << 32;
  FieldErrors errors;
  struct Needed {
    const char *field, *shown;
  };
  for (const Needed& n : {Needed{"attachRequired", "attachedRequired"}, Needed{"podInfoOnMount", "podInfoOnMount"},
                          Needed{"storageCapacity", "storageCapacity"}})
    if (!spec.At(n.field).is_bool()) errors.push_back(Required(Child(path, n.shown)));
  const Names policies = {"File", "None", "ReadWriteOnceWithFSType"};
  if (const Value& policy = spec.At("fsGroupPolicy"); policy.is_string() && !Contains(policies, policy.as_string()))
    errors.push_back(NotSupported(Child(path, "fsGroupPolicy"), policy, policies));
  const List& tokens = Items(spec.At("tokenRequests"));
  std::set<std::string> audiences;
  for (size_t i = 0; i < tokens.size(); ++i) {
    std::string at = Index(Child(path, "tokenRequests"), i), audience = Text(tokens[i].At("audience"));
    const Value& seconds = tokens[i].At("expirationSeconds");
    if (!audiences.insert(audience).second) {
      errors.push_back(Duplicate(Child(at, "audience"), audience));
    } else if (seconds.is_int() && seconds.as_int() < kLeast) {
      errors.push_back(
          Invalid(Child(at, "expirationSeconds"), seconds, "may not specify a duration less than 10 minutes"));
    } else if (seconds.is_int() && seconds.as_int() > kMost) {
      errors.push_back(
          Invalid(Child(at, "expirationSeconds"), seconds, "may not specify a duration larger than 2^32 seconds"));
    }
  }
  for (const Value& mode : Items(spec.At("volumeLifecycleModes")))
    if (!Contains({"Persistent", "Ephemeral"}, Text(mode)))
      errors.push_back(NotSupported(Child(path, "volumeLifecycleModes"), mode, {"Persistent", "Ephemeral"}));
  return errors;
}

}  // namespace

// --- PersistentVolume ---

FieldErrors ValidatePersistentVolume(const Value& object) {
  FieldErrors errors = Meta(object, false);
  Append(errors, ValidateVolumeSpec(object.At("spec"), "spec"));
  return errors;
}
FieldErrors ValidatePersistentVolumeUpdate(const Value& object, const Value& old) {
  FieldErrors errors = ValidatePersistentVolume(object);
  Append(errors, ValidatePersistentVolume(object));  // once for the object, once for its update
  const Value &now = object.At("spec"), &before = old.At("spec");
  Value source = SourceOf(now), old_source = SourceOf(before);
  if (old_source.At("csi").is_map() && source.At("csi").is_map() &&
      old_source.At("csi", "controllerExpandSecretRef").is_null())
    source.Ensure("csi").Remove("controllerExpandSecretRef");
  if (!SemanticEqual(source, old_source))
    errors.push_back(
        FieldForbidden("spec.persistentvolumesource",
                       "spec.persistentvolumesource is immutable after creation\n" + TextDiff(old_source, source)));
  Append(errors, ops::ValidateImmutable(now.At("volumeMode"), before.At("volumeMode"), "volumeMode"));
  if (const Value& affinity = before.At("nodeAffinity");
      affinity.is_map() && !SemanticEqual(now.At("nodeAffinity"), affinity))
    errors.push_back(Invalid("nodeAffinity", now.At("nodeAffinity"),
                             std::string(ops::kImmutable) + ", except for updating from beta label to GA"));
  if (before.At("volumeAttributesClassName").is_string() && !now.At("volumeAttributesClassName").is_string())
    errors.push_back(FieldForbidden("spec.volumeAttributesClassName", "update from non-nil value to nil is forbidden"));
  return errors;
}
FieldErrors ValidatePersistentVolumeStatusUpdate(const Value& object, const Value& old) {
  FieldErrors errors = MetaUpdate(object, old);
  if (object::ResourceVersionOf(object).empty()) errors.push_back(Required("resourceVersion"));
  return errors;
}

// --- PersistentVolumeClaim ---

FieldErrors ValidateClaimSpec(const Value& spec, const std::string& path) {
  FieldErrors errors;
  if (Size(spec.At("accessModes")) == 0)
    errors.push_back(Required(Child(path, "accessModes"), "at least 1 access mode is required"));
  Append(errors, ops::ValidateLabelSelector(spec.At("selector"), Child(path, "selector")));
  Append(errors, ValidateAccessModes(spec.At("accessModes"), Child(path, "accessModes")));
  const Value& size = spec.At("resources", "requests", "storage");
  std::string at = Key(Child(path, "resources"), "storage");
  if (size.is_null()) {
    errors.push_back(Required(at));
  } else {
    Append(errors, ValidatePositiveQuantity(size, at));
  }
  Append(errors, ValidateClassName(spec.At("storageClassName"), Child(path, "storageClassName")));
  if (const Value& mode = spec.At("volumeMode"); mode.is_string() && !Contains(kVolumeModes, mode.as_string()))
    errors.push_back(NotSupported(Child(path, "volumeMode"), mode, kVolumeModes));
  const Value &source = spec.At("dataSource"), &ref = spec.At("dataSourceRef");
  Append(errors, ValidateDataSource(source, Child(path, "dataSource")));
  Append(errors, ValidateDataSource(ref, Child(path, "dataSourceRef")));
  if (source.is_map() && ref.is_map()) {
    bool same = source.At("apiGroup") == ref.At("apiGroup") && Text(source.At("kind")) == Text(ref.At("kind")) &&
                Text(source.At("name")) == Text(ref.At("name"));
    if (!NoText(ref.At("namespace"))) {
      errors.push_back(
          Invalid(path, Child(path, "dataSource"), "may not be specified when dataSourceRef.namespace is specified"));
    } else if (!same) {
      errors.push_back(Invalid(path, Child(path, "dataSource"), "must match dataSourceRef"));
    }
  }
  Append(errors, ValidateClassName(spec.At("volumeAttributesClassName"), Child(path, "volumeAttributesClassName")));
  return errors;
}

FieldErrors ValidateClaim(const Value& object) {
  FieldErrors errors = Meta(object, true);
  Append(errors, ValidateClaimSpec(object.At("spec"), "spec"));
  return errors;
}

FieldErrors ValidateClaimUpdate(const Value& object, const Value& old) {
  FieldErrors errors = MetaUpdate(object, old);
  Append(errors, ValidateClaim(object));
  const Value &now_class = object::AnnotationsOf(object).At(kClassAnnotation),
              &old_class = object::AnnotationsOf(old).At(kClassAnnotation);
  if (Text(now_class) != Text(old_class))
    errors.push_back(
        Invalid(std::string("metadata.annotations.") + kClassAnnotation, Text(now_class), ops::kImmutable));
  Value now = WithMutableReset(object, old), before = old.At("spec");
  if (NoText(before.At("volumeName")) && before.is_map()) {
    before.Set("volumeName", Text(now.At("volumeName")));
  }
  if (!SemanticEqual(now, before))
    errors.push_back(FieldForbidden(
        "spec",
        "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n" +
            TextDiff(ClaimAsGo(before), ClaimAsGo(now))));
  const Value &new_size = object.At("spec", "resources", "requests", "storage"),
              &old_size = old.At("spec", "resources", "requests", "storage"),
              &given = old.At("status", "capacity", "storage");
  if (QuantityOf(new_size) < QuantityOf(old_size) && QuantityOf(new_size) <= QuantityOf(given))
    errors.push_back(FieldForbidden("spec.resources.requests.storage", "field can not be less than status.capacity"));
  Append(errors, ops::ValidateImmutable(object.At("spec", "volumeMode"), old.At("spec", "volumeMode"), "volumeMode"));
  const Value& attributes = object.At("spec", "volumeAttributesClassName");
  if (old.At("status", "currentVolumeAttributesClassName").is_string() && NoText(attributes) &&
      !(attributes == old.At("spec", "volumeAttributesClassName"))) {
    std::string what = attributes.is_string() ? "empty string" : "nil";
    errors.push_back(
        FieldForbidden("spec.volumeAttributesClassName",
                       "update to " + what + " is forbidden when status.currentVolumeAttributesClassName is not nil"));
  }
  return errors;
}

FieldErrors ValidateClaimStatusUpdate(const Value& object, const Value& old) {
  FieldErrors errors = MetaUpdate(object, old);
  if (object::ResourceVersionOf(object).empty()) errors.push_back(Required("resourceVersion"));
  if (Size(object.At("spec", "accessModes")) == 0) errors.push_back(Required("Spec.accessModes"));
  for (const char* field : {"capacity", "allocatedResources"}) {
    const Value& list = object.At("status", field);
    if (!list.is_map()) continue;
    for (const auto& e : list.map())
      if (QuantityOf(e.value).Sign() < 0)
        errors.push_back(Invalid(Key(Child("status", field), e.key), QuantityOf(e.value).Value(),
                                 "must be a valid resource quantity"));
  }
  return errors;
}

// --- StorageClass and CSIDriver ---

FieldErrors ValidateStorageClass(const Value& object) {
  FieldErrors errors = Meta(object, false);
  std::string provisioner = Text(object.At("provisioner")), lower;
  for (char c : provisioner) lower += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  if (provisioner.empty()) {
    errors.push_back(Required("provisioner"));
  } else {
    AppendInvalid(errors, "provisioner", lower, object::IsQualifiedName(lower));
  }
  Append(errors, ValidateParameters(object.At("parameters"), "parameters"));
  const Value &policy = object.At("reclaimPolicy"), &binding = object.At("volumeBindingMode");
  if (!NoText(policy) && !Contains({"Delete", "Retain"}, policy.as_string()))
    errors.push_back(NotSupported("reclaimPolicy", policy, {"Delete", "Retain"}));
  if (binding.is_null()) {
    errors.push_back(Required("volumeBindingMode"));
  } else if (!Contains({"Immediate", "WaitForFirstConsumer"}, Text(binding))) {
    errors.push_back(NotSupported("volumeBindingMode", binding, {"Immediate", "WaitForFirstConsumer"}));
  }
  Append(errors, ValidateTopologies(object.At("allowedTopologies"), "allowedTopologies"));
  return errors;
}
FieldErrors ValidateStorageClassUpdate(const Value& object, const Value& old) {
  FieldErrors errors = ValidateStorageClass(object);
  Append(errors, MetaUpdate(object, old));
  for (const char* field : {"parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"})
    Append(errors, ops::ValidateImmutable(object.At(field), old.At(field), field));
  return errors;
}

FieldErrors ValidateCsiDriver(const Value& object) {
  FieldErrors errors = Meta(object, false);
  Append(errors, ValidateDriverSpec(object.At("spec"), "spec"));
  return errors;
}
FieldErrors ValidateCsiDriverUpdate(const Value& object, const Value& old) {
  FieldErrors errors = MetaUpdate(object, old);
  Append(errors, ValidateDriverSpec(object.At("spec"), "spec"));
  const Value &now = object.At("spec"), &before = old.At("spec");
  Append(errors,
         ops::ValidateImmutable(now.At("attachRequired"), before.At("attachRequired"), "spec.attachedRequired"));
  Append(errors, ops::ValidateImmutable(now.At("volumeLifecycleModes"), before.At("volumeLifecycleModes"),
                                        "spec.volumeLifecycleModes"));
  return errors;
}

}  // namespace apiserver::registry::validation
