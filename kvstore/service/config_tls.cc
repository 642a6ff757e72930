// Config's TLS: what of etcd's flags goes together, and the settings of listeners and of connections to peers.
#include <netinet/in.h>

#include <arpa/inet.h>

#include "base/json_writer.h"
#include "kvstore/service/auto_tls.h"
#include "kvstore/service/config.h"

namespace kvstore::service {

using base::Err;
using base::InvalidArgument;
using base::Ok;
using base::Result;
using base::Status;
using base::net::TlsFiles;

namespace {

// As Go prints a list of strings with %q.
std::string Quoted(const std::vector<std::string>& list) {
  std::string out = "[";
  for (const std::string& s : list) out += (out.size() == 1 ? "" : " ") + base::GoQuote(s);
  return out + "]";
}

// 12, 13, or 0 for "".
Result<int> VersionOf(const std::string& text) {
  if (text.empty()) return 0;
  if (text == "TLS1.2") return 12;
  if (text == "TLS1.3") return 13;
  return Err(InvalidArgument("unexpected TLS version " + base::GoQuote(text) + " (must be one of: TLS1.2, TLS1.3)"));
}

Status CheckFiles(const TlsFiles& files, const std::string& client_cert, const std::string& client_key) {
  if (files.cert_file.empty() != files.key_file.empty()) {
    return InvalidArgument("KeyFile and CertFile must both be present[key: " + files.key_file +
                           ", cert: " + files.cert_file + "]");
  }
  if (client_cert.empty() != client_key.empty()) {
    return InvalidArgument("ClientKeyFile and ClientCertFile must both be present or both absent: key: " + client_key +
                           ", cert: " + client_cert + "]");
  }
  if (!files.allowed_common_names.empty() && !files.allowed_hostnames.empty()) {
    return InvalidArgument("AllowedCNs and AllowedHostnames are mutually exclusive (cns=" +
                           Quoted(files.allowed_common_names) + ", hostnames=" + Quoted(files.allowed_hostnames) + ")");
  }
  return Ok();
}

// As the original: authorities that are given are asked of everybody.
TlsFiles::ClientAuth AuthOf(const TlsFiles& files, bool asked) {
  return asked || !files.ca_file.empty() ? TlsFiles::ClientAuth::kRequireAndVerify : TlsFiles::ClientAuth::kNone;
}

// Of certificates that nobody vouches for no more is asked, and they are asked of nobody.
TlsFiles OwnMaking(const TlsFiles& given) {
  TlsFiles out;
  out.client_auth = TlsFiles::ClientAuth::kNone;
  out.minimum_version = given.minimum_version;
  out.maximum_version = given.maximum_version;
  out.cipher_suites = given.cipher_suites;
  out.rejection_message = given.rejection_message;
  return out;
}

Result<TlsFiles> ListenerTls(const TlsFiles& given, const std::string& directory, const std::vector<std::string>& urls,
                             uint32_t years) {
  if (!given.cert_file.empty()) return given;
  TlsFiles out = OwnMaking(given);
  TRY_ASSIGN(CertificateFiles files, AutoCertificate(directory, HostsOf(urls), years));
  out.cert_file = files.certificate;
  out.key_file = files.key;
  return out;
}

}  // namespace

Status Config::CheckTlsVersions() {
  TRY_ASSIGN(int minimum, VersionOf(tls_min_version));
  TRY_ASSIGN(int maximum, VersionOf(tls_max_version));
  if (maximum != 0 && minimum > maximum) {
    return InvalidArgument("min version (" + tls_min_version + ") is greater than max version (" + tls_max_version +
                           ")");
  }
  if (minimum == 13 && !tls.cipher_suites.empty()) {
    return InvalidArgument("cipher suites cannot be configured when only TLS1.3 is enabled");
  }
  tls.minimum_version = peer_tls.minimum_version = minimum == 0 ? 12 : minimum;
  tls.maximum_version = peer_tls.maximum_version = maximum;
  // By the names that Go had for them before they had their own.
  for (std::string& name : tls.cipher_suites) {
    if (name.ends_with("_WITH_CHACHA20_POLY1305")) name += "_SHA256";
  }
  peer_tls.cipher_suites = tls.cipher_suites;
  return Ok();
}

Status Config::CheckTls() {
  TRY(CheckTlsVersions());
  for (const auto* urls : {&listen_client_urls, &listen_metrics_urls, &listen_client_http_urls}) {
    for (const std::string& u : *urls) {
      TRY_ASSIGN(ListenUrl listen, ParseListenUrl(u));
      if (!listen.tls || auto_tls || !tls.cert_file.empty() || !tls.key_file.empty()) continue;
      return InvalidArgument(
          urls == &listen_metrics_urls
              ? "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url"
              : "TLS key/cert (--cert-file, --key-file) must be provided for client url " + u + " with HTTPS scheme");
    }
  }
  for (const std::string& u : listen_peer_urls) {
    TRY_ASSIGN(ListenUrl listen, ParseListenUrl(u));
    if (listen.tls && !peer_auto_tls && peer_tls.cert_file.empty() && peer_tls.key_file.empty()) {
      return InvalidArgument("cannot listen on TLS for " + listen.address + ": KeyFile and CertFile are not presented");
    }
  }
  TRY(CheckFiles(tls, client_cert_file, client_key_file));
  TRY(CheckFiles(peer_tls, peer_client_cert_file, peer_client_key_file));
  if ((auto_tls || peer_auto_tls) && self_signed_years == 0) {
    return InvalidArgument("selfSignedCertValidity is invalid,it should be greater than 0");
  }
  tls.client_auth = AuthOf(tls, client_cert_auth);
  peer_tls.client_auth = AuthOf(peer_tls, peer_client_cert_auth);
  tls.rejection_message = "rejected connection on client endpoint";
  peer_tls.rejection_message = "rejected connection on peer endpoint";
  return Ok();
}

void Config::WarnOfWhatIsIgnored() const {
  if (auto_tls && !tls.cert_file.empty()) base::LogWarning("ignoring client auto TLS since certs given");
  if (peer_auto_tls && !peer_tls.cert_file.empty()) base::LogWarning("ignoring peer auto TLS since certs given");
}

Result<TlsFiles> Config::ClientListenerTls() const {
  // Not needed, but what is given must be usable.
  if (!client_cert_file.empty()) {
    TRY(base::net::ClientTls::FromFiles({.cert_file = client_cert_file, .key_file = client_key_file}));
  }
  std::vector<std::string> urls = listen_client_urls;
  urls.insert(urls.end(), listen_client_http_urls.begin(), listen_client_http_urls.end());
  return ListenerTls(tls, data_dir + "/fixtures/client", urls, self_signed_years);
}

Result<TlsFiles> Config::PeerListenerTls() const {
  return ListenerTls(peer_tls, data_dir + "/fixtures/peer", listen_peer_urls, self_signed_years);
}

TlsFiles Config::PeerClientTls() const {
  if (peer_tls.cert_file.empty() && peer_auto_tls) {
    TlsFiles files = OwnMaking(peer_tls);
    files.skip_verify = true;
    return files;
  }
  TlsFiles files = peer_tls;
  if (!peer_client_cert_file.empty()) {
    files.cert_file = peer_client_cert_file;
    files.key_file = peer_client_key_file;
  }
  return files;
}

std::string Config::PeerLocalAddress() const {
  if (!api.features.on("SetMemberLocalAddr")) return {};
  base::LogInfo("searching for a suitable member local address in AdvertisePeerURLs",
                {{"advertise-peer-urls", initial_advertise_peer_urls}});
  for (const std::string& host : HostsOf(initial_advertise_peer_urls)) {
    in_addr v4{};
    in6_addr v6{};
    bool usable = false;
    if (::inet_pton(AF_INET, host.c_str(), &v4) == 1) {
      uint32_t address = ntohl(v4.s_addr);
      usable = address != INADDR_ANY && (address >> 24) != IN_LOOPBACKNET;
    } else if (::inet_pton(AF_INET6, host.c_str(), &v6) == 1) {
      usable = !IN6_IS_ADDR_UNSPECIFIED(&v6) && !IN6_IS_ADDR_LOOPBACK(&v6);
    }
    if (!usable) continue;
    base::LogInfo("setting member local address", {{"LocalAddr", host}});
    return host;
  }
  base::LogWarning("unable to set a member local address due to lack of suitable local addresses",
                   {{"advertise-peer-urls", initial_advertise_peer_urls}});
  return {};
}

}  // namespace kvstore::service
