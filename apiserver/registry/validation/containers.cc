// Containers of pods and templates.
#include "apiserver/registry/validation/containers.h"

#include <algorithm>

#include "base/strings.h"

namespace apiserver::registry::validation {
namespace {

const Names kProtocols = {"SCTP", "TCP", "UDP"};

FieldErrors ValidatePorts(const Value& ports, const std::string& path) {
  FieldErrors errors;
  std::set<std::string> names;
  for (size_t i = 0; i < Size(ports); ++i) {
    const Value& p = ports.list()[i];
    std::string at = Index(path, i), name = Text(p.At("name"));
    if (!name.empty()) {
      object::Reasons reasons = object::IsPortName(name);
      AppendInvalid(errors, Child(at, "name"), name, reasons);
      if (reasons.empty() && !names.insert(name).second) errors.push_back(Duplicate(Child(at, "name"), name));
    }
    int64_t port = p.At("containerPort").int_or(), host = p.At("hostPort").int_or();
    if (port == 0) {
      errors.push_back(Required(Child(at, "containerPort")));
    } else {
      AppendInvalid(errors, Child(at, "containerPort"), port, object::IsPortNumber(port));
    }
    if (host != 0) AppendInvalid(errors, Child(at, "hostPort"), host, object::IsPortNumber(host));
    Append(errors, OneOf(Child(at, "protocol"), p.At("protocol"), kProtocols));
  }
  return errors;
}

FieldErrors ValidateKeyRef(const Value& ref, const std::string& path) {
  FieldErrors errors =
      Reasoned(Child(path, "name"), Text(ref.At("name")), object::IsDns1123Subdomain(Text(ref.At("name"))));
  std::string key = Text(ref.At("key"));
  if (key.empty()) {
    errors.push_back(Required(Child(path, "key")));
  } else {
    AppendInvalid(errors, Child(path, "key"), key, object::IsConfigMapKey(key));
  }
  return errors;
}

const Names kEnvFields = {
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
    "status.hostIP", "status.hostIPs",     "status.podIP", "status.podIPs"};

FieldErrors ValidateValueFrom(const Value& env, const std::string& path) {
  FieldErrors errors;
  const Value& from = env.At("valueFrom");
  if (!from.is_map()) return errors;
  int sources = 0;
  for (const char* source : {"fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"}) {
    const Value& ref = from.At(source);
    if (!ref.is_map()) continue;
    ++sources;
    std::string at = Child(path, source);
    std::string_view name(source);
    if (name == "fieldRef") Append(errors, ValidateObjectFieldRef(ref, kEnvFields, at));
    if (name == "resourceFieldRef") Append(errors, ValidateResourceFieldRef(ref, false, at));
    if (name == "configMapKeyRef" || name == "secretKeyRef") Append(errors, ValidateKeyRef(ref, at));
  }
  if (sources == 0) {
    errors.push_back(Invalid(path, "",
                             "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, "
                             "`secretKeyRef` or `fileKeyRef`"));
  } else if (!NoText(env.At("value"))) {
    errors.push_back(Invalid(path, "", "may not be specified when `value` is not empty"));
  } else if (sources > 1) {
    errors.push_back(Invalid(path, "", "may not have more than one field specified at a time"));
  }
  return errors;
}

FieldErrors ValidateEnv(const Value& env, const std::string& path) {
  FieldErrors errors;
  for (size_t i = 0; i < Size(env); ++i) {
    const Value& e = env.list()[i];
    std::string at = Index(path, i), name = Text(e.At("name"));
    if (name.empty()) {
      errors.push_back(Required(Child(at, "name")));
    } else {
      AppendInvalid(errors, Child(at, "name"), name, object::IsRelaxedEnvVarName(name));
    }
    Append(errors, ValidateValueFrom(e, Child(at, "valueFrom")));
  }
  return errors;
}

FieldErrors ValidateEnvFrom(const Value& list, const std::string& path) {
  FieldErrors errors;
  for (size_t i = 0; i < Size(list); ++i) {
    const Value& e = list.list()[i];
    std::string at = Index(path, i), prefix = Text(e.At("prefix"));
    if (!prefix.empty()) AppendInvalid(errors, Child(at, "prefix"), prefix, object::IsRelaxedEnvVarName(prefix));
    int sources = 0;
    for (const char* source : {"configMapRef", "secretRef"}) {
      if (!e.At(source).is_map()) continue;
      ++sources;
      std::string name = Text(e.At(source, "name")), field = Child(Child(at, source), "name");
      if (name.empty()) {
        errors.push_back(Required(field));
      } else {
        AppendInvalid(errors, field, name, object::IsDns1123Subdomain(name));
      }
    }
    if (sources == 0) errors.push_back(Invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"));
    if (sources > 1) errors.push_back(Invalid(path, "", "may not have more than one field specified at a time"));
  }
  return errors;
}

bool IsPrivileged(const Value& container) { return container.At("securityContext", "privileged").bool_or(); }

FieldErrors ValidateMountOptions(const Value& mount, const Value& container, const std::string& list) {
  FieldErrors errors;
  std::string sub_path = Text(mount.At("subPath")), expression = Text(mount.At("subPathExpr"));
  if (!sub_path.empty()) Append(errors, ValidateLocalPath(sub_path, Child(list, "subPath")));
  if (!expression.empty()) Append(errors, ValidateLocalPath(expression, Child(list, "subPathExpr")));
  const Value &propagation = mount.At("mountPropagation"), &recursive = mount.At("recursiveReadOnly");
  if (propagation.is_string()) {
    std::string at = Child(list, "mountPropagation");
    if (!Contains({"Bidirectional", "HostToContainer", "None"}, propagation.string_or()))
      errors.push_back(NotSupported(at, propagation, {"Bidirectional", "HostToContainer", "None"}));
    if (propagation.string_or() == "Bidirectional" && !IsPrivileged(container)) {
      errors.push_back(
          FieldForbidden(at, "Bidirectional mount propagation is available only to privileged containers"));
    }
  }
  if (!recursive.is_string() || recursive.as_string() == "Disabled") return errors;
  std::string at = Child(list, "recursiveReadOnly");
  if (!Contains({"Enabled", "IfPossible"}, recursive.as_string())) {
    errors.push_back(NotSupported(at, recursive, {"Disabled", "Enabled", "IfPossible"}));
    return errors;
  }
  if (!mount.At("readOnly").bool_or())
    errors.push_back(FieldForbidden(at, "may only be specified when readOnly is true"));
  if (propagation.is_string() && propagation.as_string() != "None")
    errors.push_back(FieldForbidden(at, "may only be specified when mountPropagation is None or not specified"));
  return errors;
}

FieldErrors ValidateMounts(const Value& container, const std::set<std::string>& volumes, const std::string& path) {
  FieldErrors errors;
  std::set<std::string> places, device_names, device_paths;
  for (const Value& d : Items(container.At("volumeDevices"))) {
    device_names.insert(Text(d.At("name")));
    device_paths.insert(Text(d.At("devicePath")));
  }
  const Value& mounts = container.At("volumeMounts");
  for (size_t i = 0; i < Size(mounts); ++i) {
    const Value& m = mounts.list()[i];
    std::string at = Index(path, i), name = Text(m.At("name")), place = Text(m.At("mountPath"));
    if (name.empty()) errors.push_back(Required(Child(at, "name")));
    if (!volumes.contains(name)) errors.push_back(FieldNotFound(Child(at, "name"), name));
    if (place.empty()) errors.push_back(Required(Child(at, "mountPath")));
    if (!places.insert(place).second) errors.push_back(Invalid(Child(at, "mountPath"), place, "must be unique"));
    if (device_names.contains(name))
      errors.push_back(Invalid(Child(at, "name"), name, "must not already exist in volumeDevices"));
    if (device_paths.contains(place))
      errors.push_back(Invalid(Child(at, "mountPath"), place, "must not already exist as a path in volumeDevices"));
    if (!NoText(m.At("subPathExpr")) && !NoText(m.At("subPath"))) {
      errors.push_back(
          Invalid(Child(at, "subPathExpr"), m.At("subPathExpr"), "subPathExpr and subPath are mutually exclusive"));
    }
    Append(errors, ValidateMountOptions(m, container, path));
  }
  return errors;
}

FieldErrors ValidateDevices(const Value& container, const std::set<std::string>& volumes, const std::string& path) {
  FieldErrors errors;
  std::set<std::string> places, names;
  const Value& devices = container.At("volumeDevices");
  for (size_t i = 0; i < Size(devices); ++i) {
    const Value& d = devices.list()[i];
    std::string at = Index(path, i), name = Text(d.At("name")), place = Text(d.At("devicePath"));
    if (name.empty()) errors.push_back(Required(Child(at, "name")));
    if (!names.insert(name).second) errors.push_back(Invalid(Child(at, "name"), name, "must be unique"));
    if (!volumes.contains(name)) errors.push_back(FieldNotFound(Child(at, "name"), name));
    if (place.empty()) errors.push_back(Required(Child(at, "devicePath")));
    if (!places.insert(place).second) errors.push_back(Invalid(Child(at, "devicePath"), place, "must be unique"));
  }
  return errors;
}

const std::vector<GoField> kSecurityContext = {{"Capabilities", "capabilities", {}},
                                               {"Privileged", "privileged", {}},
                                               {"SELinuxOptions", "seLinuxOptions", {}},
                                               {"WindowsOptions", "windowsOptions", {}},
                                               {"RunAsUser", "runAsUser", {}},
                                               {"RunAsGroup", "runAsGroup", {}},
                                               {"RunAsNonRoot", "runAsNonRoot", {}},
                                               {"ReadOnlyRootFilesystem", "readOnlyRootFilesystem", {}},
                                               {"AllowPrivilegeEscalation", "allowPrivilegeEscalation", {}},
                                               {"ProcMount", "procMount", {}},
                                               {"SeccompProfile", "seccompProfile", {}},
                                               {"AppArmorProfile", "appArmorProfile", {}}};

FieldErrors ValidateSecurityContext(const Value& sc, const std::string& path) {
  FieldErrors errors;
  if (!sc.is_map()) return errors;
  for (const char* field : {"runAsUser", "runAsGroup"})
    if (sc.At(field).is_int())
      AppendInvalid(errors, Child(path, field), sc.At(field), object::IsUserId(sc.At(field).as_int()));
  if (const Value& mount = sc.At("procMount"); mount.is_string()) {
    if (!Contains({"Default", "Unmasked"}, mount.as_string()))
      errors.push_back(NotSupported(Child(path, "procMount"), mount, {"Default", "Unmasked"}));
    if (mount.as_string() == "Unmasked")
      errors.push_back(Invalid(Child(path, "procMount"), mount, "`hostUsers` must be false to use `Unmasked`"));
  }
  Append(errors, ValidateSeccompProfile(sc.At("seccompProfile"), Child(path, "seccompProfile")));
  Append(errors, ValidateAppArmorProfile(sc.At("appArmorProfile"), Child(path, "appArmorProfile")));
  if (sc.At("allowPrivilegeEscalation").is_bool() && !sc.At("allowPrivilegeEscalation").as_bool()) {
    if (sc.At("privileged").bool_or()) {
      errors.push_back(Invalid(path, GoStruct(sc, kSecurityContext),
                               "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"));
    }
    for (const std::string& capability : object::StringsOf(sc.At("capabilities", "add"))) {
      if (capability != "CAP_SYS_ADMIN") continue;
      errors.push_back(Invalid(path, GoStruct(sc, kSecurityContext),
                               "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"));
    }
  }
  return errors;
}

FieldErrors ValidateResizePolicy(const Value& list, const std::string& path, std::string_view pod_restart_policy) {
  FieldErrors errors;
  std::set<std::string> seen;
  for (size_t i = 0; i < Size(list); ++i) {
    const Value& p = list.list()[i];
    if (!seen.insert(Text(p.At("resourceName"))).second)
      errors.push_back(Duplicate(Index(path, i), p.At("resourceName")));
    Append(errors, OneOf(path, p.At("resourceName"), {"cpu", "memory"}));
    Append(errors, OneOf(path, p.At("restartPolicy"), {"NotRequired", "RestartContainer"}));
    if (pod_restart_policy == "Never" && p.At("restartPolicy").string_or() != "NotRequired") {
      errors.push_back(
          Invalid(path, p.At("restartPolicy"), "must be 'NotRequired' when pod `restartPolicy` is 'Never'"));
    }
  }
  return errors;
}

FieldErrors ValidateHttpGet(const Value& http, const std::string& path) {
  FieldErrors errors;
  if (NoText(http.At("path"))) errors.push_back(Required(Child(path, "path")));
  Append(errors, ValidatePort(http.At("port"), Child(path, "port")));
  if (!Contains({"HTTP", "HTTPS"}, http.At("scheme").string_or()))
    errors.push_back(NotSupported(Child(path, "scheme"), Text(http.At("scheme")), {"HTTP", "HTTPS"}));
  for (const Value& header : Items(http.At("httpHeaders"))) {
    std::string name = Text(header.At("name"));
    AppendInvalid(errors, Child(path, "httpHeaders"), name, object::IsHttpHeaderName(name));
  }
  return errors;
}

FieldErrors ValidateOneHandler(std::string_view kind, const Value& h, const std::string& path, const Value& grace) {
  if (kind == "exec") {
    if (Size(h.At("command")) == 0) return {Required(Child(path, "command"))};
  } else if (kind == "httpGet") {
    return ValidateHttpGet(h, path);
  } else if (kind == "tcpSocket" || kind == "grpc") {
    return ValidatePort(h.At("port"), Child(path, "port"));
  } else if (int64_t seconds = h.At("seconds").int_or(); grace.is_int() && (seconds < 0 || seconds > grace.as_int())) {
    return {Invalid(
        path, seconds,
        "must be non-negative and less than terminationGracePeriodSeconds (" + std::to_string(grace.as_int()) + ")")};
  }
  return {};
}

FieldErrors ValidateHandler(const Value& handler, const std::string& path, const Value& grace) {
  FieldErrors errors;
  int handlers = 0;
  for (const char* kind : {"exec", "httpGet", "tcpSocket", "grpc", "sleep"}) {
    const Value& h = handler.At(kind);
    if (!h.is_map()) continue;
    if (handlers++ > 0) {
      errors.push_back(FieldForbidden(Child(path, kind), "may not specify more than 1 handler type"));
    } else {
      Append(errors, ValidateOneHandler(kind, h, Child(path, kind), grace));
    }
  }
  if (handlers == 0) errors.push_back(Required(path, "must specify a handler type"));
  return errors;
}

FieldErrors ValidateProbe(const Value& probe, const std::string& path, const Value& grace, bool readiness) {
  FieldErrors errors;
  if (!probe.is_map()) return errors;
  Append(errors, ValidateHandler(probe, path, grace));
  for (const char* field :
       {"initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"})
    Append(errors, NotNegative(probe.At(field), Child(path, field)));
  const Value& own_grace = probe.At("terminationGracePeriodSeconds");
  if (own_grace.is_int() && own_grace.as_int() <= 0)
    errors.push_back(Invalid(Child(path, "terminationGracePeriodSeconds"), own_grace, "must be greater than 0"));
  if (readiness && own_grace.is_int()) {
    errors.push_back(
        Invalid(Child(path, "terminationGracePeriodSeconds"), own_grace, "must not be set for readinessProbes"));
  } else if (!readiness && probe.At("successThreshold").int_or() != 1) {
    errors.push_back(Invalid(Child(path, "successThreshold"), probe.At("successThreshold").int_or(), "must be 1"));
  }
  return errors;
}

FieldErrors ValidateLifeAndProbes(const Value& c, const std::string& path, const Value& grace) {
  FieldErrors errors;
  for (const char* hook : {"postStart", "preStop"})
    if (c.At("lifecycle", hook).is_map())
      Append(errors, ValidateHandler(c.At("lifecycle", hook), Child(path, "lifecycle", hook), grace));
  for (const char* probe : {"livenessProbe", "readinessProbe", "startupProbe"})
    Append(errors, ValidateProbe(c.At(probe), Child(path, probe), grace, std::string_view(probe) == "readinessProbe"));
  return errors;
}

FieldErrors ValidateRestartRules(const Value& c, const std::string& path) {
  FieldErrors errors;
  const Value& policy = c.At("restartPolicy");
  const Value& rules = c.At("restartPolicyRules");
  std::string policy_path = Child(path, "restartPolicy");
  if (!policy.is_string()) {
    if (Size(rules) > 0)
      errors.push_back(Required(policy_path, "must specify restartPolicy when restart rules are used"));
  } else if (!Contains({"Always", "Never", "OnFailure"}, policy.as_string())) {
    errors.push_back(NotSupported(policy_path, policy, {"Always", "Never", "OnFailure"}));
  }
  if (Size(rules) > 20)
    errors.push_back(object::TooMany(Child(path, "restartPolicyRules"), static_cast<int>(Size(rules)), 20));
  for (size_t i = 0; i < Size(rules); ++i) {
    const Value& r = rules.list()[i];
    std::string at = Index(Child(path, "restartPolicyRules"), i);
    if (!Contains({"Restart"}, r.At("action").string_or()))
      errors.push_back(NotSupported(Child(at, "action"), Text(r.At("action")), {"Restart"}));
    const Value& codes = r.At("exitCodes");
    if (!codes.is_map()) {
      errors.push_back(Required(Child(at, "exitCodes"), "must be specified"));
    } else if (!Contains({"In", "NotIn"}, codes.At("operator").string_or())) {
      errors.push_back(NotSupported(Child(at, "exitCodes", "operator"), Text(codes.At("operator")), {"In", "NotIn"}));
    }
  }
  return errors;
}

// The same host port twice in one pod.
FieldErrors ValidateHostPorts(const List& containers, size_t first, const std::string& path) {
  FieldErrors errors;
  std::set<std::string> seen;
  for (size_t i = 0; i < containers.size(); ++i) {
    const List& ports = Items(containers[i].At("ports"));
    for (size_t j = 0; j < ports.size(); ++j) {
      int64_t port = ports[j].At("hostPort").int_or();
      if (port == 0) continue;
      std::string key = Text(ports[j].At("protocol")) + "/" + Text(ports[j].At("hostIP")) + "/" + std::to_string(port);
      if (!seen.insert(key).second)
        errors.push_back(Duplicate(Child(Index(Child(Index(path, first + i), "ports"), j), "hostPort"), key));
    }
  }
  return errors;
}

FieldErrors ValidateCommon(const Value& c, const PodShape& pod, const std::string& path) {
  FieldErrors errors;
  std::string name = Text(c.At("name"));
  if (name.empty()) {
    errors.push_back(Required(Child(path, "name")));
  } else {
    AppendInvalid(errors, Child(path, "name"), name, object::IsDns1123Label(name));
  }
  if (NoText(c.At("image"))) errors.push_back(Required(Child(path, "image")));
  Append(errors, OneOf(Child(path, "terminationMessagePolicy"), c.At("terminationMessagePolicy"),
                       {"File", "FallbackToLogsOnError"}));
  Append(errors, ValidatePorts(c.At("ports"), Child(path, "ports")));
  Append(errors, ValidateEnv(c.At("env"), Child(path, "env")));
  Append(errors, ValidateEnvFrom(c.At("envFrom"), Child(path, "envFrom")));
  Append(errors, ValidateMounts(c, pod.volumes, Child(path, "volumeMounts")));
  Append(errors, ValidateDevices(c, pod.volumes, Child(path, "volumeDevices")));
  Append(errors, OneOf(Child(path, "imagePullPolicy"), c.At("imagePullPolicy"), {"Always", "IfNotPresent", "Never"}));
  Append(errors, ValidateContainerResources(c.At("resources"), Child(path, "resources")));
  Append(errors, ValidateResizePolicy(c.At("resizePolicy"), Child(path, "resizePolicy"), pod.restart_policy));
  Append(errors, ValidateSecurityContext(c.At("securityContext"), Child(path, "securityContext")));
  return errors;
}

}  // namespace

FieldErrors ValidateContainers(const Value& containers, const PodShape& pod, const std::string& path) {
  if (Size(containers) == 0) return {Required(path)};
  FieldErrors errors;
  std::set<std::string> names;
  for (size_t i = 0; i < Size(containers); ++i) {
    const Value& c = containers.list()[i];
    std::string at = Index(path, i), name = Text(c.At("name"));
    Append(errors, ValidateCommon(c, pod, at));
    if (!names.insert(name).second) errors.push_back(Duplicate(Child(at, "name"), name));
    Append(errors, ValidateLifeAndProbes(c, at, pod.grace));
    Append(errors, ValidateRestartRules(c, at));
  }
  Append(errors, ValidateHostPorts(containers.list(), 0, path));
  return errors;
}

FieldErrors ValidateInitContainers(const Value& containers, const Value& regular, const PodShape& pod,
                                   const std::string& path) {
  FieldErrors errors;
  std::set<std::string> names;
  for (const Value& c : Items(regular)) names.insert(Text(c.At("name")));
  for (size_t i = 0; i < Size(containers); ++i) {
    const Value& c = containers.list()[i];
    std::string at = Index(path, i), name = Text(c.At("name"));
    Append(errors, ValidateCommon(c, pod, at));
    Append(errors, ValidateRestartRules(c, at));
    if (!names.insert(name).second) errors.push_back(Duplicate(Child(at, "name"), name));
    Append(errors, ValidateHostPorts({c}, i, path));
    if (c.At("restartPolicy").string_or() == "Always") {
      Append(errors, ValidateLifeAndProbes(c, at, pod.grace));
      continue;
    }
    for (const char* field : {"lifecycle", "livenessProbe", "readinessProbe", "startupProbe"})
      if (c.At(field).is_map())
        errors.push_back(
            FieldForbidden(Child(at, field), "may not be set for init containers without restartPolicy=Always"));
  }
  return errors;
}

FieldErrors ValidateEphemeralContainers(const Value& spec, const PodShape& pod, const std::string& path) {
  FieldErrors errors;
  std::set<std::string> others;
  for (const char* list : {"containers", "initContainers"})
    for (const Value& c : Items(spec.At(list))) others.insert(Text(c.At("name")));
  std::set<std::string> names = others;
  const Value& containers = spec.At("ephemeralContainers");
  for (size_t i = 0; i < Size(containers); ++i) {
    const Value& c = containers.list()[i];
    std::string at = Index(path, i), name = Text(c.At("name")), target = Text(c.At("targetContainerName"));
    Append(errors, ValidateCommon(c, pod, at));
    if (!names.insert(name).second) errors.push_back(Duplicate(Child(at, "name"), name));
    if (!target.empty() && !others.contains(target))
      errors.push_back(FieldNotFound(Child(at, "targetContainerName"), target));
    for (const char* field : {"lifecycle", "livenessProbe", "readinessProbe", "startupProbe", "ports", "resources"})
      if (Size(c.At(field)) > 0)
        errors.push_back(FieldForbidden(Child(at, field), "cannot be set for an Ephemeral Container"));
    const List& mounts = Items(c.At("volumeMounts"));
    for (size_t j = 0; j < mounts.size(); ++j)
      for (const char* field : {"subPath", "subPathExpr"})
        if (!NoText(mounts[j].At(field)))
          errors.push_back(FieldForbidden(Child(Index(Child(at, "volumeMounts"), j), field),
                                          "cannot be set for an Ephemeral Container"));
  }
  return errors;
}

FieldErrors ValidatePort(const Value& port, const std::string& path) {
  if (port.is_string()) return Reasoned(path, port, object::IsPortName(port.as_string()));
  return Reasoned(path, port.int_or(), object::IsPortNumber(port.int_or()));
}

FieldErrors ValidateLocalPath(const std::string& p, const std::string& path) {
  FieldErrors errors;
  if (p.starts_with('/')) errors.push_back(Invalid(path, p, "must be a relative path"));
  if (Contains(base::Split(p, '/'), "..")) errors.push_back(Invalid(path, p, "must not contain '..'"));
  return errors;
}

FieldErrors ValidateSeccompProfile(const Value& profile, const std::string& path) {
  FieldErrors errors;
  if (!profile.is_map()) return errors;
  std::string_view type = profile.At("type").string_or();
  if (type.empty()) {
    errors.push_back(Required(Child(path, "type"), "type is required when seccompProfile is set"));
  } else if (!Contains({"Localhost", "RuntimeDefault", "Unconfined"}, type)) {
    errors.push_back(
        NotSupported(Child(path, "type"), profile.At("type"), {"Localhost", "RuntimeDefault", "Unconfined"}));
  }
  const Value& local = profile.At("localhostProfile");
  std::string at = Child(path, "localhostProfile");
  if (type == "Localhost") {
    if (!local.is_string()) {
      errors.push_back(Required(at, "must be set when seccomp type is Localhost"));
    } else {
      Append(errors, ValidateLocalPath(local.as_string(), at));
    }
  } else if (local.is_string()) {
    errors.push_back(Invalid(at, profile, "can only be set when seccomp type is Localhost"));
  }
  return errors;
}

}  // namespace apiserver::registry::validation
