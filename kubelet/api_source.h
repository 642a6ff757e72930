// Config maps, secrets and tokens for pods, from the API: asked for one by one (the node may read only what its pods
// name), shared between askers of the same moment. One strand.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "base/random.h"
#include "kubelet/volumes/volume.h"
#include "machinery/client/client.h"

namespace kubelet {

class ApiSource final : public volumes::Source {
 public:
  // `client` is null in standalone mode: everything is then an error that says so.
  ApiSource(base::Executor& executor, machinery::client::Client* client);

  std::function<NodeFacts(const api::Pod&)> facts;

  base::Task<base::Result<std::shared_ptr<const api::ConfigMap>>> ConfigMap(base::Context ctx, std::string ns,
                                                                            std::string name) override;
  base::Task<base::Result<std::shared_ptr<const api::Secret>>> Secret(base::Context ctx, std::string ns,
                                                                      std::string name) override;
  base::Task<base::Result<volumes::Token>> ServiceAccountToken(base::Context ctx, PodPtr pod, std::string audience,
                                                               int64_t expiration_seconds) override;
  NodeFacts FactsFor(const api::Pod& pod) override { return facts ? facts(pod) : NodeFacts(); }
  // Forgets the tokens of a pod that is gone.
  void ForgetPod(const std::string& uid);

 private:
  template <class T>
  struct Cached {
    std::shared_ptr<const T> object;
    base::MonoTime at;
  };
  template <class T>
  using Cache = std::map<std::string, Cached<T>>;
  template <class T>
  base::Task<base::Result<std::shared_ptr<const T>>> Get(base::Context ctx, Cache<T>& cache, std::string ns,
                                                         std::string name);
  struct HeldToken {
    volumes::Token token;
    int64_t renew_at_ns = 0;
  };
  base::Executor& executor_;
  machinery::client::Client* client_;
  Cache<api::ConfigMap> config_maps_;
  Cache<api::Secret> secrets_;
  std::map<std::string, HeldToken> tokens_;  // "uid/account/audience/seconds"
};

// Credentials for the registries that a pod's imagePullSecrets speak of, those that fit `image` only.
std::vector<cri::AuthConfig> CredentialsFor(const std::vector<std::shared_ptr<const api::Secret>>& secrets);

}  // namespace kubelet
