// Reads a kubeconfig file: which server to talk to, how to trust it, and as whom. Certificates and keys may stand in
// the file (…-data) or beside it; relative paths are relative to the file. Exec and auth-provider plugins, user names
// and passwords, proxies and impersonation are not supported and give an error that says so. Blocking; for start-up.
#pragma once

#include <functional>
#include <string>

#include "base/file.h"
#include "base/net/client.h"

namespace machinery::client {

struct Kubeconfig {
  std::string server;          // "https://127.0.0.1:6443"
  std::string namespace_name;  // of the context; "" = default
  base::net::ClientOptions options;
  // The same server and trust without the client certificate: for connections whose calls carry other credentials,
  // because a certificate would win over a token.
  base::net::ClientOptions anonymous_options;
  // The bearer token to send; reads a token file again when a minute has passed. Empty function: none.
  std::function<std::string()> token;
};

// `context` picks one other than current-context.
base::Result<Kubeconfig> LoadKubeconfig(base::FileSystem& fs, const std::string& path, const std::string& context = {});

}  // namespace machinery::client
