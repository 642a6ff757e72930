// Volumes of pods and templates. Sources of retired in-tree drivers are checked for being alone, their contents are
// left to the schema.
#include "apiserver/registry/validation/check.h"
#include "base/strings.h"

namespace apiserver::registry::validation {
namespace {

constexpr const char* kModeReason = "must be a number between 0 and 0777 (octal), both inclusive";
const Names kVolumeFields = {"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace",
                             "metadata.uid"};

FieldErrors ValidateMode(const Value& source, const std::string& path, const char* field = "defaultMode") {
  const Value& mode = source.At(field);
  if (!mode.is_int() || (mode.as_int() >= 0 && mode.as_int() <= 0777)) return {};
  return {Invalid(Child(path, field), mode, kModeReason)};
}

// A path inside a volume: relative, no "..", nothing that begins like it.
FieldErrors ValidateReservedPath(const std::string& p, const std::string& path) {
  FieldErrors errors = ValidateLocalPath(p, path);
  if (p.starts_with("..") && p != ".." && !p.starts_with("../"))
    errors.push_back(Invalid(path, p, "must not start with '..'"));
  return errors;
}

FieldErrors ValidateKeyToPath(const Value& item, const std::string& path) {
  FieldErrors errors;
  if (NoText(item.At("key"))) errors.push_back(Required(Child(path, "key")));
  if (NoText(item.At("path"))) errors.push_back(Required(Child(path, "path")));
  Append(errors, ValidateReservedPath(Text(item.At("path")), Child(path, "path")));
  Append(errors, ValidateMode(item, path, "mode"));
  return errors;
}

FieldErrors ValidateItems(const Value& source, const std::string& path) {
  FieldErrors errors;
  const List& items = Items(source.At("items"));
  for (size_t i = 0; i < items.size(); ++i) Append(errors, ValidateKeyToPath(items[i], Index(Child(path, "items"), i)));
  return errors;
}

// A secret or config map as a volume; `name_field` is secretName or name.
FieldErrors ValidateKeyed(const Value& source, const char* name_field, const std::string& path) {
  FieldErrors errors;
  if (NoText(source.At(name_field))) errors.push_back(Required(Child(path, name_field)));
  Append(errors, ValidateMode(source, path));
  Append(errors, ValidateItems(source, path));
  return errors;
}

FieldErrors ValidateDownwardFile(const Value& file, const std::string& path) {
  FieldErrors errors;
  if (NoText(file.At("path"))) errors.push_back(Required(Child(path, "path")));
  Append(errors, ValidateReservedPath(Text(file.At("path")), Child(path, "path")));
  const Value& field = file.At("fieldRef");
  const Value& resource = file.At("resourceFieldRef");
  if (field.is_map()) {
    Append(errors, ValidateObjectFieldRef(field, kVolumeFields, Child(path, "fieldRef")));
    if (resource.is_map())
      errors.push_back(Invalid(path, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"));
  } else if (resource.is_map()) {
    Append(errors, ValidateResourceFieldRef(resource, true, Child(path, "resourceFieldRef")));
  } else {
    errors.push_back(Required(path, "one of fieldRef and resourceFieldRef is required"));
  }
  Append(errors, ValidateMode(file, path, "mode"));
  return errors;
}

FieldErrors ValidateTokenSource(const Value& token, const std::string& at, const std::string& volume) {
  FieldErrors errors;
  int64_t seconds = token.At("expirationSeconds").int_or();
  if (seconds < 600) {
    errors.push_back(
        Invalid(Child(at, "expirationSeconds"), seconds, "may not specify a duration less than 10 minutes"));
  }
  if (seconds > int64_t{1} << 32) {
    errors.push_back(
        Invalid(Child(at, "expirationSeconds"), seconds, "may not specify a duration larger than 2^32 seconds"));
  }
  std::string p = Text(token.At("path"));
  if (p.empty()) {
    errors.push_back(Required(Child(volume, "path")));
  } else {
    Append(errors, ValidateReservedPath(p, Child(volume, "path")));
  }
  return errors;
}

// Files of all sources of one projected volume: no two may have the same path.
class Projection {
 public:
  explicit Projection(std::string path) : path_(std::move(path)) {}

  FieldErrors Check(const Value& volume) {
    FieldErrors errors = ValidateMode(volume, path_);
    const List& sources = Items(volume.At("sources"));
    for (size_t i = 0; i < sources.size(); ++i) Append(errors, Source(sources[i], Index(Child(path_, "sources"), i)));
    return errors;
  }

 private:
  FieldErrors Source(const Value& s, const std::string& at) {
    FieldErrors errors;
    int count = 0;
    for (const char* kind : {"secret", "configMap"}) {
      if (!s.At(kind).is_map()) continue;
      ++count;
      if (NoText(s.At(kind, "name"))) errors.push_back(Required(Child(at, kind, "name")));
      Append(errors, ValidateItems(s.At(kind), Child(at, kind)));
      for (const Value& item : Items(s.At(kind, "items")))
        Append(errors, Once(Text(item.At("path")), Text(s.At(kind, "name"))));
    }
    if (s.At("downwardAPI").is_map()) {
      ++count;
      for (const Value& file : Items(s.At("downwardAPI", "items"))) {
        Append(errors, ValidateDownwardFile(file, Child(at, "downwardAPI")));
        Append(errors, Once(Text(file.At("path")), Text(file.At("path"))));
      }
    }
    if (s.At("serviceAccountToken").is_map()) {
      ++count;
      Append(errors, ValidateTokenSource(s.At("serviceAccountToken"), Child(at, "serviceAccountToken"), path_));
    }
    for (const char* kind : {"clusterTrustBundle", "podCertificate"}) count += s.At(kind).is_map();
    if (count > 1) errors.push_back(FieldForbidden(at, "may not specify more than 1 volume type per source"));
    return errors;
  }

  FieldErrors Once(const std::string& p, const std::string& shown) {
    if (p.empty() || seen_.insert(p).second) return {};
    return {Invalid(path_, shown, "conflicting duplicate paths")};
  }

  std::string path_;
  std::set<std::string> seen_;
};

const Names kHostPathTypes = {"",     "BlockDevice",  "CharDevice", "Directory", "DirectoryOrCreate",
                              "File", "FileOrCreate", "Socket"};

FieldErrors ValidateHostPath(const Value& source, const std::string& path) {
  std::string p = Text(source.At("path"));
  if (p.empty()) return {Required(Child(path, "path"))};
  FieldErrors errors;
  if (Contains(base::Split(p, '/'), "..")) errors.push_back(Invalid(Child(path, "path"), p, "must not contain '..'"));
  if (source.At("type").is_string() && !Contains(kHostPathTypes, source.At("type").as_string()))
    errors.push_back(NotSupported(Child(path, "type"), source.At("type"), kHostPathTypes));
  return errors;
}

FieldErrors ValidateNfs(const Value& source, const std::string& path) {
  FieldErrors errors;
  if (NoText(source.At("server"))) errors.push_back(Required(Child(path, "server")));
  std::string p = Text(source.At("path"));
  if (p.empty()) errors.push_back(Required(Child(path, "path")));
  if (!p.starts_with('/')) errors.push_back(Invalid(Child(path, "path"), p, "must be an absolute path"));
  return errors;
}

FieldErrors ValidateSource(std::string_view kind, const Value& source, const std::string& path) {
  if (kind == "emptyDir" && source.At("sizeLimit").is_string() && QuantityOf(source.At("sizeLimit")).Sign() < 0)
    return {FieldForbidden(Child(path, "sizeLimit"), "SizeLimit field must be a valid resource quantity")};
  if (kind == "hostPath") return ValidateHostPath(source, path);
  if (kind == "secret") return ValidateKeyed(source, "secretName", path);
  if (kind == "configMap") return ValidateKeyed(source, "name", path);
  if (kind == "nfs") return ValidateNfs(source, path);
  if (kind == "persistentVolumeClaim" && NoText(source.At("claimName"))) return {Required(Child(path, "claimName"))};
  if (kind == "projected") return Projection(path).Check(source);
  if (kind == "downwardAPI") {
    FieldErrors errors = ValidateMode(source, path);
    for (const Value& file : Items(source.At("items"))) Append(errors, ValidateDownwardFile(file, path));
    return errors;
  }
  return {};
}

// In the order in which the original looks at them: the first one given is the volume, the others are too many.
constexpr const char* kSources[] = {"emptyDir",
                                    "hostPath",
                                    "gitRepo",
                                    "gcePersistentDisk",
                                    "awsElasticBlockStore",
                                    "secret",
                                    "nfs",
                                    "iscsi",
                                    "glusterfs",
                                    "flocker",
                                    "persistentVolumeClaim",
                                    "rbd",
                                    "cinder",
                                    "cephfs",
                                    "quobyte",
                                    "downwardAPI",
                                    "fc",
                                    "configMap",
                                    "azureFile",
                                    "vsphereVolume",
                                    "photonPersistentDisk",
                                    "portworxVolume",
                                    "azureDisk",
                                    "storageos",
                                    "projected",
                                    "scaleIO",
                                    "csi",
                                    "ephemeral",
                                    "image"};

FieldErrors ValidateVolume(const Value& volume, const std::string& path) {
  FieldErrors errors;
  int count = 0;
  for (const char* kind : kSources) {
    const Value& source = volume.At(kind);
    if (!source.is_map()) continue;
    if (count++ > 0) {
      errors.push_back(FieldForbidden(Child(path, kind), "may not specify more than 1 volume type"));
    } else {
      Append(errors, ValidateSource(kind, source, Child(path, kind)));
    }
  }
  if (count == 0) errors.push_back(Required(path, "must specify a volume type"));
  return errors;
}

}  // namespace

FieldErrors ValidatePodVolumeSource(std::string_view kind, const Value& source, const std::string& path) {
  return ValidateSource(kind, source, path);
}

FieldErrors ValidateVolumes(const Value& volumes, const std::string& path, const std::string& pod_name,
                            std::set<std::string>* good) {
  FieldErrors errors;
  std::set<std::string> claims;  // that ephemeral volumes of this pod bring into being
  for (const Value& v : Items(volumes))
    if (v.At("ephemeral").is_map() && !pod_name.empty()) claims.insert(pod_name + "-" + Text(v.At("name")));
  for (size_t i = 0; i < Size(volumes); ++i) {
    const Value& v = volumes.list()[i];
    std::string at = Index(path, i), name = Text(v.At("name"));
    FieldErrors own = ValidateVolume(v, at);
    if (name.empty()) {
      own.push_back(Required(Child(at, "name")));
    } else {
      AppendInvalid(own, Child(at, "name"), name, object::IsDns1123Label(name));
    }
    if (good->contains(name)) own.push_back(Duplicate(Child(at, "name"), name));
    if (own.empty()) good->insert(name);
    Append(errors, std::move(own));
    std::string claim = Text(v.At("persistentVolumeClaim", "claimName"));
    if (claims.contains(claim)) {
      errors.push_back(Invalid(Child(at, "persistentVolumeClaim", "claimName"), claim,
                               "must not reference a PVC that gets created for an ephemeral volume"));
    }
  }
  return errors;
}

namespace {

// "metadata.labels['a']" -> path and key.
bool SplitSubscript(const std::string& text, std::string* path, std::string* key) {
  if (!text.ends_with("']")) return false;
  size_t open = text.find("['");
  if (open == std::string::npos || open == 0) return false;
  *path = text.substr(0, open);
  *key = text.substr(open + 2, text.size() - open - 4);
  return true;
}

const Names kKnownFields = {"metadata.annotations", "metadata.labels", "metadata.name",      "metadata.namespace",
                            "metadata.uid",         "spec.nodeName",   "spec.restartPolicy", "spec.serviceAccountName",
                            "spec.schedulerName",   "status.phase",    "status.hostIP",      "status.hostIPs",
                            "status.podIP",         "status.podIPs",   "spec.host"};

}  // namespace

FieldErrors ValidateObjectFieldRef(const Value& ref, const Names& allowed, const std::string& path) {
  if (NoText(ref.At("apiVersion"))) return {Required(Child(path, "apiVersion"))};
  std::string field = Text(ref.At("fieldPath")), at = Child(path, "fieldPath");
  if (field.empty()) return {Required(at)};
  auto refuse = [&](const std::string& why) {
    return FieldErrors{Invalid(at, field, "error converting fieldPath: " + why)};
  };
  if (ref.At("apiVersion").string_or() != "v1") return refuse("unsupported pod version: " + Text(ref.At("apiVersion")));
  std::string base, key;
  if (SplitSubscript(field, &base, &key)) {
    if (base != "metadata.annotations" && base != "metadata.labels")
      return refuse("field label does not support subscript: " + field);
    if (base == "metadata.annotations")
      for (char& c : key)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return Reasoned(path, key, object::IsQualifiedName(key));
  }
  if (!Contains(kKnownFields, field)) return refuse("field label not supported: " + field);
  if (!Contains(allowed, field == "spec.host" ? "spec.nodeName" : field)) return {NotSupported(at, field, allowed)};
  return {};
}

FieldErrors ValidateResourceFieldRef(const Value& ref, bool in_volume, const std::string& path) {
  static const Names kResources = {"limits.cpu",   "limits.ephemeral-storage",   "limits.memory",
                                   "requests.cpu", "requests.ephemeral-storage", "requests.memory"};
  std::string resource = Text(ref.At("resource"));
  if (in_volume && NoText(ref.At("containerName"))) return {Required(Child(path, "containerName"))};
  if (resource.empty()) return {Required(Child(path, "resource"))};
  bool huge = resource.starts_with("limits.hugepages-") || resource.starts_with("requests.hugepages-");
  if (!huge && !Contains(kResources, resource)) return {NotSupported(Child(path, "resource"), resource, kResources)};
  std::string divisor = QuantityOf(ref.At("divisor")).ToString();
  if (divisor == "0") return {};
  bool cpu = resource.ends_with(".cpu");
  bool fits =
      cpu ? Contains({"1m", "1"}, divisor)
          : Contains({"1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"}, divisor);
  if (fits) return {};
  const char* what =
      cpu ? "only divisor's values 1m and 1 are supported with the cpu resource"
      : resource.ends_with(".memory")
          ? "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported "
            "with the memory resource"
          : "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported "
            "with the local ephemeral storage resource";
  return {Invalid(Child(path, "divisor"), ref.At("divisor"), what)};
}

}  // namespace apiserver::registry::validation
