// A back end writes the rule table into the kernel. One object per IP family. Calls block (netlink): the proxier makes
// them on a blocking pool, one at a time.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "proxy/rules.h"

namespace proxy::backends {

struct BackendOptions {
  Family family = Family::kIPv4;
  // Pod addresses of the whole cluster; traffic to ClusterIPs from elsewhere is masqueraded. "" = cannot tell, nothing
  // is masqueraded for that reason.
  std::string cluster_cidr;
  std::string service_cidr;                // unused ClusterIPs in it are dropped; "" = unknown
  std::vector<std::string> node_port_ips;  // addresses of this node that accept NodePort traffic
  bool masquerade_all = false;
  int masquerade_bit = 14;
};

class RuleBackend {
 public:
  virtual ~RuleBackend() = default;
  // Makes the kernel agree with `table`, where `changed` names what differs from the last successful call (null:
  // everything, whatever the kernel holds now). All or nothing: after an error the kernel holds what it held before and
  // the next call must be a full one.
  virtual base::Status Sync(const RuleTable& table, const std::set<ServicePortName>* changed) = 0;
  // False when somebody else changed what the last Sync wrote; the caller then makes a full one.
  virtual base::Result<bool> Verify() = 0;
  // Removes everything this back end ever made.
  virtual base::Status Cleanup() = 0;
};

// By --proxy-mode, from backends.def; kUnimplemented with the list of those there are.
base::Result<std::unique_ptr<RuleBackend>> NewBackend(std::string_view mode, const BackendOptions& options);

}  // namespace proxy::backends
