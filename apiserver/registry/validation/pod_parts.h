// Where a pod's spec has containers, and the annotations that had fields to follow them: for rules, warnings and
// completion alike.
#pragma once

#include <string>
#include <string_view>

#include "machinery/ops/validation.h"
#include "machinery/value/value.h"

namespace apiserver::registry::validation {

inline constexpr std::string_view kContainerLists[] = {"initContainers", "containers", "ephemeralContainers"};

// Annotations; the last two are followed by a container's name.
inline constexpr std::string_view kPodSeccomp = "seccomp.security.alpha.kubernetes.io/pod";
inline constexpr std::string_view kContainerSeccomp = "container.seccomp.security.alpha.kubernetes.io/";
inline constexpr std::string_view kAppArmor = "container.apparmor.security.beta.kubernetes.io/";

// f(container, path) for init, main and ephemeral containers, in this order; `path` is where the spec stands.
template <class F>
void EachContainer(const machinery::value::Value& spec, const std::string& path, F f) {
  for (std::string_view list : kContainerLists) {
    const machinery::value::Value& containers = spec.At(list);
    if (!containers.is_list()) continue;
    for (size_t i = 0; i < containers.list().size(); ++i)
      f(containers.list()[i], machinery::ops::Index(machinery::ops::Child(path, list), i));
  }
}

}  // namespace apiserver::registry::validation
