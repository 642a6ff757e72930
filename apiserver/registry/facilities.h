// What strategies may ask of the rest of the server: who may do what, tokens, allocators. Interfaces only, so that the
// registry links to none of those who implement them. Filled by the Server at start; a null member means that the
// server runs without it (simulations).
#pragma once

namespace base {
class BlockingPool;
}
namespace apiserver::auth {
class Authorizer;
class RuleResolver;
class TokenAuthenticator;
class TokenIssuer;
}  // namespace apiserver::auth

namespace apiserver::registry {

class ComponentHealth;
class ServiceIps;
class NodePorts;

struct Facilities {
  auth::Authorizer* authorizer = nullptr;      // access reviews, approval and sign checks
  auth::RuleResolver* rules = nullptr;         // escalation checks, rules reviews
  auth::TokenAuthenticator* tokens = nullptr;  // token reviews
  auth::TokenIssuer* issuer = nullptr;         // serviceaccounts/token
  base::BlockingPool* signing_pool = nullptr;  // RSA signatures are made off the loop; null: on it
  ServiceIps* service_ips = nullptr;           // null: services get no addresses
  NodePorts* node_ports = nullptr;
  ComponentHealth* components = nullptr;  // null: no ComponentStatus
};

}  // namespace apiserver::registry
