#include "machinery/ops/defaults/table.h"

namespace machinery::ops::defaults {
namespace {

using value::Map;
using value::Value;

bool IsRollingUpdate(const Value& strategy) {
  std::string_view type = strategy.At("type").string_or();
  return type.empty() || type == "RollingUpdate";
}

void DeploymentStrategy(Value& v, const Context&) {
  if (!IsRollingUpdate(v)) return;
  SetIfAbsent(v, "rollingUpdate", Value(Map{}));
  Value& rolling = v.Ensure("rollingUpdate");
  SetIfAbsent(rolling, "maxUnavailable", "25%");
  SetIfAbsent(rolling, "maxSurge", "25%");
}

void DaemonSetUpdateStrategy(Value& v, const Context&) {
  if (!IsRollingUpdate(v)) return;
  SetIfAbsent(v, "rollingUpdate", Value(Map{}));
  Value& rolling = v.Ensure("rollingUpdate");
  SetIfAbsent(rolling, "maxUnavailable", 1);
  SetIfAbsent(rolling, "maxSurge", 0);
}

// Only an absent type brings rollingUpdate into being; an explicit one does not.
void StatefulSetUpdateStrategy(Value& v, const Context&) {
  if (NoText(v, "type")) SetIfAbsent(v, "rollingUpdate", Value(Map{}));
  if (IsRollingUpdate(v) && !Absent(v, "rollingUpdate")) SetIfAbsent(v.Ensure("rollingUpdate"), "partition", 0);
}

// The original fills these in whenever it converts, so every stored and sent object has them.
void StatefulSetSpec(Value& v, const Context&) {
  ForEach(v, "volumeClaimTemplates", [](Value& claim) {
    claim.Set("kind", "PersistentVolumeClaim");
    claim.Set("apiVersion", "v1");
  });
}

}  // namespace

std::vector<TypeDefault> AppsDefaults() {
  return {{"k8s.io.api.apps.v1.DeploymentStrategy", DeploymentStrategy},
          {"k8s.io.api.apps.v1.DaemonSetUpdateStrategy", DaemonSetUpdateStrategy},
          {"k8s.io.api.apps.v1.StatefulSetSpec", StatefulSetSpec},
          {"k8s.io.api.apps.v1.StatefulSetUpdateStrategy", StatefulSetUpdateStrategy}};
}

}  // namespace machinery::ops::defaults
