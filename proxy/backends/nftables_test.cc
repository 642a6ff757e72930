// The nftables back end against the kernel, in a network namespace of its own.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <cstdio>

#include "proxy/backends/nft_rules.h"

namespace proxy::backends {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

BackendOptions Options(Family family = Family::kIPv4) {
  BackendOptions o;
  o.family = family;
  o.cluster_cidr = family == Family::kIPv4 ? "10.244.0.0/16" : "fd01::/48";
  o.service_cidr = family == Family::kIPv4 ? "10.96.0.0/16" : "fd00::/108";
  o.node_port_ips = {family == Family::kIPv4 ? "192.0.2.2" : "2001:db8::2"};
  return o;
}

ServiceRule Rule(int endpoints, uint16_t node_port = 0) {
  ServiceRule r;
  r.protocol = "tcp";
  r.port = 80;
  r.cluster_ip = "10.96.0.7";
  r.node_port = node_port;
  for (int i = 0; i < endpoints; ++i) r.cluster.push_back({"10.244.0." + std::to_string(i + 2), 8080});
  return r;
}
const ServicePortName kWeb{"default", "web", "http", "tcp"};

TEST(NftRules, OneEndpointMoreIsOneRuleAndOneElement) {
  NftRules rules(Options());
  RuleTable table;
  for (int i = 0; i < 2000; ++i) {
    ServiceRule r = Rule(3);
    r.cluster_ip = "10.97." + std::to_string(i / 250) + "." + std::to_string(i % 250);
    table[{"default", "s" + std::to_string(i), "", "tcp"}] = r;
  }
  table[kWeb] = Rule(2);
  rules.Transaction(table, nullptr);
  table[kWeb] = Rule(4);
  std::set<ServicePortName> changed{kWeb};
  std::string text = rules.Transaction(table, &changed);
  EXPECT_EQ(std::ranges::count(text, '\n'), 4) << text;
  EXPECT_THAT(text, HasSubstr("flush chain ip kube-proxy service-"));
  EXPECT_THAT(text, HasSubstr("numgen random mod 4 map"));
  EXPECT_THAT(text, HasSubstr("add element ip kube-proxy hairpin-connections"));
  EXPECT_EQ(rules.Transaction(table, &changed), "");
}

TEST(NftRules, LosingAllEndpointsRejects) {
  NftRules rules(Options());
  RuleTable table{{kWeb, Rule(1, 30080)}};
  rules.Transaction(table, nullptr);
  table[kWeb] = Rule(0, 30080);
  std::set<ServicePortName> changed{kWeb};
  std::string text = rules.Transaction(table, &changed);
  EXPECT_THAT(text, HasSubstr("delete element ip kube-proxy service-ips { 10.96.0.7 . tcp . 80 }"));
  EXPECT_THAT(text,
              HasSubstr("add element ip kube-proxy no-endpoint-services { 10.96.0.7 . tcp . 80 : goto reject-chain }"));
  EXPECT_THAT(text, HasSubstr("add element ip kube-proxy no-endpoint-nodeports { tcp . 30080 : goto reject-chain }"));
  EXPECT_THAT(text, HasSubstr("delete chain ip kube-proxy service-"));
}

TEST(NftRules, AnAddressThatTwoPortsShareStaysUntilTheLastGoes) {
  NftRules rules(Options());
  ServicePortName second{"default", "web", "https", "tcp"};
  ServiceRule https = Rule(1);
  https.port = 443;
  RuleTable table{{kWeb, Rule(1)}, {second, https}};
  rules.Transaction(table, nullptr);
  table.erase(second);
  std::set<ServicePortName> changed{second};
  EXPECT_THAT(rules.Transaction(table, &changed), Not(HasSubstr("cluster-ips")));
  table.erase(kWeb);
  changed = {kWeb};
  EXPECT_THAT(rules.Transaction(table, &changed), HasSubstr("delete element ip kube-proxy cluster-ips { 10.96.0.7 }"));
}

// Everything below talks to the kernel.
class Kernel : public ::testing::Test {
 protected:
  void SetUp() override {
    if (unshare(CLONE_NEWNET) != 0) GTEST_SKIP() << "needs root to make a network namespace";
  }
  std::unique_ptr<RuleBackend> Make(Family family = Family::kIPv4) {
    auto backend = NewBackend("nftables", Options(family));
    EXPECT_TRUE(backend.has_value());
    return std::move(*backend);
  }
  static bool Nft(const std::string& command) { return std::system(("nft " + command + " 2>/dev/null").c_str()) == 0; }
};

TEST_F(Kernel, TakesEveryShapeOfRuleAndSeesItsOwnWork) {
  for (Family family : {Family::kIPv4, Family::kIPv6}) {
    auto backend = Make(family);
    auto ip = [&](int n) {
      return family == Family::kIPv4 ? "10.244.0." + std::to_string(n) : "fd01::" + std::to_string(n);
    };
    std::string outside = family == Family::kIPv4 ? "198.51.100.4" : "2001:db8::44";
    RuleTable table;
    for (int variant = 0; variant < 16; ++variant) {
      ServiceRule r;
      r.protocol = variant % 2 ? "udp" : "tcp";
      r.port = static_cast<uint16_t>(80 + variant);
      r.cluster_ip = family == Family::kIPv4 ? "10.96.0.9" : "fd00::9";
      r.node_port = static_cast<uint16_t>(30000 + variant);
      r.affinity_seconds = variant & 2 ? 30 : 0;
      r.external_local = variant & 4;
      if (!(variant & 8)) r.cluster = {{ip(2), 80}, {ip(3), 80}};
      if (variant & 4 && variant != 5) r.local = {{ip(2), 80}};
      r.balancer_ips = {outside};
      if (variant == 3) r.source_ranges = {family == Family::kIPv4 ? "192.0.2.0/24" : "2001:db8:1::/64"};
      table[{"a-namespace", "service-" + std::to_string(variant), "port", r.protocol}] = r;
    }
    ASSERT_TRUE(backend->Sync(table, nullptr).ok()) << backend->Sync(table, nullptr).ToString();
    EXPECT_EQ(backend->Verify(), true);
    std::set<ServicePortName> changed;
    for (auto& [name, rule] : table) {
      changed.insert(name);
      rule.cluster = {{ip(7), 81}};
      rule.affinity_seconds = rule.affinity_seconds ? 0 : 60;
    }
    auto status = backend->Sync(table, &changed);
    ASSERT_TRUE(status.ok()) << status.ToString();
    table.clear();
    status = backend->Sync(table, &changed);
    ASSERT_TRUE(status.ok()) << status.ToString();
    EXPECT_EQ(backend->Verify(), true);
    EXPECT_TRUE(backend->Cleanup().ok());
  }
}

TEST_F(Kernel, ForeignChangesAreSeenAndRepaired) {
  auto backend = Make();
  RuleTable table{{kWeb, Rule(2, 30080)}};
  ASSERT_TRUE(backend->Sync(table, nullptr).ok());
  ASSERT_TRUE(Nft("add table ip other"));
  EXPECT_EQ(backend->Verify(), true) << "somebody else's table is none of our business";
  for (const char* damage : {"delete table ip kube-proxy", "flush chain ip kube-proxy services",
                             "delete element ip kube-proxy service-ips '{ 10.96.0.7 . tcp . 80 }'",
                             "add rule ip kube-proxy filter-input drop"}) {
    ASSERT_TRUE(Nft(damage)) << damage;
    EXPECT_EQ(backend->Verify(), false) << damage;
    ASSERT_TRUE(backend->Sync(table, nullptr).ok());
    EXPECT_EQ(backend->Verify(), true) << damage;
  }
}

TEST(Backends, AnUnknownModeNamesTheKnownOnes) {
  auto backend = NewBackend("ipvs", Options());
  ASSERT_FALSE(backend.has_value());
  EXPECT_EQ(backend.error().code(), base::Code::kUnimplemented);
  EXPECT_THAT(std::string(backend.error().message()), HasSubstr("nftables"));
}

}  // namespace
}  // namespace proxy::backends
