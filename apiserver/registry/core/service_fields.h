// What is to be read off a Service, and the fields that its writer may leave out because others say them: cluster IPs
// in two forms, IP families, ports that were given before. Pure, but for the families a cluster has. Trees are of v1
// with defaults.
#pragma once

#include <string>
#include <vector>

#include "apiserver/registry/core/service_ips.h"
#include "base/status.h"
#include "machinery/value/value.h"

namespace apiserver::registry::service {

using machinery::value::Value;
using Strings = std::vector<std::string>;

std::string TypeOf(const Value& service);
bool NeedsClusterIp(const Value& service);
bool IsHeadless(const Value& service);
bool HasNodePorts(const Value& service);        // the type may have them
bool AllocatesNodePorts(const Value& service);  // and ports without one get one
bool NeedsHealthCheckPort(const Value& service);
Strings ClusterIpsOf(const Value& service);
Strings FamiliesOf(const Value& service);
std::vector<int> NodePortsOf(const Value& service);  // of its ports, in their order, without the health check's
Value ListOf(const Strings& strings);

// What was allocated and a client left out stays: a manifest that names no address replaces a Service that has one.
void KeepAllocated(Value& service, const Value& old);
// clusterIP is the first of clusterIPs; clients that know only clusterIP set or clear it alone. `old` is null on
// create.
void AlignClusterIps(Value& service, const Value& old);
// Completes and checks ipFamilyPolicy and ipFamilies. `old` is null on create.
base::Status CompleteFamilies(const ServiceIps& ips, Value& service, const Value& old);
// Nothing about addresses was changed on a Service that takes what the cluster has: it neither gets nor gives back one
// when the cluster has changed since.
bool KeepsPreferredFamilies(const Value& service, const Value& old);
// Fields that came with the old type and were not touched go with it.
void DropForType(Value& service, const Value& old);

}  // namespace apiserver::registry::service
