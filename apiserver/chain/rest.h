// The REST front: turns an HTTP exchange into a Request, hands it to the chain, writes the answer; paths that are no
// resources go to handlers that were mounted (discovery, OpenAPI, healthz, version, metrics).
//
// Made by the Server; called by base/net for every exchange on the server's loop.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "apiserver/chain/chain.h"
#include "base/net/server.h"

namespace apiserver::chain {

// `identity` is who asks (authorized for the path already, unless mounted as open).
using PathHandler =
    std::function<base::Task<void>(base::net::Exchange& exchange, const machinery::request::Identity& identity)>;

// A resource request that is answered by bytes of its own: log, exec, portforward, proxy. Its verb is kConnect, its
// subpath what follows the subresource, decoded.
using ConnectHandler = std::function<base::Task<void>(base::net::Exchange& exchange, Request request)>;
struct Connect {
  std::string group, version, resource, subresource;
  std::vector<std::string_view> methods;
  bool namespaced = true;
  bool subpath = false;  // whatever follows the subresource is the other side's
};

class RestFront {
 public:
  explicit RestFront(Chain& chain);
  ~RestFront();

  // An exact path ("/version"), or a prefix when it ends in '/' ("/openapi/v3/"). The longest match wins. Resource
  // paths
  // (/api/v1/..., /apis/g/v/...) are never looked up here; "/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1"
  // are.
  void Mount(std::string path, PathHandler handler);
  // Asked for every "/api/<v>" and "/apis/<g>[/<v>]" that no exact mount answers (discovery of group versions).
  void MountDiscovery(PathHandler handler);
  void MountConnect(Connect what, ConnectHandler handler);

  base::Task<void> Serve(base::net::Exchange& exchange);

  // Writes an error as a metav1.Status: as JSON, or in the media type the client accepts when there is a schema.
  static base::Task<void> RespondError(base::net::Exchange& exchange, base::Status error,
                                       const machinery::schema::Schema* schema = nullptr,
                                       std::vector<std::string> warnings = {});
  static base::Task<void> RespondJson(base::net::Exchange& exchange, int code, std::string body);
  // The Accept header's choice among `offered` ("application/json", ...); "" when none fits.
  static std::string Negotiate(std::string_view accept, const std::vector<std::string_view>& offered);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace apiserver::chain
