// What a server creates for itself and its cluster, and keeps: system namespaces, default RBAC, priority classes, flow
// schemas, API services, the service range, the Service `kubernetes` with its endpoints, the server's identity lease.
// Level, not edge: Ensure looks at what is there and writes only what differs; Keep repeats what decays (leases,
// endpoints) or what somebody may have removed.
//
// Owned by the Server, on its loop; runs after the caches are filled.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "apiserver/bootstrap/policy.h"
#include "apiserver/registry/registry.h"
#include "base/context.h"
#include "base/task.h"

namespace apiserver::bootstrap {

struct Options {
  std::vector<std::string> service_ranges;  // --service-cluster-ip-range, the primary first
  std::string advertise_address;            // IP; "" = no endpoints of our own
  int secure_port = 6443;                   // where the advertised address is reached
  int kubernetes_node_port = 0;             // --kubernetes-service-node-port
  std::string hostname;
  std::string client_ca_pem;  // "" = without
  std::string front_proxy_ca_pem;
  std::vector<std::string> front_proxy_names, username_headers, uid_headers, group_headers, extra_prefixes;
};

class Bootstrap {
 public:
  Bootstrap(registry::Registry& registry, Options options);

  // Everything is there, or the first error. The Service `kubernetes` and its endpoints are tried and their failure is
  // logged: a server whose address cannot be an endpoint serves all the same.
  base::Task<base::Status> Ensure(base::Context ctx);
  // Every ten seconds until the context ends; takes this server out of the endpoints then.
  base::Task<void> Keep(base::Context ctx);
  // One part of Ensure is over. Health checks hang on it.
  enum class Step : uint8_t {
    kNamespaces,
    kServiceRange,
    kRoles,
    kPriorityClasses,
    kFlowControl,
    kApiServices,
    kConfigMaps,
    kIdentity,
    kKubernetesService
  };
  bool Finished(Step step) const { return finished_.contains(step); }

 private:
  using Value = machinery::value::Value;
  // Creates the object, or hands the present one to `adjust` and writes it when that says so.
  using Adjust = bool (*)(Value& present, const Value& wanted);
  base::Task<base::Status> Put(base::Context ctx, std::string group, std::string resource, Value wanted, Adjust adjust);
  base::Task<base::Status> PutAll(base::Context ctx, std::string group, std::string resource, std::vector<Value> wanted,
                                  Adjust adjust);
  base::Task<base::Status> Namespaces(base::Context ctx);
  base::Task<base::Status> Rbac(base::Context ctx);
  base::Task<base::Status> FlowControl(base::Context ctx);
  base::Task<base::Status> ApiServices(base::Context ctx);
  base::Task<base::Status> ServiceRange(base::Context ctx);
  base::Task<base::Status> KubernetesService(base::Context ctx);
  base::Task<base::Status> Endpoints(base::Context ctx);
  base::Task<base::Status> ConfigMaps(base::Context ctx);
  base::Task<base::Status> Identity(base::Context ctx);
  // Every server's addresses, our own included: what /registry/masterleases holds after we renewed ours.
  base::Task<base::Result<std::vector<std::string>>> Servers(base::Context ctx);
  base::Task<base::Status> Service(base::Context ctx);  // and its endpoints
  base::Task<base::Status> Do(Step step, base::Task<base::Status> work);
  std::string Now() const;

  registry::Registry& registry_;
  Options options_;
  Policy policy_;
  std::string holder_;
  std::set<Step> finished_;
  bool told_ = false;  // that our address is no endpoint
};

// "apiserver-" and a hash of the host's name.
std::string IdentityOf(const std::string& hostname);

}  // namespace apiserver::bootstrap
