// What Endpoints and EndpointSlice have in common: which services a pod stands behind, which pods a service sends
// traffic to, and on which port. Pure, but for the index it asks.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "controller-manager/common/context.h"
#include "controller-manager/common/labels.h"
#include "proto/k8s/core/v1/service.pb.h"

namespace controller_manager {

// Keys of the services in the pod's namespace whose selector matches it, before or after the change.
std::vector<client::Key> ServicesOf(const client::Informer<core::Service>& services,
                                    const client::Change<core::Pod>& change);
// Whether anything that endpoints show changed.
bool EndpointChanged(const client::Change<core::Pod>& change);

// Has an address, has not ended; `terminating` lets pods that are being deleted in.
bool BelongsToEndpoints(const core::Pod& pod, bool terminating);
// The number of the container port that a service port means for this pod; nullopt when a named one is missing.
std::optional<int32_t> TargetPort(const core::Pod& pod, const core::ServicePort& port);
// spec.hostname where the pod's subdomain is this service, else "".
std::string HostnameFor(const core::Pod& pod, const core::Service& service);
// The addresses of a pod of one family: "IPv4" or "IPv6"; the first one.
std::string AddressOf(const core::Pod& pod, std::string_view family);
bool IsHeadless(const core::Service& service);
// The newest moment at which something that matters changed, as RFC 3339 with nanoseconds; for
// endpoints.kubernetes.io/last-change-trigger-time.
std::string TriggerTime(const core::Service& service, const std::vector<std::shared_ptr<const core::Pod>>& pods);

inline constexpr char kTriggerTime[] = "endpoints.kubernetes.io/last-change-trigger-time";
inline constexpr char kHeadless[] = "service.kubernetes.io/headless";

}  // namespace controller_manager
