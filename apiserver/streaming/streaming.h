// pods/log, exec, attach, portforward and the proxies: verbs whose answer is a stream of bytes from a node or a pod.
//
// Logs are copied piece by piece as they come. Exec, attach and port-forward pass an HTTP/1.1 upgrade (SPDY/3.1)
// through byte for byte, once both sides have agreed; a WebSocket upgrade is refused with 400, on which kubectl falls
// back to SPDY. Every connection is the client's own and ends with it.
//
// Owned by the Server, on its loop.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "apiserver/chain/rest.h"
#include "base/loop.h"
#include "base/net/client.h"

namespace apiserver::streaming {

struct KubeletAccess {
  std::string certificate_file, key_file;  // --kubelet-client-certificate, --kubelet-client-key
  std::string ca_file;  // --kubelet-certificate-authority; "" = a kubelet's certificate is not checked
  std::vector<std::string> preferred_address_types = {"InternalIP", "Hostname", "InternalDNS", "ExternalDNS",
                                                      "ExternalIP"};
  int default_port = 10250;
  base::Duration timeout = std::chrono::seconds(5);  // to connect
};

struct ProxyName;

class Streaming {
 public:
  static base::Result<std::unique_ptr<Streaming>> Make(base::Loop& loop, registry::Registry& registry,
                                                       KubeletAccess access);
  void MountOn(chain::RestFront& front);

 private:
  using Exchange = base::net::Exchange;
  using Request = machinery::request::Request;
  using Value = machinery::value::Value;
  struct Target {
    std::string origin;  // "https://10.0.0.1:10250"
    std::string path;    // with query
    std::shared_ptr<base::net::ClientTls> tls;
  };

  Streaming(base::Loop& loop, registry::Registry& registry, KubeletAccess access)
      : loop_(loop), registry_(registry), access_(std::move(access)) {}

  base::Task<void> Log(Exchange& e, Request r);
  base::Task<void> Stream(Exchange& e, Request r);
  base::Task<void> Proxy(Exchange& e, Request r);
  base::Task<base::Result<Value>> Find(base::Context ctx, std::string resource, std::string ns, std::string name);
  struct Kubelet {
    std::string host;  // an address or a name
    int64_t port = 0;
  };
  base::Task<base::Result<Kubelet>> FindKubelet(base::Context ctx, std::string node);
  // Where the kubelet of a pod's node listens.
  base::Task<base::Result<std::string>> KubeletOrigin(base::Context ctx, std::string node);
  base::Status MayStream(const Exchange& e, const Request& r) const;
  base::Task<base::Result<Target>> LogTarget(base::Context ctx, const Request& r);
  base::Task<base::Result<Target>> StreamTarget(base::Context ctx, const Request& r);
  // Scheme, host and port that a proxy goes to, and how.
  base::Task<base::Result<Target>> ProxyTarget(base::Context ctx, const Request& r);
  base::Task<base::Result<Target>> NodeTarget(base::Context ctx, const Request& r, const ProxyName& to);
  base::Task<base::Result<Target>> PodTarget(base::Context ctx, const Request& r, const ProxyName& to);
  base::Task<base::Result<Target>> ServiceTarget(base::Context ctx, const Request& r, const ProxyName& to);
  base::Task<base::Result<std::string>> NamedServicePort(base::Context ctx, const Request& r, const ProxyName& to);
  base::Task<base::Status> MayProxyToHost(std::string host);
  base::net::ClientOptions ClientFor(const Target& target, bool http1) const;
  base::Task<void> Splice(Exchange& e, Target target);
  base::Task<void> Forward(Exchange& e, Target target);

  base::Loop& loop_;
  registry::Registry& registry_;
  KubeletAccess access_;
  std::shared_ptr<base::net::ClientTls> kubelet_tls_, unchecked_kubelet_tls_;
  // Of whoever is no kubelet: our client certificate is not for them.
  std::shared_ptr<base::net::ClientTls> anybody_tls_;
  std::unique_ptr<base::BlockingPool> name_pool_;
};

// The container that a log, exec or attach means: the named one, the only one, or the one that the annotation
// kubectl.kubernetes.io/default-container names; 400 in the original's words otherwise. For tests.
base::Result<std::string> ChooseContainer(const machinery::value::Value& pod, const std::string& wanted);

}  // namespace apiserver::streaming
