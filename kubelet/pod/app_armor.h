// AppArmor profiles of pods: which a container is to have, and whether this node can give them.
// Pure but for AppArmorEnabled; thread-safe.
#pragma once

#include <optional>
#include <string>

#include "kubelet/model/types.h"

namespace kubelet::pod {

// The container's own, else the one of the deprecated annotation, else the pod's.
std::optional<api::AppArmorProfile> AppArmorProfileOf(const api::Pod& pod, const api::Container& container);
void SetAppArmor(const api::Pod& pod, const api::Container& container, cri::LinuxContainerSecurityContext& out);
// Why a pod cannot have the profiles it names; nullopt when it can.
std::optional<std::string> AppArmorRefusal(const api::Pod& pod, bool enabled);
// Whether this machine's kernel enforces profiles.
bool AppArmorEnabled();

}  // namespace kubelet::pod
