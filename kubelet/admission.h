// Whether a pod that was bound to this node may run on it: the last check before anything is made, with the original's
// reasons (OutOfcpu, NodeAffinity, ...). A pod that may not becomes Failed. Pure; thread-safe.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kubelet/pod/status.h"
#include "kubelet/sysctls.h"
#include "proto/k8s/core/v1/node.pb.h"

namespace kubelet {

struct AdmissionInput {
  const api::Pod& pod;
  const std::vector<PodPtr>& active;                  // pods that have their place already
  const std::map<std::string, int64_t>& allocatable;  // thousandths
  const api::Node* node = nullptr;                    // null: standalone
  const SysctlAllowList* sysctls = nullptr;           // null: not asked
  bool app_armor = false;                             // this machine has it
};
std::optional<pod::WaitReason> Admit(const AdmissionInput& in);

}  // namespace kubelet
