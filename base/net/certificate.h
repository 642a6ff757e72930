// The names in a certificate, for the engine's own .cc files. Pure; any thread.
#pragma once

#include <string>
#include <vector>

#include "base/net/tls_impl.h"

namespace base::net {

struct CertificateNames {
  std::string common_name;  // the last one, where there are several
  std::vector<std::string> organizations;
  std::vector<std::string> dns, addresses;  // alternative names
};
CertificateNames NamesOf(X509* certificate);

// "10.0.0.1", "::1": what is compared with alternative addresses, not with names.
bool IsAddressText(const std::string& host);

}  // namespace base::net
