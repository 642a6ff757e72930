// Config maps, secrets and tokens for pods, from the API. What pods of this node name is watched, one watch per object
// (the node may read nothing else); what is not watched yet, or is unknown to its watch, is asked for. One strand.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "base/random.h"
#include "base/sync.h"
#include "kubelet/volumes/volume.h"
#include "machinery/client/informer.h"

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
  // Called with the pod's uid when something that it names has changed, came, or went.
  std::function<void(const std::string& uid)> on_change;
  // From now on what pods name is watched, by tasks of `scope`.
  void StartWatching(base::TaskScope& scope) { scope_ = &scope; }
  // A pod is here, or names other things than before.
  void Reference(const api::Pod& pod);
  // A pod is gone: nobody watches for it, and its tokens are forgotten.
  void ForgetPod(const std::string& uid);
  size_t watches() const { return watches_; }

 private:
  template <class T>
  struct Cached {
    std::shared_ptr<const T> object;
    base::MonoTime at;
  };
  template <class T>
  using Cache = std::map<std::string, Cached<T>>;
  // An object that pods name.
  template <class T>
  struct Named {
    std::set<std::string> pods;  // uids
    std::shared_ptr<machinery::client::Informer<T>> informer;
    base::Context ctx;              // of its watch
    std::shared_ptr<const T> kept;  // immutable: needs no watch
  };
  // One kind: what is watched and what was asked for, by "namespace/name".
  template <class T>
  struct Kind {
    std::map<std::string, Named<T>> named;
    Cache<T> cache;
  };
  template <class T>
  base::Task<base::Result<std::shared_ptr<const T>>> Get(base::Context ctx, Kind<T>& kind, std::string ns,
                                                         std::string name);
  template <class T>
  void SetReferences(Kind<T>& kind, const std::string& uid, const std::string& ns, const std::set<std::string>& names);
  template <class T>
  void Watch(Kind<T>& kind, const std::string& ns, const std::string& name);
  template <class T>
  void Changed(Kind<T>& kind, const std::string& key, const machinery::client::Change<T>& change);
  template <class T>
  void Unwatch(Named<T>& named);
  struct HeldToken {
    volumes::Token token;
    int64_t renew_at_ns = 0;
  };
  base::Executor& executor_;
  machinery::client::Client* client_;
  base::TaskScope* scope_ = nullptr;
  size_t watches_ = 0;
  Kind<api::ConfigMap> config_maps_;
  Kind<api::Secret> secrets_;
  std::map<std::string, HeldToken> tokens_;  // "uid/account/audience/seconds"
};

// Names of the config maps and secrets that a pod names, in its volumes, variables and pull secrets.
struct PodReferences {
  std::set<std::string> config_maps, secrets;
};
PodReferences ReferencesOf(const api::Pod& pod);

// Credentials for the registries that a pod's imagePullSecrets speak of, those that fit `image` only.
std::vector<cri::AuthConfig> CredentialsFor(const std::vector<std::shared_ptr<const api::Secret>>& secrets);

}  // namespace kubelet
