#include "proxy/rules.h"

#include <gtest/gtest.h>

#include <functional>

#include "proto/k8s/core/v1/service.pb.h"
#include "proto/k8s/discovery/v1/endpointslice.pb.h"

namespace proxy {
namespace {

Service Web() {
  Service s;
  s.mutable_metadata()->set_namespace_("default");
  s.mutable_metadata()->set_name("web");
  auto* spec = s.mutable_spec();
  spec->set_type("ClusterIP");
  spec->set_clusterip("10.96.0.7");
  spec->add_clusterips("10.96.0.7");
  spec->add_clusterips("fd00::7");
  auto* port = spec->add_ports();
  port->set_name("http");
  port->set_protocol("TCP");
  port->set_port(80);
  return s;
}

struct End {
  std::string ip, node;
  bool ready = true, serving = true, terminating = false;
};

std::shared_ptr<EndpointSlice> Slice(const std::vector<End>& ends, const std::string& type = "IPv4") {
  auto slice = std::make_shared<EndpointSlice>();
  slice->set_addresstype(type);
  auto* port = slice->add_ports();
  port->set_name("http");
  port->set_protocol("TCP");
  port->set_port(8080);
  for (const auto& e : ends) {
    auto* out = slice->add_endpoints();
    out->add_addresses(e.ip);
    out->set_nodename(e.node);
    out->mutable_conditions()->set_ready(e.ready);
    out->mutable_conditions()->set_serving(e.serving);
    out->mutable_conditions()->set_terminating(e.terminating);
  }
  return slice;
}

std::vector<std::string> Ips(const std::vector<Backend>& backends) {
  std::vector<std::string> out;
  for (const auto& b : backends) out.push_back(b.ip);
  return out;
}

RuleTable Table(const Service& s, std::vector<std::shared_ptr<const EndpointSlice>> slices,
                Family family = Family::kIPv4) {
  return MakeRules({"default", "web"}, &s, slices, family, {"n1"}).ports;
}

using Strings = std::vector<std::string>;

TEST(Rules, ReadyEndpointsOfAllSlicesSorted) {
  auto table =
      Table(Web(), {Slice({{"10.1.0.3", "n2"}}), Slice({{"10.1.0.2", "n1"}, {"10.1.0.9", "n1", false, false}})});
  ASSERT_EQ(table.size(), 1u);
  const auto& rule = table.at({"default", "web", "http", "tcp"});
  EXPECT_EQ(Ips(rule.cluster), (Strings{"10.1.0.2", "10.1.0.3"}));
  EXPECT_EQ(rule.cluster[0].port, 8080);
  EXPECT_EQ(rule.cluster_ip, "10.96.0.7");
  EXPECT_TRUE(rule.local.empty());
}

TEST(Rules, TerminatingEndpointsServeOnlyWhenNoneIsReady) {
  End going{"10.1.0.3", "n1", false, true, true};
  auto with_ready = Table(Web(), {Slice({going, {"10.1.0.2", "n1"}})});
  EXPECT_EQ(Ips(with_ready.begin()->second.cluster), Strings{"10.1.0.2"});
  auto without = Table(Web(), {Slice({going, {"10.1.0.4", "n1", false, false, true}})});
  EXPECT_EQ(Ips(without.begin()->second.cluster), Strings{"10.1.0.3"});
}

TEST(Rules, FamiliesAreApart) {
  auto slices = std::vector<std::shared_ptr<const EndpointSlice>>{Slice({{"10.1.0.2", "n1"}}),
                                                                  Slice({{"fd01::2", "n1"}}, "IPv6")};
  EXPECT_EQ(Ips(Table(Web(), slices, Family::kIPv6).begin()->second.cluster), Strings{"fd01::2"});
  EXPECT_EQ(Ips(Table(Web(), slices, Family::kIPv4).begin()->second.cluster), Strings{"10.1.0.2"});
}

TEST(Rules, LocalPoliciesKeepLocalEndpoints) {
  Service s = Web();
  s.mutable_spec()->set_type("NodePort");
  s.mutable_spec()->mutable_ports(0)->set_nodeport(30080);
  s.mutable_spec()->set_externaltrafficpolicy("Local");
  auto table = Table(s, {Slice({{"10.1.0.2", "n1"}, {"10.1.0.3", "n2"}})});
  const auto& rule = table.begin()->second;
  EXPECT_EQ(Ips(rule.External()), Strings{"10.1.0.2"});
  EXPECT_EQ(Ips(rule.Internal()), (Strings{"10.1.0.2", "10.1.0.3"}));
}

TEST(Rules, AffinityDefaultsToThreeHours) {
  Service s = Web();
  s.mutable_spec()->set_sessionaffinity("ClientIP");
  EXPECT_EQ(Table(s, {}).begin()->second.affinity_seconds, 10800);
  s.mutable_spec()->mutable_sessionaffinityconfig()->mutable_clientip()->set_timeoutseconds(7);
  EXPECT_EQ(Table(s, {}).begin()->second.affinity_seconds, 7);
}

TEST(Rules, ServicesWithoutRules) {
  Service headless = Web();
  headless.mutable_spec()->set_clusterip("None");
  EXPECT_TRUE(Table(headless, {}).empty());
  Service external = Web();
  external.mutable_spec()->set_type("ExternalName");
  EXPECT_TRUE(Table(external, {}).empty());
  Service other = Web();
  (*other.mutable_metadata()->mutable_labels())["service.kubernetes.io/service-proxy-name"] = "mesh";
  EXPECT_TRUE(Table(other, {}).empty());
}

// An object in the store may hold anything: a real API server, an older one or a restored backup wrote it.
struct Poison {
  std::string what;
  std::function<void(Service&)> put;
  std::string problem;  // "" = served as if it were not there
};

void AddIngress(Service& s, const std::string& ip) {
  s.mutable_status()->mutable_loadbalancer()->add_ingress()->set_ip(ip);
}

const std::vector<Poison>& Poisons() {
  static const std::vector<Poison> kPoisons = {
      {"no address", [](Service& s) { s.mutable_spec()->add_externalips("8.8.8"); },
       "external IP \"8.8.8\" is not an IP address"},
      {"commands", [](Service& s) { s.mutable_spec()->add_externalips("1.2.3.4 }; delete table ip kube-proxy; {"); },
       "external IP \"1.2.3.4 }; delete table ip kube-proxy; {\" is not an IP address"},
      {"line break", [](Service& s) { s.mutable_spec()->add_externalips("1.2.3.4\nflush ruleset"); },
       "external IP \"1.2.3.4?flush ruleset\" is not an IP address"},
      {"name", [](Service& s) { s.mutable_spec()->add_externalips("example.com"); },
       "external IP \"example.com\" is not an IP address"},
      {"loopback", [](Service& s) { s.mutable_spec()->add_externalips("127.0.0.1"); },
       "external IP 127.0.0.1 is not an address that can be used here"},
      {"link-local", [](Service& s) { s.mutable_spec()->add_externalips("169.254.169.254"); },
       "external IP 169.254.169.254 is not an address that can be used here"},
      {"everywhere", [](Service& s) { s.mutable_spec()->add_externalips("0.0.0.0"); },
       "external IP 0.0.0.0 is not an address that can be used here"},
      {"multicast", [](Service& s) { AddIngress(s, "224.0.0.1"); },
       "load balancer IP 224.0.0.1 is not an address that can be used here"},
      {"balancer", [](Service& s) { AddIngress(s, "1.2.3.4/8"); },
       "load balancer IP \"1.2.3.4/8\" is not an IP address"},
      {"other family", [](Service& s) { s.mutable_spec()->add_externalips("2001:db8::1"); }, ""},
      {"affinity below 1",
       [](Service& s) {
         s.mutable_spec()->set_sessionaffinity("ClientIP");
         s.mutable_spec()->mutable_sessionaffinityconfig()->mutable_clientip()->set_timeoutseconds(-5);
       },
       "session affinity of -5 seconds is not possible"},
      {"node port", [](Service& s) { s.mutable_spec()->mutable_ports(0)->set_nodeport(95616); },
       "node port 95616 is not a port"},
      {"negative node port", [](Service& s) { s.mutable_spec()->mutable_ports(0)->set_nodeport(-1); },
       "node port -1 is not a port"},
      {"port twice", [](Service& s) { *s.mutable_spec()->add_ports() = s.spec().ports(0); },
       "port name \"http\" is used twice"},
      {"another port",
       [](Service& s) {
         auto* port = s.mutable_spec()->add_ports();
         port->set_name("x");
         port->set_port(65616);
       },
       "port 65616 is not a port"},
      {"another protocol",
       [](Service& s) {
         auto* port = s.mutable_spec()->add_ports();
         port->set_name("x");
         port->set_protocol("tcp . 1 : drop }");
         port->set_port(81);
       },
       "protocol \"tcp . 1 : drop }\" is not known"},
  };
  return kPoisons;
}

TEST(Rules, WhatCannotBeIsLeftOutAndToldAndTheRestIsServed) {
  for (const auto& poison : Poisons()) {
    Service s = Web();
    s.mutable_spec()->add_externalips("198.51.100.7");
    poison.put(s);
    auto made = MakeRules({"default", "web"}, &s, {Slice({{"10.1.0.2", "n1"}})}, Family::kIPv4, {"n1"});
    ASSERT_EQ(made.ports.size(), 1u) << poison.what;
    const auto& rule = made.ports.begin()->second;
    EXPECT_EQ(rule.external_ips, Strings{"198.51.100.7"}) << poison.what;
    EXPECT_TRUE(rule.balancer_ips.empty()) << poison.what;
    EXPECT_EQ(Ips(rule.cluster), Strings{"10.1.0.2"}) << poison.what;
    EXPECT_EQ(made.problems, poison.problem.empty() ? Strings{} : Strings{poison.problem}) << poison.what;
  }
}

TEST(Rules, AddressesAreCanonical) {
  Service s = Web();
  s.mutable_spec()->clear_clusterips();
  s.mutable_spec()->set_clusterip("10.96.000.07");
  for (const char* ip : {"8.8.8.09", "8.8.8.9", "::ffff:8.8.8.9"}) s.mutable_spec()->add_externalips(ip);
  auto made = MakeRules({"default", "web"}, &s, {Slice({{"10.01.0.2", "n1"}})}, Family::kIPv4, {"n1"});
  const auto& rule = made.ports.begin()->second;
  EXPECT_EQ(rule.cluster_ip, "10.96.0.7");
  EXPECT_EQ(rule.external_ips, Strings{"8.8.8.9"});
  EXPECT_EQ(Ips(rule.cluster), Strings{"10.1.0.2"});
  EXPECT_TRUE(made.problems.empty());
  s.mutable_spec()->set_clusterip("FD00:0::0007");
  s.mutable_spec()->add_externalips("2001:DB8::0:1");
  auto six = MakeRules({"default", "web"}, &s, {}, Family::kIPv6, {"n1"});
  EXPECT_EQ(six.ports.begin()->second.cluster_ip, "fd00::7");
  EXPECT_EQ(six.ports.begin()->second.external_ips, Strings{"2001:db8::1"});
}

TEST(Rules, BadEndpointsAndPortsOfThemAreLeftOut) {
  auto slice = std::make_shared<EndpointSlice>(*Slice({{"10.1.0.2", "n1"}, {"127.0.0.1", "n1"}, {"10.1.0.300", "n1"}}));
  slice->add_ports()->set_port(70000);
  slice->add_endpoints();  // without an address
  Service s = Web();
  auto made = MakeRules({"default", "web"}, &s, {slice}, Family::kIPv4, {"n1"});
  EXPECT_EQ(Ips(made.ports.begin()->second.cluster), Strings{"10.1.0.2"});
  EXPECT_EQ(made.problems.size(), 3u);
}

TEST(Rules, SourceRangesLimitEvenWhenTheyAreWrong) {
  auto rule = [](const Strings& ranges) {
    Service s = Web();
    AddIngress(s, "198.51.100.9");
    for (const auto& r : ranges) s.mutable_spec()->add_loadbalancersourceranges(r);
    return Table(s, {}).begin()->second;
  };
  EXPECT_FALSE(rule({}).sources_limited);
  EXPECT_FALSE(rule({"10.0.0.0/8", "0.0.0.0/0"}).sources_limited);
  EXPECT_EQ(rule({" 10.1.2.3/8 ", "10.2.0.0/16", "010.0.0.0/8"}).source_ranges, Strings{"10.0.0.0/8"});
  EXPECT_TRUE(rule({"10.0.0.0/33"}).sources_limited);
  EXPECT_TRUE(rule({"10.0.0.0/33"}).source_ranges.empty());
  EXPECT_EQ(rule({"10.0.0.0/33", "192.0.2.0/24"}).source_ranges, Strings{"192.0.2.0/24"});
  // As the original: ranges of the other family alone leave this one open.
  EXPECT_FALSE(rule({"2001:db8::/32"}).sources_limited);
}

}  // namespace
}  // namespace proxy
