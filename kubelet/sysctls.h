// Which kernel parameters a pod may set: those that are its own (namespaced) and reach no other pod, and those that the
// node's owner has allowed. Pure; thread-safe.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "kubelet/model/types.h"

namespace kubelet {

class SysctlAllowList {
 public:
  // `unsafe` are names and patterns ("net.core.*") on top of the safe ones that a kernel of this release ("6.1.0-30")
  // has.
  static base::Result<SysctlAllowList> Make(const std::vector<std::string>& unsafe, std::string_view kernel_release);
  // Why the pod may not have what it asks for, in the words of its status; nullopt when it may.
  std::optional<std::string> Forbidden(const api::Pod& pod) const;

 private:
  std::optional<std::string> Judge(const std::string& name, const api::PodSpec& spec) const;
  std::map<std::string, std::string> names_, prefixes_;  // to the namespace: "IPC" or "Net"
};

}  // namespace kubelet
