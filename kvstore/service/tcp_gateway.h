// `kvstore gateway start`: connections of clients to whichever endpoint of a cluster is there, byte for byte. Used by
// main() in place of the server.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/net/dns.h"
#include "base/random.h"

namespace kvstore::service {

// Which endpoint the next connection goes to: among the active ones those of the best priority; of these by weight,
// where any has one, else in turns. Pure; one strand.
class EndpointChoice {
 public:
  explicit EndpointChoice(const std::vector<base::net::ServiceRecord>& endpoints);
  size_t size() const { return remotes_.size(); }
  std::string Address(size_t i) const;  // "host:port"
  bool active(size_t i) const { return remotes_[i].active; }
  void SetActive(size_t i, bool active) { remotes_[i].active = active; }
  // size(): nobody is active.
  size_t Pick(base::Random& random);

 private:
  struct Remote {
    base::net::ServiceRecord record;
    bool active = true;
  };
  size_t InTurns(const std::vector<size_t>& among);
  std::vector<Remote> remotes_;
  size_t turn_ = 0;
};

// "http://a:1", "a:1" -> a record. kInvalidArgument: no host and port.
base::Result<base::net::ServiceRecord> ParseEndpoint(const std::string& text);

// Runs until it is told to stop; `args` are main's. The exit code.
int RunGateway(std::vector<std::string> args);
// Says why there is none; the exit code.
int RefuseGrpcProxy();

}  // namespace kvstore::service
