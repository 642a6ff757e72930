#include "kvstore/service/discovery.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "kvstore/service/peer_names.h"

namespace kvstore::service {
namespace {

using base::Err;
using base::NotFound;
using base::Result;
using ::testing::HasSubstr;

class FakeNames final : public base::net::NameService {
 public:
  std::map<std::string, std::vector<base::net::ServiceRecord>> services;  // "etcd-server example.com"
  std::map<std::string, std::string> hosts, reverse;
  Result<std::vector<base::net::ServiceRecord>> Services(const std::string& service,
                                                         const std::string& domain) override {
    auto it = services.find(service + " " + domain);
    if (it == services.end()) return Err(NotFound("lookup _" + service + "._tcp." + domain + ": no such host"));
    return it->second;
  }
  Result<std::string> Address(const std::string& host_and_port) override {
    size_t colon = host_and_port.rfind(':');
    std::string host = host_and_port.substr(0, colon);
    if (host.ends_with('.')) host.pop_back();
    auto it = hosts.find(host);
    if (it == hosts.end()) return Err(NotFound("lookup " + host + ": no such host"));
    return it->second + host_and_port.substr(colon);
  }
  Result<std::vector<std::string>> Addresses(const std::string& host) override {
    auto it = hosts.find(host);
    if (it == hosts.end()) return Err(NotFound("lookup " + host + ": no such host"));
    return std::vector{it->second};
  }
  Result<std::string> Name(const std::string& address) override {
    auto it = reverse.find(address);
    if (it == reverse.end()) return Err(NotFound("lookup " + address + ": no such host"));
    return it->second;
  }
};

class DnsTest : public ::testing::Test {
 protected:
  DnsTest() {
    for (int i = 1; i <= 3; ++i) {
      std::string n = std::to_string(i);
      names.hosts["m" + n + ".example.com"] = names.hosts["10.0.0." + n] = "10.0.0." + n;
    }
  }
  void Serve(const std::string& service, std::vector<std::string> targets) {
    for (const std::string& t : targets) names.services[service + " example.com"].push_back({t + ".", 2380});
  }
  std::string Find(const std::string& url, const std::string& service = "") {
    auto found = ClusterFromDns(names, {"example.com", service}, "self", {url});
    return found ? *found : std::string(found.error().message());
  }
  FakeNames names;
};

TEST_F(DnsTest, OthersAreNumberedAndTheMemberFindsItself) {
  Serve("etcd-server", {"m1.example.com", "m2.example.com", "m3.example.com"});
  EXPECT_EQ(Find("http://10.0.0.2:2380"),
            "0=http://m1.example.com:2380,self=http://m2.example.com:2380,1=http://m3.example.com:2380");
  EXPECT_EQ(Find("http://m3.example.com:2380"),
            "0=http://m1.example.com:2380,1=http://m2.example.com:2380,self=http://m3.example.com:2380");
}

TEST_F(DnsTest, SecureRecordsComeFirstAndNamesHaveSuffixes) {
  Serve("etcd-server-ssl-a", {"m1.example.com"});
  Serve("etcd-server-a", {"m2.example.com"});
  EXPECT_EQ(Find("https://10.0.0.1:2380", "a"), "self=https://m1.example.com:2380,0=http://m2.example.com:2380");
}

TEST_F(DnsTest, WhatDoesNotFitIsTold) {
  EXPECT_THAT(
      Find("http://10.0.0.2:2380"),
      HasSubstr("error querying DNS SRV records for _etcd-server-ssl lookup _etcd-server-ssl._tcp.example.com"));
  Serve("etcd-server", {"m1.example.com", "gone.example.com"});
  EXPECT_EQ(Find("http://10.0.0.2:2380"),
            "error setting up initial cluster: cannot find local etcd member \"self\" in SRV records");
  names.services.clear();
  Serve("etcd-server", {"m1.example.com"});
  EXPECT_THAT(Find("https://10.0.0.1:2380"),
              HasSubstr("bootstrap at http://m1.example.com:2380 from DNS for etcd-server has scheme mismatch with "
                        "expected peer https://10.0.0.1:2380"));
}

TEST(PeerNamesTest, AMemberComesFromWhereItsCertificateSays) {
  FakeNames names;
  names.hosts["m1.example.com"] = "10.0.0.1";
  names.reverse["10.0.0.2"] = "m2.rack.example.com.";
  auto check = [&](const std::string& from, std::vector<std::string> dns, std::vector<std::string> ips) {
    base::net::Peer peer{.address = from, .tls = true};
    peer.dns_names = std::move(dns);
    peer.ip_addresses = std::move(ips);
    return std::string(CheckPeerNames(names, peer).message());
  };
  EXPECT_EQ(check("10.0.0.9:1", {}, {}), "");
  EXPECT_EQ(check("10.0.0.9:1", {}, {"10.0.0.8", "10.0.0.9"}), "");
  EXPECT_EQ(check("[fd00::1]:1", {"x"}, {"fd00::1"}), "");
  EXPECT_EQ(check("10.0.0.9:1", {}, {"10.0.0.7", "10.0.0.8"}),
            "x509: certificate is valid for 10.0.0.7, 10.0.0.8, not 10.0.0.9");
  EXPECT_EQ(check("10.0.0.1:1", {"m1.example.com"}, {"10.0.0.7"}), "");  // its name leads here
  EXPECT_EQ(check("10.0.0.2:1", {"*.rack.example.com"}, {}), "");        // this is its name
  EXPECT_EQ(check("10.0.0.2:1", {"m2.rack.example.com"}, {}), "");
  EXPECT_EQ(
      check("10.0.0.1:1", {"*.example.com", "gone"}, {}),
      "tls: \"10.0.0.1\" does not match any of DNSNames [\"*.example.com\" \"gone\"] (lookup gone: no such host)");
}

TEST(RegistryTest, TheFirstToComeFound) {
  Registry r("token");
  EXPECT_EQ(r.SizeKey(), "/_etcd/registry/token/_config/size");
  EXPECT_EQ(r.MemberKey(0xabc), "/_etcd/registry/token/members/abc");
  EXPECT_TRUE(r.Add(r.MemberKey(2), "b=http://b", 12).ok());
  EXPECT_TRUE(r.Add(r.MemberKey(1), "a=http://a", 10).ok());
  EXPECT_FALSE(r.Complete(3));
  EXPECT_TRUE(r.HasRoomFor(9, 3));
  EXPECT_TRUE(r.Add(r.MemberKey(3), "c=http://c", 11).ok());
  EXPECT_TRUE(r.Complete(3));
  EXPECT_FALSE(r.HasRoomFor(9, 3));
  EXPECT_TRUE(r.HasRoomFor(2, 3));
  EXPECT_FALSE(r.HasRoomFor(2, 2));
  EXPECT_EQ(r.InitialCluster(3), "a=http://a,c=http://c,b=http://b");
  EXPECT_EQ(r.InitialCluster(2), "a=http://a,c=http://c");
  EXPECT_EQ(r.Add(r.MemberKey(3), "c=http://c", 13).message(), "found duplicate peer from discovery service");
  EXPECT_EQ(r.Add(r.MemberKey(4), "what", 13).message(), "invalid peer info returned from discovery service");
  EXPECT_EQ(r.Add("/elsewhere", "c=http://c", 13).message(), "invalid peer registry key");
}

}  // namespace
}  // namespace kvstore::service
