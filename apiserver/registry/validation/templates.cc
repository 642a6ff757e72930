// The kinds that are or make pods, and what holds for the pods of all of them.
#include "apiserver/registry/validation/check.h"
#include "apiserver/registry/validation/pod_parts.h"

namespace apiserver::registry::validation {
namespace {

struct PodKind {
  std::string_view group, kind;
  std::vector<std::string_view> path;  // of the template
};

const std::vector<PodKind>& PodKinds() {
  static const std::vector<PodKind> kinds = {
      {"", "Pod", {}},
      {"", "PodTemplate", {"template"}},
      {"", "ReplicationController", {"spec", "template"}},
      {"apps", "Deployment", {"spec", "template"}},
      {"apps", "ReplicaSet", {"spec", "template"}},
      {"apps", "StatefulSet", {"spec", "template"}},
      {"apps", "DaemonSet", {"spec", "template"}},
      {"batch", "Job", {"spec", "template"}},
      {"batch", "CronJob", {"spec", "jobTemplate", "spec", "template"}},
  };
  return kinds;
}

}  // namespace

PodAt PodOf(const machinery::schema::Kind& kind, const Value& object) {
  for (const PodKind& k : PodKinds()) {
    if (k.group != kind.group || k.kind != kind.kind) continue;
    PodAt at{&object, ""};
    for (std::string_view field : k.path) at = {&at.pod->At(field), Child(at.path, field)};
    return at;
  }
  return {};
}

FieldErrors ValidateNotPrivileged(const machinery::schema::Kind& kind, const Value& object) {
  FieldErrors errors;
  PodAt at = PodOf(kind, object);
  if (!at.pod) return errors;
  EachContainer(at.pod->At("spec"), Child(at.path, "spec"), [&](const Value& container, const std::string& path) {
    if (container.At("securityContext", "privileged").bool_or())
      errors.push_back(FieldForbidden(Child(path, "securityContext", "privileged"), "disallowed by cluster policy"));
  });
  return errors;
}

}  // namespace apiserver::registry::validation
