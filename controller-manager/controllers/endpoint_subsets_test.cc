#include "controller-manager/controllers/endpoint_subsets.h"

#include <gtest/gtest.h>

namespace controller_manager {
namespace {

core::EndpointAddress Address(const std::string& ip, const std::string& uid) {
  core::EndpointAddress a;
  a.set_ip(ip);
  a.set_nodename("n1");
  a.mutable_targetref()->set_kind("Pod");
  a.mutable_targetref()->set_namespace_("d");
  a.mutable_targetref()->set_name("p-" + uid);
  a.mutable_targetref()->set_uid(uid);
  return a;
}

using PortList = std::vector<std::pair<std::string, int32_t>>;

void Add(Subsets& subsets, const std::string& ip, const std::string& uid, bool ready, const PortList& ports) {
  for (const auto& [name, number] : ports) {
    auto* s = subsets.Add();
    *(ready ? s->add_addresses() : s->add_notreadyaddresses()) = Address(ip, uid);
    auto* p = s->add_ports();
    p->set_name(name);
    p->set_port(number);
    p->set_protocol("TCP");
  }
}

std::vector<std::string> Text(const Subsets& subsets) {
  std::vector<std::string> out;
  for (const auto& s : subsets) {
    std::string line;
    for (const auto& a : s.addresses()) line += a.ip() + " ";
    line += "| ";
    for (const auto& a : s.notreadyaddresses()) line += a.ip() + " ";
    line += "|";
    for (const auto& p : s.ports()) line += " " + p.name() + "=" + std::to_string(p.port());
    out.push_back(std::move(line));
  }
  return out;
}

// The answer is the one that the original's RepackSubsets gives for these.
TEST(EndpointSubsets, GroupedAndOrderedAsTheOriginal) {
  Subsets in;
  Add(in, "10.99.8.1", "a", true, {{"web", 8080}, {"adm", 9000}, {"num", 7070}});
  Add(in, "10.99.8.2", "b", true, {{"web", 8081}, {"num", 7070}});
  Add(in, "10.99.8.3", "d", true, {{"num", 7070}});
  Add(in, "10.99.8.4", "e", false, {{"web", 81}, {"num", 7070}});
  Add(in, "10.99.8.10", "u", true, {{"num", 7070}});
  std::vector<std::string> wanted{"10.99.8.1 10.99.8.10 10.99.8.2 10.99.8.3 | 10.99.8.4 | num=7070",
                                  "10.99.8.2 | | web=8081", "10.99.8.1 | | adm=9000 web=8080", "| 10.99.8.4 | web=81"};
  Subsets once = RepackSubsets(in);
  EXPECT_EQ(Text(once), wanted);
  EXPECT_EQ(Text(RepackSubsets(once)), wanted) << "what is canonical stays";
}

TEST(EndpointSubsets, NotReadyTrumpsReadyAndDuplicatesGo) {
  Subsets in;
  Add(in, "10.0.0.1", "a", true, {{"web", 80}, {"web", 80}});
  Add(in, "10.0.0.1", "a", false, {{"web", 80}});
  Add(in, "10.0.0.1", "b", true, {{"web", 80}});
  EXPECT_EQ(Text(RepackSubsets(in)), std::vector<std::string>{"10.0.0.1 | 10.0.0.1 | web=80"});
}

TEST(EndpointSubsets, AddressesWithoutPortsStay) {
  Subsets in;
  *in.Add()->add_addresses() = Address("10.0.0.1", "a");
  EXPECT_EQ(Text(RepackSubsets(in)), std::vector<std::string>{"10.0.0.1 | |"});
  EXPECT_TRUE(RepackSubsets({}).empty());
}

}  // namespace
}  // namespace controller_manager
