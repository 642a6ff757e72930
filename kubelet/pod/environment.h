// The environment of a container: variables of Services, envFrom, env with its references, in the original's order of
// precedence. Owned by nobody; one strand.
#pragma once

#include <vector>

#include "base/task.h"
#include "kubelet/pod/config.h"
#include "kubelet/volumes/volume.h"
#include "proto/k8s/core/v1/service.pb.h"

namespace kubelet::pod {

// Variables of the Services a container may see: its namespace's (unless switched off) and default/kubernetes. Sorted
// by name.
std::vector<Env> ServiceEnvironment(const std::vector<std::shared_ptr<const api::Service>>& services,
                                    const std::string& ns, bool links);

// Errors carry the text that becomes the CreateContainerConfigError.
base::Task<base::Result<std::vector<Env>>> MakeEnvironment(base::Context ctx, PodPtr pod, std::string container,
                                                           std::vector<Env> services, volumes::Source& source,
                                                           NodeFacts facts);

}  // namespace kubelet::pod
