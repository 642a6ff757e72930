// A server certificate made in memory, for daemons that serve HTTPS without being given one: as the originals do, so
// that /healthz has its port from the first start. Clients cannot verify it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/net/tls.h"

namespace base::net {

struct PemPair {
  std::string certificate, key;
};
struct SelfSigned {
  std::string common_name;
  std::string organization = {};
  std::vector<std::string> hosts;  // names and addresses under which it serves
  int years = 1;
};
// For those who keep it in files. Whoever trusts the certificate as an authority can verify the server.
Result<PemPair> MakeSelfSigned(const SelfSigned& what);
// For `name` and localhost, for a year.
Result<PemPair> MakeSelfSigned(const std::string& name);

// Valid for a year for `name` and localhost; key and certificate live in this process only. `options` gives the client
// CA, versions and ciphers.
Result<std::shared_ptr<ServerTls>> SelfSignedServerTls(const std::string& name, TlsFiles options);

}  // namespace base::net
