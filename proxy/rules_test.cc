#include "proxy/rules.h"

#include <gtest/gtest.h>

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
  RuleTable table;
  UpdateService(table, "default", "web", &s, slices, family, {"n1"});
  return table;
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

TEST(Rules, AChangeReplacesAndARemovalRemovesOnlyItsService) {
  RuleTable table = Table(Web(), {});
  Service other = Web();
  UpdateService(table, "default", "web2", &other, {}, Family::kIPv4, {"n1"});
  Service changed = Web();
  changed.mutable_spec()->mutable_ports(0)->set_name("https");
  UpdateService(table, "default", "web", &changed, {}, Family::kIPv4, {"n1"});
  EXPECT_EQ(table.size(), 2u);
  EXPECT_TRUE(table.contains({"default", "web", "https", "tcp"}));
  UpdateService(table, "default", "web", nullptr, {}, Family::kIPv4, {"n1"});
  EXPECT_EQ(table.size(), 1u);
}

}  // namespace
}  // namespace proxy
