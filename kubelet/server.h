// The kubelet's own API on 10250: logs, exec, attach and port-forward for the apiserver, pods, metrics and health for
// those who may ask. Callers show a client certificate or a bearer token (checked by TokenReview); what they may do is
// asked of the apiserver (SubjectAccessReview) unless the mode is AlwaysAllow.
//
// Streams are not understood here: the runtime is asked for the address of its streaming server, the caller's upgrade
// is repeated there, and the two connections are joined byte for byte. One strand.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/net/health.h"
#include "base/net/server.h"
#include "kubelet/agent.h"

namespace kubelet {

struct ServerOptions {
  bool anonymous = false;
  bool webhook_authentication = false;
  bool webhook_authorization = false;  // else AlwaysAllow
  base::Duration token_ttl = std::chrono::minutes(2);
  base::Duration allowed_ttl = std::chrono::minutes(5), denied_ttl = std::chrono::seconds(30);
  std::string configz;  // JSON
};

class Server {
 public:
  // `client` may be null (standalone): webhooks then refuse.
  Server(base::Loop& loop, Agent& agent, machinery::client::Client* client, base::net::HealthEndpoints& health,
         ServerOptions options);
  base::Task<void> Handle(base::net::Exchange& exchange);

 private:
  struct User {
    std::string name, uid;
    std::vector<std::string> groups;
    std::map<std::string, std::vector<std::string>> extra;
  };
  struct Target {
    PodPtr pod;
    std::string container_id;
    ContainerPtr container;
  };
  using Query = std::vector<std::pair<std::string, std::string>>;
  base::Task<base::Result<User>> Authenticate(base::net::Exchange& e);
  base::Task<base::Result<bool>> Ask(base::Context ctx, const User& user, std::string verb, std::string subresource);
  base::Task<void> Route(base::net::Exchange& e);
  base::Task<void> Logs(base::net::Exchange& e, std::vector<std::string> path);
  base::Task<void> Exec(base::net::Exchange& e, std::vector<std::string> path, bool attach);
  base::Task<void> PortForward(base::net::Exchange& e, std::vector<std::string> path);
  base::Task<void> Stream(base::net::Exchange& e, std::string url);
  base::Task<void> Summary(base::net::Exchange& e);
  base::Result<Target> FindTarget(const std::vector<std::string>& path) const;
  base::Result<std::string> LogFile(const Target& target, const std::string& container, bool previous) const;

  base::Loop& loop_;
  Agent& agent_;
  machinery::client::Client* client_;
  base::net::HealthEndpoints& health_;
  ServerOptions options_;
  template <class T>
  struct Held {
    T value;
    base::MonoTime until;
  };
  std::map<std::string, Held<std::optional<User>>> tokens_;  // by the token's hash
  std::map<std::string, Held<bool>> decisions_;
};

}  // namespace kubelet
