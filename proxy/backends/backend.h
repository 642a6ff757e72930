// A back end writes the rule table into the kernel. One object per IP family. Calls block (netlink): the proxier makes
// them on a blocking pool, one at a time.
#pragma once

#include <functional>
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
  std::vector<std::string> node_port_ips;  // addresses of this node that accept NodePort traffic; canonical
  bool masquerade_all = false;
  int masquerade_bit = 14;
};

struct SyncRequest {
  const RuleTable& table;
  // What differs from the last successful Sync; null: everything, whatever the kernel holds now.
  const std::set<ServicePortName>* changed = nullptr;
  // Rules it is false for are treated as if the table had none; empty: all are wanted.
  std::function<bool(const ServicePortName&)> wanted;
  // Asks the kernel whether it would take this, and changes nothing.
  bool try_only = false;
};

class RuleBackend {
 public:
  virtual ~RuleBackend() = default;
  // Makes the kernel agree with the table. All or nothing: after an error the kernel holds what it held before, and so
  // does this object, so that a part of the changes may be tried.
  virtual base::Status Sync(const SyncRequest& request) = 0;
  // Ranges that ClusterIPs are taken from (canonical, of the family, none inside another): traffic to addresses in them
  // that no Service has is dropped. The next full Sync writes it.
  virtual void SetServiceCidrs(std::vector<std::string> cidrs) = 0;
  // False when somebody else changed what the last Sync wrote; the caller then makes a full one.
  virtual base::Result<bool> Verify() = 0;
  // Removes everything this back end ever made.
  virtual base::Status Cleanup() = 0;
};

// By --proxy-mode, from backends.def; kUnimplemented with the list of those there are.
base::Result<std::unique_ptr<RuleBackend>> NewBackend(std::string_view mode, const BackendOptions& options);

}  // namespace proxy::backends
