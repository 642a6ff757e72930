// Authenticators that look at the connection: client certificates and the front proxy's headers.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "apiserver/auth/authenticator.h"
#include "apiserver/auth/certificates.h"

namespace apiserver::auth {

// The user is the common name of a good client certificate, its groups are the organizations. A certificate that is not
// good (any more) is an error, never an anonymous client.
std::unique_ptr<Authenticator> ClientCertificates(std::shared_ptr<CaFile> authorities, base::Executor& executor);

// Headers that no flag names are not believed.
struct FrontProxyOptions {
  std::vector<std::string> allowed_names;
  std::vector<std::string> username_headers;
  std::vector<std::string> uid_headers;
  std::vector<std::string> group_headers;
  std::vector<std::string> extra_prefixes;
};
// Believes the identity headers of a peer whose certificate the proxy's own CA has signed.
std::unique_ptr<Authenticator> FrontProxy(FrontProxyOptions options, std::shared_ptr<CaFile> authorities,
                                          base::Executor& executor);

}  // namespace apiserver::auth
