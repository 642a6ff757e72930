#include "kvstore/service/peer_names.h"

#include <algorithm>

#include "base/json_writer.h"
#include "base/log.h"
#include "kvstore/service/access.h"

namespace kvstore::service {

using base::PermissionDenied;
using base::Status;
using base::Task;

namespace {

constexpr size_t kRemembered = 1024;  // connections

bool NamesHost(base::net::NameService& names, const std::vector<std::string>& allowed, const std::string& host,
               std::string& trouble) {
  auto own = names.Name(host);
  if (!own) trouble = own.error().message();
  std::string name = own.value_or("");
  if (name.ends_with('.')) name.pop_back();
  auto fits = [&](const std::string& a) { return a.starts_with("*.") ? name.ends_with(a.substr(1)) : name == a; };
  if (!name.empty() && std::ranges::any_of(allowed, fits)) return true;
  for (const std::string& a : allowed) {
    if (a.starts_with("*.")) continue;
    auto addresses = names.Addresses(a);
    if (!addresses) {
      trouble = addresses.error().message();
    } else if (std::ranges::count(*addresses, host) > 0) {
      return true;
    }
  }
  return false;
}

}  // namespace

Status CheckPeerNames(base::net::NameService& names, const base::net::Peer& peer) {
  if (peer.ip_addresses.empty() && peer.dns_names.empty()) return base::Ok();
  std::string host(HostName(peer.address)), trouble;
  if (std::ranges::count(peer.ip_addresses, host) > 0) return base::Ok();
  if (peer.dns_names.empty()) {
    std::string valid;
    for (const std::string& a : peer.ip_addresses) valid += (valid.empty() ? "" : ", ") + a;
    return PermissionDenied("x509: certificate is valid for " + valid + ", not " + host);
  }
  if (NamesHost(names, peer.dns_names, host, trouble)) return base::Ok();
  std::string list;
  for (const std::string& n : peer.dns_names) list += (list.empty() ? "" : " ") + base::GoQuote(n);
  return PermissionDenied("tls: " + base::GoQuote(host) + " does not match any of DNSNames [" + list + "]" +
                          (trouble.empty() ? "" : " (" + trouble + ")"));
}

Task<Status> PeerNames::Check(const base::net::Peer& peer) {
  if (peer.certificate_der.empty()) co_return base::Ok();
  if (auto it = known_.find(peer.address); it != known_.end() && it->second.certificate == peer.certificate_der) {
    co_return it->second.verdict;
  }
  base::net::Peer copy = peer;
  Status verdict = co_await base::RunBlocking(pool_, home_, [this, &copy] { return CheckPeerNames(names_, copy); });
  if (known_.size() >= kRemembered) known_.clear();
  known_[copy.address] = {copy.certificate_der, verdict};
  if (!verdict.ok()) {
    base::LogWarning("rejected connection on peer endpoint", {{"remote-addr", copy.address},
                                                              {"ip-addresses", copy.ip_addresses},
                                                              {"dns-names", copy.dns_names},
                                                              {"error", verdict.message()}});
  }
  co_return verdict;
}

}  // namespace kvstore::service
