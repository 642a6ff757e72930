// What makes a Core a whole API server: authentication, authorization, allocators, bootstrap objects, health checks and
// the paths beside resources. Made from values (flags and the files they name); connected to a Core's registry through
// Core's Wire.
//
//   auto plane = ControlPlane::Make(options);                       // reads files, checks flags
//   Core core(loop, storage, random, core_options,
//             [&](registry::Registry& r) { return plane->Connect(r, &metrics); });
//   plane->MountOn(front); plane->MountStreaming(loop, front, kubelets);
//   ... core.Run in the background, core.WaitReady ...
//   plane->Start(ctx);  scope.Spawn(plane->Run(ctx));
//
// Owned by the Server, on its loop.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "apiserver/chain/rest.h"
#include "apiserver/server.h"
#include "apiserver/streaming/streaming.h"
#include "base/metrics.h"

namespace apiserver {

struct ControlPlaneOptions {
  // Who asks.
  bool anonymous_auth = true;
  std::string client_ca_file, token_auth_file;
  std::string requestheader_client_ca_file;
  std::vector<std::string> requestheader_allowed_names, requestheader_username_headers, requestheader_uid_headers,
      requestheader_group_headers, requestheader_extra_headers_prefix;
  // Tokens of service accounts.
  std::vector<std::string> service_account_issuers, service_account_key_files, api_audiences;
  std::string service_account_signing_key_file, service_account_jwks_uri;
  bool extend_token_expiration = true;
  int64_t max_token_expiration_seconds = 0;
  // Who may do what.
  std::vector<std::string> authorization_modes = {"AlwaysAllow"};
  // The cluster.
  std::string service_cluster_ip_range;  // "10.96.0.0/16,fd00::/108"; "" = 10.0.0.0/24
  std::string service_node_port_range = "30000-32767";
  int kubernetes_service_node_port = 0;
  std::string bind_address, advertise_address;
  std::string external_hostname;  // what clients are told in place of the advertised address; "" = that
  int secure_port = 6443;
  std::string hostname;
  std::vector<std::string> flags;  // "name=value", for /flagz
  base::BlockingPool* signing_pool = nullptr;
};

class ControlPlane {
 public:
  static base::Result<std::unique_ptr<ControlPlane>> Make(ControlPlaneOptions options);
  ~ControlPlane();

  // Once, from Core's constructor. `metrics` may be null.
  Wiring Connect(registry::Registry& registry, base::MetricsRegistry* metrics);
  void MountOn(chain::RestFront& front);
  base::Status MountStreaming(base::Loop& loop, chain::RestFront& front, streaming::KubeletAccess access);
  // ComponentStatus: asks the other daemons of this machine for their health.
  base::Status AskPeers(base::Loop& loop);

  // Creates what a server creates for itself, once the caches are filled. The server is ready afterwards.
  base::Task<base::Status> Start(base::Context ctx);
  // Keeps it, repairs allocators, watches the store's health, until the context ends.
  base::Task<void> Run(base::Context ctx);
  // /readyz fails from here on.
  void BeginShutdown();
  bool started() const;

 private:
  struct Impl;
  explicit ControlPlane(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace apiserver
