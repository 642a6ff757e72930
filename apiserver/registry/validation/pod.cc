// Pods and pod templates.
#include <algorithm>
#include <limits>

#include "apiserver/registry/validation/containers.h"
#include "apiserver/registry/validation/kinds.h"
#include "base/strings.h"

namespace apiserver::registry::validation {
namespace {

constexpr int64_t kMaxInt32 = std::numeric_limits<int32_t>::max();
constexpr const char* kMirror = "kubernetes.io/config.mirror";
const Names kRestartPolicies = {"Always", "OnFailure", "Never"};

FieldErrors ValidateHostNetworkPorts(const Value& spec, const std::string& path, bool is_pod) {
  FieldErrors errors;
  if (!spec.At("hostNetwork").bool_or()) return errors;
  const List& containers = Items(spec.At("containers"));
  for (size_t i = 0; i < containers.size(); ++i) {
    const List& ports = Items(containers[i].At("ports"));
    for (size_t j = 0; j < ports.size(); ++j) {
      int64_t host = ports[j].At("hostPort").int_or();
      if ((!is_pod && host == 0) || host == ports[j].At("containerPort").int_or()) continue;
      errors.push_back(Invalid(Child(Index(Child(Index(Child(path, "containers"), i), "ports"), j), "hostPort"), host,
                               "must match `containerPort` when `hostNetwork` is true"));
    }
  }
  return errors;
}

FieldErrors ValidatePodSecurity(const Value& sc, const Value& spec, const std::string& path) {
  FieldErrors errors;
  if (!sc.is_map()) return errors;
  for (const char* field : {"fsGroup", "runAsUser", "runAsGroup"})
    if (sc.At(field).is_int())
      AppendInvalid(errors, Child(path, field), sc.At(field), object::IsUserId(sc.At(field).as_int()));
  const List& groups = Items(sc.At("supplementalGroups"));
  for (size_t i = 0; i < groups.size(); ++i)
    AppendInvalid(errors, Index(Child(path, "supplementalGroups"), i), groups[i], object::IsUserId(groups[i].int_or()));
  if (spec.At("shareProcessNamespace").bool_or() && spec.At("hostPID").bool_or()) {
    errors.push_back(Invalid(Child(path, "shareProcessNamespace"), true,
                             "ShareProcessNamespace and HostPID cannot both be enabled"));
  }
  if (const Value& policy = sc.At("fsGroupChangePolicy");
      policy.is_string() && !Contains({"Always", "OnRootMismatch"}, policy.as_string()))
    errors.push_back(NotSupported(Child(path, "fsGroupChangePolicy"), policy, {"Always", "OnRootMismatch"}));
  Append(errors, ValidateSeccompProfile(sc.At("seccompProfile"), Child(path, "seccompProfile")));
  Append(errors, ValidateAppArmorProfile(sc.At("appArmorProfile"), Child(path, "appArmorProfile")));
  if (const Value& policy = sc.At("supplementalGroupsPolicy");
      policy.is_string() && !Contains({"Merge", "Strict"}, policy.as_string()))
    errors.push_back(NotSupported(Child(path, "supplementalGroupsPolicy"), policy, {"Merge", "Strict"}));
  return errors;
}

FieldErrors ValidateDns(const Value& spec, const std::string& path) {
  FieldErrors errors;
  const Value& config = spec.At("dnsConfig");
  if (spec.At("dnsPolicy").string_or() == "None") {
    if (!config.is_map()) return {Required(path, "must provide `dnsConfig` when `dnsPolicy` is None")};
    if (Size(config.At("nameservers")) == 0) {
      return {
          Required(Child(path, "nameservers"), "must provide at least one DNS nameserver when `dnsPolicy` is None")};
    }
  }
  const Names servers = object::StringsOf(config.At("nameservers")),
              searches = object::StringsOf(config.At("searches"));
  if (servers.size() > 3)
    errors.push_back(
        Invalid(Child(path, "nameservers"), config.At("nameservers"), "must not have more than 3 nameservers"));
  for (size_t i = 0; i < servers.size(); ++i)
    Append(errors, object::IsValidLegacyIp(Index(Child(path, "nameservers"), i), servers[i]));
  if (searches.size() > 32)
    errors.push_back(
        Invalid(Child(path, "searches"), config.At("searches"), "must not have more than 32 search paths"));
  if (base::Join(searches, " ").size() > 2048) {
    errors.push_back(Invalid(Child(path, "searches"), config.At("searches"),
                             "must not have more than 2048 characters (including spaces) in the search list"));
  }
  for (size_t i = 0; i < searches.size(); ++i) {
    std::string search = searches[i];
    if (search == ".") continue;
    if (search.ends_with('.')) search.pop_back();
    AppendInvalid(errors, Index(Child(path, "searches"), i), search, object::IsDns1123SubdomainWithUnderscore(search));
  }
  const List& options = Items(config.At("options"));
  for (size_t i = 0; i < options.size(); ++i)
    if (NoText(options[i].At("name")))
      errors.push_back(Required(Index(Child(path, "options"), i), "must not be empty"));
  return errors;
}

FieldErrors ValidateGates(const Value& spec, const std::string& path) {
  FieldErrors errors;
  const List& readiness = Items(spec.At("readinessGates"));
  for (size_t i = 0; i < readiness.size(); ++i) {
    std::string type = Text(readiness[i].At("conditionType"));
    AppendInvalid(errors, Child(Index(Child(path, "readinessGates"), i), "conditionType"), type,
                  object::IsQualifiedName(type));
  }
  std::set<std::string> seen;
  const List& scheduling = Items(spec.At("schedulingGates"));
  for (size_t i = 0; i < scheduling.size(); ++i) {
    std::string name = Text(scheduling[i].At("name")), at = Index(Child(path, "schedulingGates"), i);
    AppendInvalid(errors, at, name, object::IsQualifiedName(name));
    if (!seen.insert(name).second) errors.push_back(Duplicate(at, name));
  }
  return errors;
}

FieldErrors ValidateHostnameOverride(const Value& spec, const std::string& path) {
  constexpr size_t kMaxHostname = 64;
  FieldErrors errors;
  const Value& name = spec.At("hostnameOverride");
  if (!name.is_string()) return errors;
  if (spec.At("setHostnameAsFQDN").bool_or())
    errors.push_back(FieldForbidden(path, "may not be specified when setHostnameAsFQDN is true"));
  if (spec.At("hostNetwork").bool_or())
    errors.push_back(FieldForbidden(path, "may not be specified when hostNetwork is true"));
  if (name.as_string().size() > kMaxHostname) errors.push_back(object::TooLong(path, kMaxHostname));
  AppendInvalid(errors, path, name, object::IsDns1123Subdomain(name.as_string()));
  return errors;
}

FieldErrors ValidateHostUsers(const Value& spec, const std::string& path) {
  FieldErrors errors;
  if (!spec.At("hostUsers").is_bool() || spec.At("hostUsers").as_bool()) return errors;
  if (spec.At("hostNetwork").bool_or())
    errors.push_back(FieldForbidden(Child(path, "hostNetwork"), "when `hostUsers` is false"));
  if (spec.At("hostPID").bool_or())
    errors.push_back(FieldForbidden(Child(path, "HostPID"), "when `hostUsers` is false"));
  if (spec.At("hostIPC").bool_or())
    errors.push_back(FieldForbidden(Child(path, "HostIPC"), "when `hostUsers` is false"));
  return errors;
}

FieldErrors ValidateNames(const Value& spec, const std::string& path) {
  FieldErrors errors;
  for (const char* field : {"serviceAccountName", "nodeName"})
    if (std::string name = Text(spec.At(field)); !name.empty())
      AppendInvalid(errors, Child(path, field), name, object::IsDns1123Subdomain(name));
  if (const Value& deadline = spec.At("activeDeadlineSeconds"); deadline.is_int())
    AppendInvalid(errors, Child(path, "activeDeadlineSeconds"), deadline,
                  object::IsInRange(deadline.as_int(), 1, kMaxInt32));
  for (const char* field : {"hostname", "subdomain"})
    if (std::string name = Text(spec.At(field)); !name.empty())
      AppendInvalid(errors, Child(path, field), name, object::IsDns1123Label(name));
  Append(errors, ValidateTolerations(spec.At("tolerations"), Child(path, "tolerations")));
  const List& aliases = Items(spec.At("hostAliases"));
  for (size_t i = 0; i < aliases.size(); ++i) {
    std::string at = Index(Child(path, "hostAliases"), i);
    Append(errors, object::IsValidLegacyIp(Child(at, "ip"), Text(aliases[i].At("ip"))));
    const Names names = object::StringsOf(aliases[i].At("hostnames"));
    for (size_t j = 0; j < names.size(); ++j)
      AppendInvalid(errors, Index(Child(at, "hostnames"), j), names[j], object::IsDns1123Subdomain(names[j]));
  }
  for (const char* field : {"priorityClassName", "runtimeClassName"})
    if (std::string name = Text(spec.At(field)); !name.empty())
      AppendInvalid(errors, Child(path, field), name, object::IsDns1123Subdomain(name));
  return errors;
}

FieldErrors ValidateRest(const Value& spec, const std::string& path) {
  FieldErrors errors;
  if (const Value& policy = spec.At("preemptionPolicy");
      policy.is_string() && !Contains({"PreemptLowerPriority", "Never"}, policy.as_string()))
    errors.push_back(NotSupported(Child(path, "preemptionPolicy"), policy, {"PreemptLowerPriority", "Never"}));
  if (const Value& overhead = spec.At("overhead"); overhead.is_map())
    Append(errors, ValidateContainerResources(Value(Map{{"limits", overhead}}), Child(path, "overhead")));
  if (const Value& os = spec.At("os"); os.is_map()) {
    if (NoText(os.At("name"))) {
      errors.push_back(Required(Child(path, "os", "name")));
    } else if (!Contains({"linux", "windows"}, os.At("name").string_or())) {
      errors.push_back(NotSupported(Child(path, "os"), os.At("name"), {"linux", "windows"}));
    }
  }
  return errors;
}

// `old`: the annotations it had, null on create.
FieldErrors ValidateMetadataAndSpec(const Value& pod, const Value& old) {
  FieldErrors errors = Meta(pod, true);
  const Value& spec = pod.At("spec");
  const Value& annotations = object::AnnotationsOf(pod);
  Append(errors, ValidatePodAnnotations(annotations, spec, "metadata.annotations", old));
  Append(errors, ValidatePodSpec(spec, "spec", {.is_pod = true, .name = std::string(object::NameOf(pod))}));
  if (NoText(spec.At("serviceAccountName"))) {
    const List& volumes = Items(spec.At("volumes"));
    for (size_t i = 0; i < volumes.size(); ++i) {
      const List& sources = Items(volumes[i].At("projected", "sources"));
      for (size_t j = 0; j < sources.size(); ++j) {
        if (!sources[j].At("serviceAccountToken").is_map()) continue;
        std::string at = Index(Child(Child(Index("spec.volumes", i), "projected"), "sources"), j);
        errors.push_back(FieldForbidden(Child(at, "serviceAccountToken"),
                                        "must not be specified when serviceAccountName is not set"));
      }
    }
  }
  for (const char* list : {"containers", "initContainers"}) {
    const List& containers = Items(spec.At(list));
    for (size_t i = 0; i < containers.size(); ++i) {
      std::string image = Text(containers[i].At("image"));
      if (image.empty() || image.find_first_of(" \t\r\n") != 0) {
        if (image.empty() || image.find_last_of(" \t\r\n") != image.size() - 1) continue;
      }
      errors.push_back(Invalid(Child(Index(Child("spec", list), i), "image"), image,
                               "must not have leading or trailing whitespace"));
    }
  }
  return errors;
}

FieldErrors ValidateContainerListUpdate(const Value& now, const Value& before, const std::string& path, bool* stop) {
  *stop = Size(now) != Size(before);
  if (*stop) return {FieldForbidden(path, "pod updates may not add or remove containers")};
  FieldErrors errors;
  for (size_t i = 0; i < Size(now); ++i)
    if (NoText(now.list()[i].At("image"))) errors.push_back(Required(Child(Index(path, i), "image")));
  return errors;
}

// Tolerations may be added, and their seconds may change.
FieldErrors ValidateAddedTolerations(const Value& now, const Value& before) {
  for (Value old : Items(before)) {
    bool found = std::any_of(Items(now).begin(), Items(now).end(), [&](const Value& t) {
      Value same = old;
      same.Remove("tolerationSeconds");
      if (!t.At("tolerationSeconds").is_null()) same.Set("tolerationSeconds", t.At("tolerationSeconds"));
      return SemanticEqual(same, t);
    });
    if (!found) {
      return {
          FieldForbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds")};
    }
  }
  return ValidateTolerations(now, "spec.tolerations");
}

FieldErrors ValidateDeletedGates(const Value& now, const Value& before) {
  std::set<std::string> had;
  for (const Value& g : Items(before)) had.insert(Text(g.At("name")));
  FieldErrors errors;
  const List& gates = Items(now);
  for (size_t i = 0; i < gates.size(); ++i) {
    std::string name = Text(gates[i].At("name"));
    if (had.contains(name)) continue;
    errors.push_back(FieldForbidden(Child(Index("spec.schedulingGates", i), "name"),
                                    "only deletion is allowed, but found new scheduling gate '" + name + "'"));
  }
  return errors;
}

void CopyImages(Value& to, const Value& from, const char* list) {
  if (!to.At(list).is_list()) return;
  List& containers = to.Ensure(list).list();
  for (size_t i = 0; i < containers.size(); ++i) containers[i].Set("image", from.At(list).At(i).At("image"));
}

void CopyField(Value& to, const Value& from, const char* field) {
  if (from.At(field).is_null()) {
    to.Remove(field);
  } else {
    to.Set(field, from.At(field));
  }
}

// Everything that an update may change is set back; what differs then may not be changed.
bool ChangesMore(const Value& pod, const Value& old) {
  Value spec = pod.At("spec");
  const Value& before = old.At("spec");
  CopyImages(spec, before, "containers");
  CopyImages(spec, before, "initContainers");
  for (const char* field : {"activeDeadlineSeconds", "schedulingGates", "tolerations"}) CopyField(spec, before, field);
  bool was_negative = before.At("terminationGracePeriodSeconds").int_or() < 0;
  if (was_negative && spec.At("terminationGracePeriodSeconds").int_or() == 1)
    CopyField(spec, before, "terminationGracePeriodSeconds");
  if (Size(before.At("schedulingGates")) > 0) {
    CopyField(spec, before, "nodeSelector");
    CopyField(spec, before, "affinity");
  }
  return !SemanticEqual(spec, before);
}

FieldErrors ValidateDeadlineUpdate(const Value& pod, const Value& old, bool* stop) {
  const Value& now = pod.At("spec", "activeDeadlineSeconds");
  const Value& before = old.At("spec", "activeDeadlineSeconds");
  const std::string path = "spec.activeDeadlineSeconds";
  if (!now.is_int()) {
    if (!before.is_int()) return {};
    return {Invalid(path, Value(), "must not update from a positive integer to nil value")};
  }
  if (object::Reasons reasons = object::IsInRange(now.as_int(), 0, kMaxInt32); !reasons.empty()) {
    *stop = true;
    return Reasoned(path, now, reasons);
  }
  *stop = before.is_int() && before.as_int() < now.as_int();
  if (*stop) return {Invalid(path, now, "must be less than or equal to previous value")};
  return {};
}

// `single` is the older field of one address; what was there before is tolerated.
FieldErrors ValidateIps(const Value& status, const char* single, const char* list_field, const Value& old) {
  const Value& ips = status.At(list_field);
  std::string path = Child("status", list_field);

  FieldErrors errors;
  const List& list = Items(ips);
  if (!list.empty() && Text(status.At(single)) != Text(list[0].At("ip")))
    errors.push_back(
        Invalid(Child(Index(path, 0), "ip"), list[0].At("ip"), "must be equal to `" + std::string(single) + "`"));
  std::set<std::string> known;
  for (const Value& before : Items(old.At(list_field))) known.insert(Text(before.At("ip")));
  int v4 = 0, v6 = 0;
  for (size_t i = 0; i < list.size(); ++i) {
    std::string text = Text(list[i].At("ip"));
    if (!known.contains(text)) Append(errors, object::IsValidLegacyIp(Index(path, i), text));
    if (auto ip = object::ParseIp(text)) ++(ip->v4 ? v4 : v6);
  }
  if (list.size() > 1 && errors.empty() && (v4 > 1 || v6 > 1))
    errors.push_back(Invalid(path, ips, "may specify no more than one IP for each IP family"));
  return errors;
}

}  // namespace

FieldErrors ValidatePodSpec(const Value& spec, const std::string& path, const PodOptions& options) {
  FieldErrors errors;
  PodShape shape{.restart_policy = Text(spec.At("restartPolicy")), .grace = spec.At("terminationGracePeriodSeconds")};
  if (!shape.grace.is_int()) errors.push_back(Required(Child(path, "terminationGracePeriodSeconds")));
  Append(errors, ValidateVolumes(spec.At("volumes"), Child(path, "volumes"), options.name, &shape.volumes));
  Append(errors, ValidateResourceClaims(spec, path));
  Append(errors, ValidateContainers(spec.At("containers"), shape, Child(path, "containers")));
  Append(errors, ValidateInitContainers(spec.At("initContainers"), spec.At("containers"), shape,
                                        Child(path, "initContainers")));
  Append(errors, ValidateEphemeralContainers(spec, shape, Child(path, "ephemeralContainers")));
  if (const Value& resources = spec.At("resources"); resources.is_map())
    Append(errors, ValidateContainerResources(resources, Child(path, "resources")));
  Append(errors, ValidateHostNetworkPorts(spec, path, options.is_pod));
  Append(errors, OneOf(Child(path, "restartPolicy"), spec.At("restartPolicy"), kRestartPolicies));
  Append(errors, OneOf(Child(path, "dnsPolicy"), spec.At("dnsPolicy"),
                       {"ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"}));
  Append(errors, ops::ValidateLabels(spec.At("nodeSelector"), Child(path, "nodeSelector")));
  Append(errors, ValidatePodSecurity(spec.At("securityContext"), spec, Child(path, "securityContext")));
  Append(errors, ValidateAffinity(spec.At("affinity"), Child(path, "affinity")));
  Append(errors, ValidateDns(spec, Child(path, "dnsConfig")));
  Append(errors, ValidateGates(spec, path));
  Append(errors,
         ValidateTopologySpread(spec.At("topologySpreadConstraints"), Child(path, "topologySpreadConstraints")));
  Append(errors, ValidateHostUsers(spec, path));
  Append(errors, ValidateHostnameOverride(spec, Child(path, "hostnameOverride")));
  Append(errors, ValidateNames(spec, path));
  Append(errors, ValidateRest(spec, path));
  return errors;
}

FieldErrors ValidatePod(const Value& pod) {
  FieldErrors errors = ValidateMetadataAndSpec(pod, Value());
  const Value& spec = pod.At("spec");
  if (Size(spec.At("ephemeralContainers")) > 0)
    errors.push_back(FieldForbidden("spec.ephemeralContainers", "cannot be set on create"));
  if (!NoText(spec.At("nodeName")) && Size(spec.At("schedulingGates")) > 0)
    errors.push_back(FieldForbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared"));
  Append(errors, ValidateProfilesMatch(object::AnnotationsOf(pod), spec, "spec"));
  return errors;
}

FieldErrors ValidatePodUpdate(const Value& pod, const Value& old) {
  FieldErrors errors = MetaUpdate(pod, old);
  Append(errors, ValidateMetadataAndSpec(pod, object::AnnotationsOf(old)));
  Append(errors, ValidatePodAnnotationUpdates(pod, old));
  for (const char* list : {"containers", "initContainers"}) {
    bool stop = false;
    Append(errors, ValidateContainerListUpdate(pod.At("spec", list), old.At("spec", list), Child("spec", list), &stop));
    if (stop) return errors;
  }
  bool stop = false;
  Append(errors, ValidateDeadlineUpdate(pod, old, &stop));
  if (stop) return errors;
  Append(errors, ValidateAddedTolerations(pod.At("spec", "tolerations"), old.At("spec", "tolerations")));
  Append(errors, ValidateDeletedGates(pod.At("spec", "schedulingGates"), old.At("spec", "schedulingGates")));
  if (ChangesMore(pod, old)) {
    errors.push_back(FieldForbidden(
        "spec",
        "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
        "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
        "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n"));
  }
  return errors;
}

FieldErrors ValidatePodStatusUpdate(const Value& pod, const Value& old) {
  FieldErrors errors = MetaUpdate(pod, old);
  Append(errors, ValidatePodAnnotationUpdates(pod, old));
  if (Text(pod.At("spec", "nodeName")) != Text(old.At("spec", "nodeName")))
    errors.push_back(FieldForbidden("status.nodeName", "may not be changed directly"));
  std::string nominated = Text(pod.At("status", "nominatedNodeName"));
  if (!nominated.empty() && nominated != Text(old.At("status", "nominatedNodeName")))
    AppendInvalid(errors, "status.nominatedNodeName", nominated, object::IsDns1123Subdomain(nominated));
  Append(errors, ops::ValidateImmutable(pod.At("status", "qosClass"), old.At("status", "qosClass"), "status.qosClass"));
  Append(errors, ValidateIps(pod.At("status"), "podIP", "podIPs", old.At("status")));
  Append(errors, ValidateIps(pod.At("status"), "hostIP", "hostIPs", old.At("status")));
  return errors;
}

FieldErrors ValidatePodEphemeralContainersUpdate(const Value& pod, const Value& old) {
  if (object::AnnotationsOf(old).At(kMirror).is_string())
    return {FieldForbidden("", "static pods do not support ephemeral containers")};
  FieldErrors errors = MetaUpdate(pod, old);
  Append(errors, ValidateMetadataAndSpec(pod, object::AnnotationsOf(old)));
  Append(errors, ValidatePodAnnotationUpdates(pod, old));
  for (const Value& before : Items(old.At("spec", "ephemeralContainers"))) {
    std::string name = object::GoQuote(before.At("name").string_or());
    const Value* now = nullptr;
    for (const Value& c : Items(pod.At("spec", "ephemeralContainers")))
      if (Text(c.At("name")) == Text(before.At("name"))) now = &c;
    if (!now) {
      errors.push_back(FieldForbidden("spec.ephemeralContainers",
                                      "existing ephemeral containers " + name + " may not be removed\n"));
    } else if (!SemanticEqual(*now, before)) {
      errors.push_back(FieldForbidden("spec.ephemeralContainers",
                                      "existing ephemeral containers " + name + " may not be changed\n"));
    }
  }
  return errors;
}

namespace {

// The containers must be the same ones in the same order before anything else can be said about them.
FieldErrors ValidateSameContainers(const Value& now, const Value& before, const char* list) {
  const List &a = Items(now.At(list)), &b = Items(before.At(list));
  std::string path = Child("spec", list);
  if (a.size() != b.size()) return {FieldForbidden(path, std::string(list) + " may not be added or removed on resize")};
  FieldErrors errors;
  for (size_t i = 0; i < a.size(); ++i)
    if (Text(a[i].At("name")) != Text(b[i].At("name")))
      errors.push_back(FieldForbidden(Child(Index(path, i), "name"),
                                      std::string(list) + " may not be renamed or reordered on resize"));
  return errors;
}

bool LostResources(const Value& now, const Value& before) {
  if (!before.is_map()) return false;
  return std::any_of(before.map().begin(), before.map().end(), [&](const auto& e) { return now.At(e.key).is_null(); });
}

FieldErrors ValidateNothingRemoved(const Value& now, const Value& before, const std::string& path,
                                   const std::string& whose) {
  FieldErrors errors;
  if (LostResources(now.At("requests"), before.At("requests")))
    errors.push_back(FieldForbidden(Child(path, "requests"), whose + " requests cannot be removed"));
  if (LostResources(now.At("limits"), before.At("limits")))
    errors.push_back(FieldForbidden(Child(path, "limits"), whose + " limits cannot be removed"));
  return errors;
}

// Puts the old amounts of cpu and memory back; what still differs may not change.
void TakeBack(Value& holder, const Value& before) {
  for (const char* list : {"requests", "limits"})
    for (const char* name : {"cpu", "memory"}) {
      const Value& was = before.At("resources", list, name);
      if (!was.is_null())
        holder.Ensure("resources").Ensure(list).Set(name, was);
      else if (holder.At("resources", list).is_map())
        holder.Ensure("resources").Ensure(list).Remove(name);
    }
}

bool HasAmounts(const Value& holder) {
  return Size(holder.At("resources", "requests")) + Size(holder.At("resources", "limits")) > 0;
}

FieldErrors ValidatePodLevelResize(Value& now, const Value& before) {
  if (before.At("resources").is_map() && !now.At("resources").is_map())
    return {FieldForbidden("spec.resources", "pod-level resources cannot be removed")};
  FieldErrors errors =
      ValidateNothingRemoved(now.At("resources"), before.At("resources"), "spec.resources", "pod-level resource");
  TakeBack(now, before);
  if (!before.At("resources").is_map() && !HasAmounts(now) && Size(now.At("resources", "claims")) == 0)
    now.Remove("resources");
  if (!SemanticEqual(now.At("resources"), before.At("resources")))
    errors.push_back(FieldForbidden("spec", "only cpu and memory resources are mutable at pod-level"));
  return errors;
}

FieldErrors ValidateContainerResize(Value& now, const Value& before, const char* list, size_t i) {
  bool init = std::string_view(list) == "initContainers";
  bool changed = !SemanticEqual(now, before);
  TakeBack(now, before);
  std::string path = Index(Child("spec", list), i);
  FieldErrors errors;
  if (!SemanticEqual(now, before))
    errors.push_back(
        init ? FieldForbidden(path, "only cpu and memory resources for init or sidecar containers are mutable")
             : FieldForbidden("spec", "only cpu and memory resources are mutable"));
  if (!init || !changed || now.At("restartPolicy").string_or() == "Always") return errors;
  for (const Value& policy : Items(now.At("resizePolicy")))
    if (policy.At("restartPolicy").string_or() == "RestartContainer")
      errors.push_back(FieldForbidden(
          path, "non-sidecar init containers with a resize policy of RestartContainer cannot be resized"));
  return errors;
}

// A node that resizes says what its running containers have.
bool NodeResizes(const Value& pod) {
  for (const Value& c : Items(pod.At("status", "containerStatuses")))
    if (c.At("state", "running").is_map()) return c.At("resources").is_map();
  return true;
}

}  // namespace

FieldErrors ValidatePodResize(const Value& pod, const Value& old) {
  FieldErrors errors = MetaUpdate(pod, old);
  Append(errors, ValidateMetadataAndSpec(pod, object::AnnotationsOf(old)));
  if (object::AnnotationsOf(old).At(kMirror).is_string()) return {FieldForbidden("", "static pods cannot be resized")};
  if (old.At("spec", "os", "name").string_or() == "windows")
    return {FieldForbidden("", "windows pods cannot be resized")};
  if (!NodeResizes(old)) errors.push_back(FieldForbidden("spec", "Pod running on node without support for resize"));
  Value now = pod.At("spec");
  const Value& before = old.At("spec");
  if (HasAmounts(now) || HasAmounts(before)) Append(errors, ValidatePodLevelResize(now, before));
  FieldErrors other = ValidateSameContainers(now, before, "containers");
  Append(other, ValidateSameContainers(now, before, "initContainers"));
  if (!other.empty()) {
    Append(errors, other);
    return errors;
  }
  for (const char* list : {"initContainers", "containers"})
    for (size_t i = 0; i < Size(now.At(list)); ++i)
      Append(errors, ValidateNothingRemoved(now.At(list).At(i).At("resources"), before.At(list).At(i).At("resources"),
                                            Child(Index(Child("spec", list), i), "resources"), "resource"));
  for (const char* list : {"containers", "initContainers"})
    for (size_t i = 0; i < Size(now.At(list)); ++i)
      Append(errors, ValidateContainerResize(now.Ensure(list).list()[i], before.At(list).At(i), list, i));
  if (errors.empty() && !SemanticEqual(now, before))
    errors.push_back(FieldForbidden("spec", "only cpu and memory resources are mutable"));
  return errors;
}

FieldErrors ValidatePodLogOptions(const Value& options) {
  FieldErrors errors;
  for (const char* field : {"tailLines"}) Append(errors, NotNegative(options.At(field), field));
  if (const Value& limit = options.At("limitBytes"); limit.is_int() && limit.as_int() < 1)
    errors.push_back(Invalid("limitBytes", limit, "must be greater than 0"));
  bool seconds = options.At("sinceSeconds").is_int(), time = options.At("sinceTime").is_string();
  if (seconds && time) {
    errors.push_back(FieldForbidden("[]", "at most one of `sinceTime` or `sinceSeconds` may be specified"));
  } else if (seconds && options.At("sinceSeconds").as_int() < 1) {
    errors.push_back(Invalid("sinceSeconds", options.At("sinceSeconds"), "must be greater than 0"));
  }
  return errors;
}

FieldErrors ValidatePodTemplate(const Value& pod_template, const std::string& path) {
  FieldErrors errors;
  std::string meta = Child(path, "metadata");
  Append(errors, ops::ValidateLabels(object::LabelsOf(pod_template), Child(path, "labels")));
  Append(errors, ops::ValidateAnnotations(object::AnnotationsOf(pod_template), Child(path, "annotations")));
  const Value& annotations = object::AnnotationsOf(pod_template);
  Append(errors, ValidatePodAnnotations(annotations, pod_template.At("spec"), Child(path, "annotations"), Value()));
  Append(errors, ValidatePodSpec(pod_template.At("spec"), Child(path, "spec"), {.is_pod = false}));
  Append(errors, ValidateProfilesMatch(annotations, pod_template.At("spec"), Child(path, "spec")));
  if (Size(pod_template.At("spec", "ephemeralContainers")) > 0)
    errors.push_back(
        FieldForbidden(Child(path, "spec", "ephemeralContainers"), "ephemeral containers not allowed in pod template"));
  return errors;
}

FieldErrors ValidatePodTemplateObject(const Value& object) {
  FieldErrors errors = Meta(object, true);
  Append(errors, ValidatePodTemplate(object.At("template"), "template"));
  return errors;
}
FieldErrors ValidatePodTemplateUpdate(const Value& object, const Value& old) {
  FieldErrors errors = MetaUpdate(object, old);
  Append(errors, ValidatePodTemplate(object.At("template"), "template"));
  return errors;
}

}  // namespace apiserver::registry::validation
