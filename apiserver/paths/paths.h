// The paths that are no resources, mounted on the REST front: /, /version, health, metrics, discovery, OpenAPI, and the
// keys of service account tokens.
//
// Owned by the Server, on its loop.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "apiserver/auth/jwt.h"
#include "apiserver/chain/rest.h"
#include "apiserver/paths/discovery.h"
#include "apiserver/paths/health.h"
#include "base/metrics.h"
#include "machinery/ops/openapi.h"

namespace apiserver::paths {

struct PathsOptions {
  std::string server_address;  // "192.0.2.10:6443"
  std::vector<bootstrap::Policy::GroupVersion> priorities;
  std::string issuer;    // of service account tokens; "" = no openid paths
  std::string jwks_uri;  // "" = made from the server's address
  std::vector<auth::PublicKey> keys;
  std::vector<std::string> flags;  // "name=value" for /flagz
};

class Paths {
 public:
  // `metrics` may be null. `health` must outlive this.
  Paths(registry::Registry& registry, Health& health, base::MetricsRegistry* metrics, PathsOptions options);
  ~Paths();
  void MountOn(chain::RestFront& front);

 private:
  using Exchange = base::net::Exchange;
  using Task = base::Task<void>;
  Task Root(Exchange& e);
  Task Version(Exchange& e);
  Task ServeHealth(Exchange& e);
  Task Text(Exchange& e, std::string body);
  Task Group(Exchange& e);
  Task Api(Exchange& e, bool core);
  Task OpenApiV2(Exchange& e);
  Task OpenApiV3(Exchange& e);
  Task OpenIdConfiguration(Exchange& e);
  Task Keys(Exchange& e);
  Task Answer(Exchange& e, const machinery::value::Value& document, std::string_view kind);
  // With ETag, and 304 when the client has it already.
  Task Cached(Exchange& e, base::net::Headers headers, base::SharedBytes body, const std::string& etag);
  std::vector<std::string> AllPaths() const;

  registry::Registry& registry_;
  Health& health_;
  base::MetricsRegistry* metrics_;
  PathsOptions options_;
  Discovery discovery_;
  machinery::ops::OpenApi openapi_;
  struct Document {
    base::SharedBytes body;
    std::string etag;
  };
  std::map<std::string, Document> documents_;  // aggregated discovery, by media type and path
  // OpenAPI is large and rarely asked for: the hashes are kept, of the documents the last one.
  std::string openapi_index_;
  std::pair<std::string, Document> last_openapi_;
};

}  // namespace apiserver::paths
