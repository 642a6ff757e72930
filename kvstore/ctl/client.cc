#include "kvstore/ctl/client.h"

namespace kvstore::ctl {

using base::Result;

Result<std::unique_ptr<Connection>> Connection::Open(base::Loop& loop, const ClientFlags& flags,
                                                     const std::vector<std::string>& endpoints) {
  base::net::ClientOptions o;
  bool tls = !flags.cacert.empty() || !flags.cert.empty() || flags.insecure_skip_tls_verify;
  for (std::string e : endpoints) {
    if (e.find("://") == std::string::npos) e = (tls ? "https://" : "http://") + e;
    tls |= e.starts_with("https://");
    o.endpoints.push_back(std::move(e));
  }
  o.http2_prior_knowledge = true;
  o.connect_timeout = flags.dial_timeout;
  if (tls) {
    base::net::TlsFiles files{.cert_file = flags.cert, .key_file = flags.key, .ca_file = flags.cacert};
    files.skip_verify = flags.insecure_skip_tls_verify;
    files.alpn = {"h2"};
    TRY_ASSIGN(o.tls, base::net::ClientTls::FromFiles(files));
  }
  return std::unique_ptr<Connection>(new Connection(loop, std::move(o), flags.command_timeout));
}

}  // namespace kvstore::ctl
