// etcd's --auto-tls and --peer-auto-tls: certificates of a member's own making, kept under its data directory. Used
// while a member starts; one thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace kvstore::service {

struct CertificateFiles {
  std::string certificate, key;
};
// cert.pem and key.pem in `directory`, made if one of them is not there: for `hosts`, for as many years.
base::Result<CertificateFiles> AutoCertificate(const std::string& directory, const std::vector<std::string>& hosts,
                                               uint32_t years);

// "http://10.0.0.1:2380", "https://[::1]:2380" -> "10.0.0.1", "::1". What has no port is left out.
std::vector<std::string> HostsOf(const std::vector<std::string>& urls);

}  // namespace kvstore::service
