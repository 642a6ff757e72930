// TLS settings, for servers and clients. Files are read again when they change (checked at most once a second, at the
// next handshake; the list of revoked certificates at every handshake), so certificates rotate without a restart. TLS
// 1.2 and 1.3 only. A server that requires certificates and is given no authorities trusts the machine's. Thread-safe.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"

namespace base::net {

struct TlsFiles {
  std::string cert_file;  // PEM chain; "" = none (clients only)
  std::string key_file;
  std::string ca_file;       // trust anchors: a client's for the server, a server's for client certificates
  std::string server_name;   // clients: name to verify instead of the host ("" = the host)
  bool skip_verify = false;  // clients: accept any certificate (never by default)
  enum class ClientAuth { kNone, kRequest, kRequireAndVerify } client_auth = ClientAuth::kRequest;
  std::vector<std::string> alpn = {"h2", "http/1.1"};
  int minimum_version = 12;                // 12 or 13
  int maximum_version = 0;                 // 12 or 13; 0 = the newest
  std::vector<std::string> cipher_suites;  // IANA names; empty = OpenSSL's good default

  // What the peer's certificate must be besides vouched for (tls_restrictions.h). Each empty = no restriction.
  std::string crl_file;  // servers: none of the peer's certificates is listed in it; DER or PEM
  std::vector<std::string> allowed_common_names;
  std::vector<std::string> allowed_hostnames;  // names or addresses
  std::string rejection_message;               // servers: a failed handshake is logged under it; "" = it is not
};

class ServerTls {
 public:
  static Result<std::shared_ptr<ServerTls>> FromFiles(TlsFiles files);
  virtual ~ServerTls() = default;
};

class ClientTls {
 public:
  static Result<std::shared_ptr<ClientTls>> FromFiles(TlsFiles files);
  // PEM texts in place of files (kubeconfig data fields).
  static Result<std::shared_ptr<ClientTls>> FromPem(std::string ca_pem, std::string cert_pem, std::string key_pem,
                                                    TlsFiles options);
  virtual ~ClientTls() = default;
};

}  // namespace base::net
