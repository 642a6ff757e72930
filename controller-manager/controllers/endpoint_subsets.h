// The canonical form of an Endpoints object's subsets. Pure.
#pragma once

#include "proto/k8s/core/v1/service.pb.h"

namespace controller_manager {

namespace core = k8s::io::api::core::v1;
using Subsets = google::protobuf::RepeatedPtrField<core::EndpointSubset>;

// Every port with all addresses that serve it, ports with the same addresses in one subset; an address (IP and pod)
// that is listed as ready and as not ready for a port is not ready. The order is the original's (pkg/api/v1/endpoints):
// addresses by IP as text, then uid; ports and subsets by a hash of their Go text, so that both write the same object.
Subsets RepackSubsets(const Subsets& subsets);

}  // namespace controller_manager
