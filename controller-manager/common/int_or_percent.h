// maxSurge, maxUnavailable: a number or a percentage of the replicas (v1 RollingUpdateDeployment). Pure.
#pragma once

#include "proto/k8s/meta/intstr.pb.h"

namespace controller_manager {

// A percentage of `total`, rounded up or down; 0 for what is no percentage.
int32_t Resolve(const k8s::io::apimachinery::pkg::util::intstr::IntOrString& v, int32_t total, bool round_up);

}  // namespace controller_manager
