// Containers, as the pod around them sees them. Internal to this folder.
#pragma once

#include "apiserver/registry/validation/check.h"

namespace apiserver::registry::validation {

// What the rules of a container need to know of its pod.
struct PodShape {
  std::set<std::string> volumes;  // names without errors
  std::string restart_policy;
  Value grace;  // terminationGracePeriodSeconds
};

FieldErrors ValidateContainers(const Value& containers, const PodShape& pod, const std::string& path);
FieldErrors ValidateInitContainers(const Value& containers, const Value& regular, const PodShape& pod,
                                   const std::string& path);
FieldErrors ValidateEphemeralContainers(const Value& spec, const PodShape& pod, const std::string& path);

}  // namespace apiserver::registry::validation
