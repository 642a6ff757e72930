// Authenticators that look at the connection: client certificates and the front proxy's headers.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "apiserver/auth/authenticator.h"

namespace apiserver::auth {

// The user is the common name of a verified client certificate, its groups are the organizations.
std::unique_ptr<Authenticator> ClientCertificates();

struct FrontProxyOptions {
  std::string ca_pem;  // --requestheader-client-ca-file
  std::vector<std::string> allowed_names;
  std::vector<std::string> username_headers = {"x-remote-user"};
  std::vector<std::string> uid_headers;
  std::vector<std::string> group_headers = {"x-remote-group"};
  std::vector<std::string> extra_prefixes = {"x-remote-extra-"};
};
// Believes the identity headers of a peer whose certificate the proxy's own CA has signed.
base::Result<std::unique_ptr<Authenticator>> FrontProxy(FrontProxyOptions options);

// Whether the DER certificate is signed (directly) by one of the CAs and valid at this time.
bool SignedBy(const std::string& certificate_der, const std::string& ca_pem);

}  // namespace apiserver::auth
