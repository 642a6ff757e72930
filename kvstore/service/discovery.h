// How a new member learns who founds the cluster with it when no flag says so: from DNS (--discovery-srv), or from the
// registry that another cluster keeps (--discovery-endpoints and --discovery-token). Used while a member starts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/net/dns.h"
#include "kvstore/client/client.h"

namespace kvstore::service {

struct DnsDiscovery {
  std::string domain, service;  // "example.com"; "": _etcd-server, "x": _etcd-server-x
};
// "m1=http://a.example.com:2380,0=http://b.example.com:2380": as --initial-cluster has it. The member itself is known
// by the address of one of its `peer_urls`, the others are numbered. Blocks.
base::Result<std::string> ClusterFromDns(base::net::NameService& names, const DnsDiscovery& where,
                                         const std::string& name, const std::vector<std::string>& peer_urls);

// What members have entered in the registry under one token.
class Registry {
 public:
  explicit Registry(std::string token) : token_(std::move(token)) {}
  std::string SizeKey() const { return Prefix() + "/_config/size"; }
  std::string MembersPrefix() const { return Prefix() + "/members"; }
  std::string MemberKey(uint64_t id) const;
  // kInvalidArgument for what is no entry, or is there already.
  base::Status Add(std::string key, std::string value, int64_t create_revision);
  // Whether that member is among the first `size`, or there is still room for it.
  bool HasRoomFor(uint64_t id, size_t size) const;
  bool Complete(size_t size) const { return members_.size() >= size; }
  size_t count() const { return members_.size(); }
  // The first `size` that came.
  std::string InitialCluster(size_t size) const;

 private:
  std::string Prefix() const { return "/_etcd/registry/" + token_; }
  struct Entry {
    std::string key, value;
    int64_t create_revision;
  };
  const std::string token_;
  std::vector<Entry> members_;  // by revision
};

struct RegistryDiscovery {
  client::ClientFlags client;
  std::string token;
};
// Enters `own` ("m1=http://10.0.0.1:2380") for the member and waits until as many are there as the registry says,
// however long that takes; --initial-cluster then. Who comes is watched for; a registry that is not reached is tried
// again.
base::Task<base::Result<std::string>> JoinByRegistry(base::Loop& loop, base::Context ctx, RegistryDiscovery where,
                                                     uint64_t member_id, std::string own);

}  // namespace kvstore::service
