#include "proxy/routes.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <cstdlib>

#include "proto/k8s/core/v1/node.pb.h"

namespace proxy {
namespace {

using k8s::io::api::core::v1::Node;

std::shared_ptr<const Node> Make(const std::string& name, const std::vector<std::string>& cidrs,
                                 const std::vector<std::string>& addresses, int64_t created = 5) {
  auto n = std::make_shared<Node>();
  n->mutable_metadata()->set_name(name);
  n->mutable_metadata()->mutable_creationtimestamp()->set_seconds(created);
  for (const auto& c : cidrs) n->mutable_spec()->add_podcidrs(c);
  for (const auto& text : addresses) {
    auto* a = n->mutable_status()->add_addresses();
    a->set_type("InternalIP");
    a->set_address(text);
  }
  return n;
}

RoutePlan Plan(std::shared_ptr<const Node> third, const std::vector<std::string>& cluster = {}) {
  return WantedRoutes(
      {Make("n1", {"10.244.0.0/24", "fd01:0:0:0::/64"}, {"192.0.2.2"}),
       Make("n2", {"10.244.1.0/24", "fd01:0:0:1::/64"}, {"192.0.2.3", "2001:db8::3"}), std::move(third)},
      {"n1", cluster, {"10.96.0.0/16", "fd00::/108"}});
}

TEST(Routes, EveryOtherNodeByItsAddressOfTheFamily) {
  auto plan = Plan(Make("n3", {"10.244.02.7/24"}, {"192.000.2.4"}));
  EXPECT_EQ(
      plan.routes,
      (RouteTable{{"10.244.1.0/24", "192.0.2.3"}, {"fd01:0:0:1::/64", "2001:db8::3"}, {"10.244.2.0/24", "192.0.2.4"}}));
  EXPECT_TRUE(plan.problems.empty());
}

TEST(Routes, WhatANodeMayNotClaimGetsNoRouteAndHarmsNobody) {
  const std::map<std::string, std::string> kCases = {
      {"10.244.1.0/33", "is not a range of addresses"},
      {"lo", "is not a range of addresses"},
      {"::ffff:10.244.7.0/120", "is not a range of addresses"},
      {"0.0.0.0/0", "is everything"},
      {"::/0", "is everything"},
      {"0.0.0.0/1", "holds addresses that are no pods'"},
      {"128.0.0.0/1", "holds addresses that are no pods'"},
      {"127.0.0.0/8", "holds addresses that are no pods'"},
      {"127.0.0.53/32", "holds addresses that are no pods'"},
      {"169.254.169.254/32", "holds addresses that are no pods'"},
      {"fe80::/64", "holds addresses that are no pods'"},
      {"::1/128", "holds addresses that are no pods'"},
      {"10.96.0.0/24", "overlaps the addresses of Services"},
      {"10.0.0.0/8", "overlaps the addresses of Services"},
      {"fd00::/64", "overlaps the addresses of Services"},
      {"192.0.2.3/32", "holds the address of a node"},
      {"192.0.2.0/24", "holds the address of a node"},
      {"2001:db8::/64", "holds the address of a node"},
      {"10.244.0.0/24", "overlaps that of another node"},
      {"10.244.0.128/25", "overlaps that of another node"},
      {"10.244.1.77/32", "overlaps that of another node"},
      {"10.244.0.0/16", "overlaps that of another node"},
      {"fd01::/32", "overlaps that of another node"},
      {"fd01:0:0:9::/64", "has no node address to be reached by"},
  };
  RouteTable others = Plan(Make("n3", {}, {"192.0.2.4"})).routes;
  for (const auto& [cidr, why] : kCases) {
    auto plan = Plan(Make("n3", {cidr}, {"192.0.2.4"}, 9));
    EXPECT_EQ(plan.routes, others) << cidr;
    EXPECT_EQ(plan.problems, (std::map<std::string, std::string>{{"n3", "pod CIDR \"" + cidr + "\" " + why}}));
  }
  EXPECT_EQ(Plan(Make("n3", {"10.245.0.0/24"}, {"192.0.2.4"}), {"10.244.0.0/16"}).problems.at("n3"),
            "pod CIDR \"10.245.0.0/24\" is not in the cluster's range");
  // An address that is none, and one that leads to the node itself.
  for (const char* address : {"192.0.2", "127.0.0.1", "0.0.0.0", "not an address"}) {
    auto plan = Plan(Make("n3", {"10.244.2.0/24"}, {address}));
    EXPECT_EQ(plan.routes, others) << address;
    EXPECT_EQ(plan.problems.size(), 1u);
  }
}

TEST(Routes, TheOlderNodeKeepsWhatTwoClaim) {
  auto plan = Plan(Make("n3", {"10.244.1.0/25"}, {"192.0.2.4"}, 1));
  EXPECT_EQ(plan.routes.at("10.244.1.0/25"), "192.0.2.4");
  EXPECT_FALSE(plan.routes.contains("10.244.1.0/24"));
  EXPECT_TRUE(plan.problems.contains("n2"));
  // But nobody is senior to this node on this node.
  EXPECT_FALSE(Plan(Make("n3", {"10.244.0.0/25"}, {"192.0.2.4"}, 1)).routes.contains("10.244.0.0/25"));
}

TEST(Routes, OneThatTheKernelRefusesDoesNotStopTheOthers) {
  if (unshare(CLONE_NEWNET) != 0) GTEST_SKIP() << "needs root to make a network namespace";
  ASSERT_EQ(std::system("ip link set lo up; ip link add eth0 type veth peer name wire; ip addr add 192.0.2.2/24 dev "
                        "eth0; ip link set eth0 up; ip link set wire up"),
            0);
  RouteTable wanted{{"10.244.1.0/24", "198.51.100.9"}, {"10.244.2.0/24", "192.0.2.4"}, {"10.244.3.5/32", "192.0.2.5"}};
  auto failed = ApplyRoutes(wanted);
  ASSERT_TRUE(failed.has_value());
  ASSERT_EQ(failed->size(), 1u);
  EXPECT_EQ(failed->begin()->first, "10.244.1.0/24");
  EXPECT_EQ(std::system("test $(ip route show proto 211 | wc -l) = 2"), 0);
  wanted.erase("10.244.1.0/24");
  EXPECT_TRUE(ApplyRoutes(wanted)->empty());
  EXPECT_TRUE(ApplyRoutes({})->empty());
  EXPECT_EQ(std::system("test $(ip route show proto 211 | wc -l) = 0"), 0);
}

}  // namespace
}  // namespace proxy
