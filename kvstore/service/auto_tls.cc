#include "kvstore/service/auto_tls.h"

#include <algorithm>

#include "base/file.h"
#include "base/log.h"
#include "base/net/self_signed.h"

namespace kvstore::service {

base::Result<CertificateFiles> AutoCertificate(const std::string& directory, const std::vector<std::string>& hosts,
                                               uint32_t years) {
  constexpr uint32_t kLongest = 290;  // as far as the original can count
  base::FileSystem& fs = base::PosixFileSystem();
  CertificateFiles out{directory + "/cert.pem", directory + "/key.pem"};
  TRY_ASSIGN(bool have_certificate, fs.Exists(out.certificate));
  TRY_ASSIGN(bool have_key, fs.Exists(out.key));
  if (have_certificate && have_key) return out;
  base::LogWarning("automatically generate certificates", {{"directory", directory}, {"validity-years", years}});
  TRY_ASSIGN(base::net::PemPair pair,
             base::net::MakeSelfSigned({.common_name = {},
                                        .organization = "etcd",
                                        .hosts = hosts,
                                        .years = static_cast<int>(std::min(years, kLongest))}));
  TRY(fs.MakeDirectories(directory));
  TRY(base::WriteFileAtomically(fs, out.certificate, pair.certificate, 0644));
  base::LogInfo("created cert file", {{"path", out.certificate}});
  TRY(base::WriteFileAtomically(fs, out.key, pair.key, 0600));
  base::LogInfo("created key file", {{"path", out.key}});
  return out;
}

std::vector<std::string> HostsOf(const std::vector<std::string>& urls) {
  std::vector<std::string> out;
  for (const std::string& url : urls) {
    size_t scheme = url.find("://");
    if (scheme == url.npos || url.starts_with("unix")) continue;
    std::string rest = url.substr(scheme + 3);
    rest = rest.substr(0, rest.find('/'));
    size_t colon = rest.rfind(':');
    if (colon == rest.npos || rest.ends_with(']')) continue;
    std::string host = rest.substr(0, colon);
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    if (std::ranges::find(out, host) == out.end()) out.push_back(host);
  }
  return out;
}

}  // namespace kvstore::service
