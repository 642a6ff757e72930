// Who may do what. Asked by the chain after identify, by admission (bind and escalate checks) and by the access
// reviews. On the server's loop; answers come from caches, so they are synchronous.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "machinery/request/request.h"

namespace apiserver::auth {

struct Attributes {
  machinery::request::Identity identity;
  std::string verb;  // "get", ..., also "impersonate", "approve", "escalate"; lower-case HTTP method for paths
  bool resource_request = true;
  std::string group, version, resource, subresource, namespace_name, name;
  std::string path;  // non-resource requests
  std::string label_selector, field_selector;
};

enum class Decision : uint8_t { kNoOpinion, kAllow, kDeny };
struct Verdict {
  Decision decision = Decision::kNoOpinion;
  std::string reason;  // `RBAC: allowed by ClusterRoleBinding "x" of ...`
  std::string error;   // evaluation errors, for reviews
};

class Authorizer {
 public:
  virtual ~Authorizer() = default;
  virtual Verdict Authorize(const Attributes& a) = 0;
};

// The first opinion wins.
class AuthorizerChain final : public Authorizer {
 public:
  explicit AuthorizerChain(std::vector<std::unique_ptr<Authorizer>> members) : members_(std::move(members)) {}
  Verdict Authorize(const Attributes& a) override;

 private:
  std::vector<std::unique_ptr<Authorizer>> members_;
};

}  // namespace apiserver::auth
