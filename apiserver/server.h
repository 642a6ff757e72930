// The apiserver as an object: storage in, requests out. Core is everything without sockets (simulations and tests run
// it in-process); Server puts the REST and gRPC fronts on a listener.
//
// Everything in memory is confined to ONE loop: caches, strategies, admission and authorization are synchronous and
// need no locks. Blocking work (bcrypt, RSA signing) goes to pools.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "apiserver/chain/chain.h"
#include "base/random.h"

namespace machinery::schema {
class Schema;
}

namespace apiserver {

struct CoreOptions {
  registry::RegistryOptions registry;
  chain::Limits limits;
  chain::Manners manners;
  std::vector<std::string> enable_admission_plugins, disable_admission_plugins;
};

// The schema of everything this program was built with; made once (about 100 ms) and shared.
const machinery::schema::Schema& BuiltinSchema();

// What a Core is connected to; all may be null (in-process: the request's own identity counts, everything is allowed).
struct Wiring {
  auth::Authenticator* authenticator = nullptr;
  auth::Authorizer* authorizer = nullptr;
  base::MetricsRegistry* metrics = nullptr;
};

class Core {
 public:
  // `wire` is asked once, after the registry is made and before its caches are filled: authorizers read them. Null:
  // nothing is connected.
  using Wire = std::function<Wiring(registry::Registry& registry)>;
  Core(base::Executor& executor, storage::Storage& storage, base::Random random, CoreOptions options,
       const Wire& wire = nullptr);
  ~Core();

  // Runs the caches until the context ends.
  base::Task<void> Run(base::Context ctx);
  base::Task<base::Status> WaitReady(base::Context ctx);
  registry::Registry& registry();
  chain::Chain& chain();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// A Transport that goes straight into a Core's chain as `identity`; both live on one executor. Every call suspends once
// before it acts, so that a simulator can interleave there.
std::unique_ptr<machinery::request::Transport> InProcessTransport(Core& core, machinery::request::Identity identity);

}  // namespace apiserver
