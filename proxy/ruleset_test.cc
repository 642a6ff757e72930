#include "proxy/ruleset.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace proxy {
namespace {

const NodeAddresses kNode{{"192.0.2.2"}, {"10.244.0.0/16"}};

// One Service with one port, as the cases below need it.
struct Want {
  std::string ns, name;
  int64_t created = 1;
  std::string cluster_ip;
  uint16_t port = 443;
  std::vector<std::string> external, balancer;
  uint16_t node_port = 0;
};

ServiceRules Rules(const Want& w) {
  ServiceRule rule;
  rule.protocol = "tcp";
  rule.port = w.port;
  rule.cluster_ip = w.cluster_ip;
  rule.external_ips = w.external;
  rule.balancer_ips = w.balancer;
  rule.node_port = w.node_port;
  rule.cluster = {{"10.244.0.9", w.port}};
  return {w.created, {{{w.ns, w.name, "", "tcp"}, rule}}, {}};
}

std::set<ServicePortName> Put(Ruleset& set, const Want& w) { return set.Update({w.ns, w.name}, Rules(w)); }
void Remove(Ruleset& set, const Want& w) { set.Update({w.ns, w.name}, {}); }
const ServiceRule& RuleOf(const Ruleset& set, const Want& w) { return set.table().at({w.ns, w.name, "", "tcp"}); }
ServicePortName NameOf(const Want& w) { return {w.ns, w.name, "", "tcp"}; }

using Strings = std::vector<std::string>;

struct Case {
  const char* what;
  Want owner, thief;
  std::string problem;
};

// The thief is always the older one: age decides among equals only.
const std::vector<Case>& Cases() {
  static const std::vector<Case> kCases = {
      {"the API server's ClusterIP as an external IP",
       {"default", "kubernetes", 9, "10.96.0.1"},
       {"evil", "a", 1, "10.96.0.5", 443, {"10.96.0.1"}},
       "external IP 10.96.0.1 is the cluster IP of another Service"},
      {"another port of a ClusterIP",
       {"default", "kubernetes", 9, "10.96.0.1"},
       {"evil", "a", 1, "10.96.0.5", 8443, {"10.96.0.1"}},
       "external IP 10.96.0.1 is the cluster IP of another Service"},
      {"a ClusterIP as a load balancer's IP",
       {"default", "kubernetes", 9, "10.96.0.1"},
       {"evil", "a", 1, "10.96.0.5", 443, {}, {"10.96.0.1"}},
       "load balancer IP 10.96.0.1 is the cluster IP of another Service"},
      {"a load balancer's IP as an external IP",
       {"shop", "web", 9, "10.96.0.7", 443, {}, {"198.51.100.4"}},
       {"evil", "a", 1, "10.96.0.5", 443, {"198.51.100.4"}},
       "external IP 198.51.100.4 with port 443 belongs to another Service"},
      {"a node port on the node's address",
       {"shop", "web", 9, "10.96.0.7", 443, {}, {}, 30443},
       {"evil", "a", 1, "10.96.0.5", 30443, {"192.0.2.2"}},
       "external IP 192.0.2.2 with port 30443 is the node port of another Service"},
  };
  return kCases;
}

TEST(Ruleset, TheRealOwnerWinsWhateverTheOrder) {
  for (const auto& c : Cases()) {
    for (bool thief_first : {true, false}) {
      Ruleset set(kNode);
      Put(set, thief_first ? c.thief : c.owner);
      Put(set, thief_first ? c.owner : c.thief);
      EXPECT_EQ(RuleOf(set, c.owner), Rules(c.owner).ports.begin()->second) << c.what;
      EXPECT_TRUE(RuleOf(set, c.thief).external_ips.empty()) << c.what;
      EXPECT_TRUE(RuleOf(set, c.thief).balancer_ips.empty()) << c.what;
      EXPECT_EQ(RuleOf(set, c.thief).cluster_ip, c.thief.cluster_ip) << c.what;
      EXPECT_EQ(set.Problems({c.thief.ns, c.thief.name}), Strings{c.problem}) << c.what;
      EXPECT_TRUE(set.Problems({c.owner.ns, c.owner.name}).empty()) << c.what;
    }
  }
}

TEST(Ruleset, WhenTheOwnerGoesTheNextOneGetsTheAddressAndThenNobody) {
  for (const auto& c : Cases()) {
    Ruleset set(kNode);
    Put(set, c.owner);
    Put(set, c.thief);
    EXPECT_EQ(set.Update({c.owner.ns, c.owner.name}, {}), (std::set<ServicePortName>{NameOf(c.owner), NameOf(c.thief)}))
        << c.what;
    EXPECT_EQ(RuleOf(set, c.thief), Rules(c.thief).ports.begin()->second) << c.what;
    EXPECT_TRUE(set.Problems({c.thief.ns, c.thief.name}).empty()) << c.what;
    Put(set, c.owner);
    EXPECT_TRUE(RuleOf(set, c.thief).external_ips.empty()) << c.what;
    Remove(set, c.thief);
    Remove(set, c.owner);
    EXPECT_TRUE(set.table().empty()) << c.what;
  }
}

TEST(Ruleset, AmongEqualsTheOlderServiceThenTheNameWins) {
  Want old{"shop", "z", 5, "10.96.0.7", 80, {"198.51.100.4"}};
  Want young{"evil", "a", 6, "10.96.0.8", 80, {"198.51.100.4"}};
  Want same_age{"zoo", "a", 5, "10.96.0.9", 80, {"198.51.100.4"}};
  std::vector<Want> all{old, young, same_age};
  std::ranges::sort(all, {}, &Want::cluster_ip);
  do {
    Ruleset set(kNode);
    for (const auto& w : all) Put(set, w);
    EXPECT_EQ(RuleOf(set, old).external_ips, Strings{"198.51.100.4"});
    EXPECT_TRUE(RuleOf(set, young).external_ips.empty());
    EXPECT_TRUE(RuleOf(set, same_age).external_ips.empty());
    Remove(set, old);
    EXPECT_EQ(RuleOf(set, same_age).external_ips, Strings{"198.51.100.4"});
  } while (std::ranges::next_permutation(all, {}, &Want::cluster_ip).found);
}

TEST(Ruleset, AnAddressIsSharedByPort) {
  Want web{"shop", "web", 5, "10.96.0.7", 80, {}, {"198.51.100.4"}};
  Want mail{"shop", "mail", 6, "10.96.0.8", 25, {}, {"198.51.100.4"}};
  Want on_node{"shop", "edge", 7, "10.96.0.9", 443, {"192.0.2.2"}};
  Ruleset set(kNode);
  for (const auto& w : {web, mail, on_node}) Put(set, w);
  EXPECT_EQ(RuleOf(set, web).balancer_ips, Strings{"198.51.100.4"});
  EXPECT_EQ(RuleOf(set, mail).balancer_ips, Strings{"198.51.100.4"});
  EXPECT_EQ(RuleOf(set, on_node).external_ips, Strings{"192.0.2.2"}) << "a node's address is a usual external IP";
}

TEST(Ruleset, ClusterIpsThatAreNone) {
  Ruleset set(kNode);
  Want on_node{"evil", "a", 1, "192.0.2.2", 6443};
  Put(set, on_node);
  EXPECT_TRUE(set.table().empty()) << "every other port of the node's address would be refused";
  Want on_edge{"shop", "edge", 5, "10.96.0.9", 443, {"192.0.2.2"}};
  Put(set, on_edge);
  EXPECT_EQ(RuleOf(set, on_edge).external_ips, Strings{"192.0.2.2"});
  Want first{"shop", "web", 5, "10.96.0.7", 80}, second{"evil", "b", 6, "10.96.0.7", 80, {"198.51.100.4"}, {}, 30080};
  Put(set, second);
  Put(set, first);
  EXPECT_EQ(RuleOf(set, first).cluster_ip, "10.96.0.7");
  EXPECT_EQ(RuleOf(set, second).cluster_ip, "");
  EXPECT_EQ(RuleOf(set, second).node_port, 30080);
}

TEST(Ruleset, OneNodePortHasOneService) {
  Want first{"shop", "web", 5, "10.96.0.7", 80, {}, {}, 30080}, second{"evil", "b", 6, "10.96.0.8", 80, {}, {}, 30080};
  Ruleset set(kNode);
  Put(set, second);
  Put(set, first);
  EXPECT_EQ(RuleOf(set, first).node_port, 30080);
  EXPECT_EQ(RuleOf(set, second).node_port, 0);
  EXPECT_EQ(set.Problems({"evil", "b"}), Strings{"node port 30080 belongs to another Service"});
}

TEST(Ruleset, WhatTheClusterServesItselfAndPodsAreNobodysExternalIp) {
  Want api{"evil", "a", 1, "10.96.0.5", 6443, {"192.0.2.2"}}, pod{"evil", "b", 1, "10.96.0.6", 80, {"10.244.3.4"}};
  Want kubelet{"evil", "c", 1, "10.96.0.8", 10250, {}, {"192.0.2.2"}};
  Ruleset set(kNode);
  set.Reserve("kubelet", {{"192.0.2.2", "tcp", 10250}});
  for (const auto& w : {api, pod, kubelet}) Put(set, w);
  EXPECT_EQ(RuleOf(set, api).external_ips, Strings{"192.0.2.2"});
  EXPECT_EQ(set.Reserve("API server", {{"192.0.2.2", "tcp", 6443}}), std::set<ServicePortName>{NameOf(api)});
  EXPECT_TRUE(RuleOf(set, api).external_ips.empty());
  EXPECT_TRUE(RuleOf(set, pod).external_ips.empty());
  EXPECT_TRUE(RuleOf(set, kubelet).balancer_ips.empty());
  EXPECT_EQ(set.Problems({"evil", "a"}),
            Strings{"external IP 192.0.2.2 with port 6443 is served by the cluster itself"});
}

// Every history ends in the same table, and that is the one a fresh start gives.
TEST(Ruleset, TheTableFollowsFromWhatIsThere) {
  std::mt19937 random(7);
  auto pick = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  for (int round = 0; round < 200; ++round) {
    Ruleset lived(kNode);
    std::map<int, Want> there;
    for (int step = 0; step < 60; ++step) {
      int i = pick(8);
      Want w{"ns", "s" + std::to_string(i), pick(3), "10.96.0." + std::to_string(1 + pick(5)), uint16_t(80 + pick(2))};
      if (pick(2)) w.external = {pick(2) ? "10.96.0." + std::to_string(1 + pick(5)) : "192.0.2.2"};
      if (pick(3) == 0) w.balancer = {pick(2) ? "198.51.100.4" : "10.96.0.2"};
      if (pick(3) == 0) w.node_port = uint16_t(80 + pick(2));
      if (pick(4) == 0) {
        Remove(lived, w);
        there.erase(i);
      } else {
        RuleTable before = lived.table();
        auto changed = Put(lived, w);
        there[i] = w;
        for (const auto& [name, rule] : lived.table())
          EXPECT_TRUE(changed.contains(name) || (before.contains(name) && before.at(name) == rule));
      }
    }
    Ruleset fresh(kNode);
    for (const auto& [i, w] : there) Put(fresh, w);
    ASSERT_EQ(lived.table(), fresh.table()) << "round " << round;
    std::map<Destination, int> served;
    for (const auto& [name, rule] : fresh.table()) {
      std::set<std::string> ips(rule.external_ips.begin(), rule.external_ips.end());
      ips.insert(rule.balancer_ips.begin(), rule.balancer_ips.end());
      if (!rule.cluster_ip.empty()) ips.insert(rule.cluster_ip);
      for (const auto& ip : ips) EXPECT_EQ(++served[(Destination{ip, rule.protocol, rule.port})], 1);
      if (rule.node_port) EXPECT_EQ(++served[(Destination{"", rule.protocol, rule.node_port})], 1);
    }
  }
}

}  // namespace
}  // namespace proxy
