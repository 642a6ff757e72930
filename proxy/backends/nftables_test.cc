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
  rules.Transaction({table});
  table[kWeb] = Rule(4);
  std::set<ServicePortName> changed{kWeb};
  std::string text = rules.Transaction({table, &changed});
  EXPECT_EQ(std::ranges::count(text, '\n'), 4) << text;
  EXPECT_THAT(text, HasSubstr("flush chain ip kube-proxy service-"));
  EXPECT_THAT(text, HasSubstr("numgen random mod 4 map"));
  EXPECT_THAT(text, HasSubstr("add element ip kube-proxy hairpin-connections"));
  EXPECT_EQ(rules.Transaction({table, &changed}), "");
}

TEST(NftRules, LosingAllEndpointsRejects) {
  NftRules rules(Options());
  RuleTable table{{kWeb, Rule(1, 30080)}};
  rules.Transaction({table});
  table[kWeb] = Rule(0, 30080);
  std::set<ServicePortName> changed{kWeb};
  std::string text = rules.Transaction({table, &changed});
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
  rules.Transaction({table});
  table.erase(second);
  std::set<ServicePortName> changed{second};
  EXPECT_THAT(rules.Transaction({table, &changed}), Not(HasSubstr("cluster-ips")));
  table.erase(kWeb);
  changed = {kWeb};
  EXPECT_THAT(rules.Transaction({table, &changed}),
              HasSubstr("delete element ip kube-proxy cluster-ips { 10.96.0.7 }"));
}

TEST(NftRules, ARollbackForgetsTheTransaction) {
  NftRules rules(Options());
  ServicePortName other{"default", "other", "", "tcp"};
  RuleTable table{{kWeb, Rule(2, 30080)}};
  rules.Transaction({table});
  auto chains = rules.ExpectedChains();
  auto elements = rules.ExpectedElements();
  std::set<ServicePortName> changed{kWeb, other};
  RuleTable next{{kWeb, Rule(3)}, {other, Rule(1)}};
  next[other].cluster_ip = "10.96.0.8";
  for (bool full : {false, true}) {
    std::string text = rules.Transaction({next, full ? nullptr : &changed});
    EXPECT_NE(rules.ExpectedElements(), elements);
    rules.Rollback();
    EXPECT_EQ(rules.ExpectedChains(), chains);
    EXPECT_EQ(rules.ExpectedElements(), elements);
    EXPECT_EQ(rules.Transaction({next, full ? nullptr : &changed}), text) << "and can be made again";
    rules.Rollback();
  }
}

TEST(NftRules, WhatIsNotWantedIsAbsent) {
  NftRules rules(Options());
  ServicePortName other{"default", "other", "", "tcp"};
  RuleTable table{{kWeb, Rule(2)}, {other, Rule(1)}};
  table[other].cluster_ip = "10.96.0.8";
  std::string text = rules.Transaction({table, nullptr, [&](const auto& name) { return name == other; }});
  EXPECT_THAT(text, Not(HasSubstr("10.96.0.7")));
  EXPECT_THAT(text, HasSubstr("10.96.0.8"));
}

// Names come from users, and with a store that others wrote to, from anybody.
TEST(NftRules, NamesAreNoCommands) {
  NftRules rules(Options());
  RuleTable table;
  for (const char* evil :
       {"x; flush ruleset", "x\nflush ruleset\n", "x\" ; drop", "{ } # '", "\xff\xfe", "naïve", ""}) {
    ServiceRule r = Rule(2, 30080);
    r.affinity_seconds = 30;
    r.cluster_ip = "10.96.1." + std::to_string(table.size());
    table[{evil, evil, evil, "tcp"}] = r;
  }
  std::string text = rules.Transaction({table});
  for (const char* word : {"flush ruleset", ";drop", "; drop", "#", "'", "\xff", "ï"})
    EXPECT_THAT(text, Not(HasSubstr(word)));
  std::set<std::string> chains;
  for (const auto& [name, rule] : table)
    for (const auto& [chain, lines] : rules.Render(name, rule).chains)
      EXPECT_TRUE(chains.insert(chain).second) << "two services share " << chain;
}

TEST(NftRules, UnusedClusterIpsAreDroppedWhereTheRangesAreKnown) {
  NftRules rules(Options());
  EXPECT_THAT(rules.Transaction({RuleTable{}}), Not(HasSubstr("} drop")));
  rules.SetServiceCidrs({"10.96.0.0/16", "10.97.0.0/24"});
  EXPECT_THAT(rules.Transaction({RuleTable{}}),
              HasSubstr("add rule ip kube-proxy cluster-ips-check ip daddr { 10.96.0.0/16, 10.97.0.0/24 } drop"));
}

TEST(NftRules, AServiceWithoutItsClusterIpKeepsTheRest) {
  NftRules rules(Options());
  ServiceRule r = Rule(2, 30080);
  r.cluster_ip = "";
  std::string text = rules.Transaction({RuleTable{{kWeb, r}}});
  EXPECT_THAT(text, HasSubstr("add element ip kube-proxy service-nodeports { tcp . 30080 : goto external-"));
  EXPECT_THAT(text, Not(HasSubstr("add element ip kube-proxy cluster-ips")));
  EXPECT_THAT(text, Not(HasSubstr("add element ip kube-proxy service-ips")));
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
      if (variant == 3)
        r.sources_limited = true, r.source_ranges = {family == Family::kIPv4 ? "192.0.2.0/24" : "2001:db8:1::/64"};
      table[{"a-namespace", "service-" + std::to_string(variant), "port", r.protocol}] = r;
    }
    ASSERT_TRUE(backend->Sync({table}).ok()) << backend->Sync({table}).ToString();
    EXPECT_EQ(backend->Verify(), true);
    std::set<ServicePortName> changed;
    for (auto& [name, rule] : table) {
      changed.insert(name);
      rule.cluster = {{ip(7), 81}};
      rule.affinity_seconds = rule.affinity_seconds ? 0 : 60;
    }
    auto status = backend->Sync({table, &changed});
    ASSERT_TRUE(status.ok()) << status.ToString();
    table.clear();
    status = backend->Sync({table, &changed});
    ASSERT_TRUE(status.ok()) << status.ToString();
    EXPECT_EQ(backend->Verify(), true);
    EXPECT_TRUE(backend->Cleanup().ok());
  }
}

TEST_F(Kernel, ForeignChangesAreSeenAndRepaired) {
  auto backend = Make();
  RuleTable table{{kWeb, Rule(2, 30080)}};
  ASSERT_TRUE(backend->Sync({table}).ok());
  ASSERT_TRUE(Nft("add table ip other"));
  EXPECT_EQ(backend->Verify(), true) << "somebody else's table is none of our business";
  for (const char* damage : {"delete table ip kube-proxy", "flush chain ip kube-proxy services",
                             "delete element ip kube-proxy service-ips '{ 10.96.0.7 . tcp . 80 }'",
                             "add rule ip kube-proxy filter-input drop"}) {
    ASSERT_TRUE(Nft(damage)) << damage;
    EXPECT_EQ(backend->Verify(), false) << damage;
    ASSERT_TRUE(backend->Sync({table}).ok());
    EXPECT_EQ(backend->Verify(), true) << damage;
  }
}

TEST_F(Kernel, TryingChangesNothingAndTellsTheTruth) {
  auto backend = Make();
  backend->SetServiceCidrs({"10.96.0.0/16"});
  RuleTable table{{kWeb, Rule(2, 30080)}};
  ASSERT_TRUE(backend->Sync({table}).ok());
  RuleTable next = table;
  ServicePortName other{"default", "other", "", "tcp"};
  next[other] = Rule(1);
  next[other].cluster_ip = "10.96.0.8";
  std::set<ServicePortName> changed{other};
  for (const std::set<ServicePortName>* part :
       {static_cast<const std::set<ServicePortName>*>(nullptr), &std::as_const(changed)}) {
    EXPECT_TRUE(backend->Sync({next, part, {}, true}).ok());
    EXPECT_EQ(backend->Verify(), true);
    next[other].cluster_ip = "10.96.0.777";
    EXPECT_FALSE(backend->Sync({next, part, {}, true}).ok());
    EXPECT_FALSE(backend->Sync({next, part}).ok());
    EXPECT_EQ(backend->Verify(), true) << "after a failure all is as it was";
    next[other].cluster_ip = "10.96.0.8";
  }
  EXPECT_TRUE(backend->Sync({next, &changed}).ok());
  EXPECT_EQ(backend->Verify(), true);
  EXPECT_TRUE(Nft("list table ip kube-proxy | grep -q 'ip daddr 10.96.0.0/16 drop'"));
}

TEST_F(Kernel, TakesTheNamesOfAnybody) {
  auto backend = Make();
  RuleTable table;
  for (const char* evil : {"x; flush ruleset", "x\nflush ruleset\n", "x\" ; drop", "{ } # '", "\xff\xfe", ""}) {
    ServiceRule r = Rule(2, static_cast<uint16_t>(30080 + table.size()));
    r.affinity_seconds = 30;
    r.cluster_ip = "10.96.1." + std::to_string(table.size());
    r.balancer_ips = {"198.51.100." + std::to_string(table.size() + 1)};
    r.sources_limited = true;
    if (table.size() % 2) r.source_ranges = {"192.0.2.0/24", "198.51.100.0/24"};
    table[{std::string(evil), std::string(evil), std::string(400, 'p') + evil, "tcp"}] = r;
  }
  auto status = backend->Sync({table});
  ASSERT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(backend->Verify(), true);
  std::set<ServicePortName> all;
  for (const auto& [name, rule] : table) all.insert(name);
  table.clear();
  EXPECT_TRUE(backend->Sync({table, &all}).ok());
  EXPECT_EQ(backend->Verify(), true);
}

TEST(Backends, AnUnknownModeNamesTheKnownOnes) {
  auto backend = NewBackend("ipvs", Options());
  ASSERT_FALSE(backend.has_value());
  EXPECT_EQ(backend.error().code(), base::Code::kUnimplemented);
  EXPECT_THAT(std::string(backend.error().message()), HasSubstr("nftables"));
}

}  // namespace
}  // namespace proxy::backends
