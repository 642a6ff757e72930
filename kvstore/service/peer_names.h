// Whether a member comes from where its certificate says: etcd's check of alternative names on the peer port, which
// --peer-skip-client-san-verification turns off. One strand; looking names up happens on `pool`.
#pragma once

#include <map>
#include <string>

#include "base/executor.h"
#include "base/net/dns.h"
#include "base/net/http.h"
#include "base/task.h"

namespace kvstore::service {

class PeerNames {
 public:
  PeerNames(base::net::NameService& names, base::BlockingPool& pool, base::Executor& home)
      : names_(names), pool_(pool), home_(home) {}
  // A certificate without alternative names fits anywhere; else one of its addresses is where the connection comes
  // from, or one of its names is that of the address or leads to it. Answered once for a connection, then remembered.
  base::Task<base::Status> Check(const base::net::Peer& peer);

 private:
  struct Known {
    std::string certificate;
    base::Status verdict;
  };
  base::net::NameService& names_;
  base::BlockingPool& pool_;
  base::Executor& home_;
  std::map<std::string, Known> known_;  // by address and port
};

// The rule itself. Blocks where it needs names.
base::Status CheckPeerNames(base::net::NameService& names, const base::net::Peer& peer);

}  // namespace kvstore::service
