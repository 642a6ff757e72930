// A whole apiserver over memory storage on a plain port: what kube-apiserver is but for TLS, the store and the daemons'
// gRPC. For tests that replay REST exchanges.
//
//   apiserver_whole_server ADDRESS TOKEN_FILE SIGNING_KEY_FILE CA_FILE
//
// Prints the address it listens on once it is ready. Its cluster is the recordings': --advertise-address=192.0.2.10
// --secure-port=7443 --service-cluster-ip-range=10.96.0.0/16 --authorization-mode=Node,RBAC and NodeRestriction.
#include <cstdio>

#include "apiserver/chain/rest.h"
#include "apiserver/plane/control_plane.h"
#include "apiserver/storage/memory.h"
#include "base/daemon.h"
#include "base/sync.h"

namespace {

apiserver::ControlPlaneOptions OptionsOf(char** argv) {
  apiserver::ControlPlaneOptions o;
  o.token_auth_file = argv[2];
  o.service_account_signing_key_file = argv[3];
  o.client_ca_file = o.requestheader_client_ca_file = argv[4];
  o.requestheader_allowed_names = {"front-proxy-client"};
  o.authorization_modes = {"Node", "RBAC"};
  o.service_cluster_ip_range = "10.96.0.0/16";
  o.advertise_address = "192.0.2.10";
  o.secure_port = 7443;
  o.hostname = "vm";
  return o;
}

base::Task<base::Status> Serve(base::Daemon& daemon, char** argv) {
  base::Loop& loop = daemon.loop();
  base::Random random = base::Random::System();
  apiserver::storage::MemoryStorage storage(loop);
  CO_TRY_ASSIGN(auto plane, apiserver::ControlPlane::Make(OptionsOf(argv)));
  apiserver::CoreOptions options;
  options.enable_admission_plugins = {"NodeRestriction"};
  apiserver::Core core(loop, storage, random.Fork(), std::move(options),
                       [&](auto& registry) { return plane->Connect(registry, &daemon.metrics()); });
  apiserver::chain::RestFront front(core.chain());
  plane->MountOn(front);
  CO_TRY(plane->MountStreaming(loop, front, {}));
  base::TaskScope scope(loop, daemon.context());
  scope.Spawn(core.Run(scope.context()));
  auto started = co_await core.WaitReady(daemon.context());
  if (started.ok()) started = co_await plane->Start(daemon.context());
  scope.Spawn(plane->Run(scope.context()));
  base::net::Server server({&loop}, [&front](base::net::Exchange& e) { return front.Serve(e); });
  if (started.ok()) {
    auto bound = server.Listen(argv[1]);
    if (bound) {
      std::printf("%s\n", bound->c_str());
      std::fflush(stdout);
      base::Event never(loop);
      (void)co_await never.Wait(daemon.context());
    } else {
      started = bound.error();
    }
  }
  co_await server.Stop(std::chrono::seconds(1));
  co_await scope.CancelAndJoin();
  co_return started;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return std::fprintf(stderr, "apiserver_whole_server ADDRESS TOKEN_FILE SIGNING_KEY_FILE CA_FILE\n"), 2;
  base::Daemon daemon;
  return daemon.Run([&](base::Daemon& d) { return Serve(d, argv); });
}
