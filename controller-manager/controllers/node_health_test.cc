#include "controller-manager/controllers/node_health.h"

#include <gtest/gtest.h>

#include "machinery/client/micro_time.h"

namespace controller_manager {
namespace {
using namespace std::chrono_literals;
using core::Node;

const base::WallTime kNow = base::WallTime() + std::chrono::seconds(1'700'000'000);
const base::MonoTime kStart = base::MonoTime() + 1h;

Node WithConditions(std::vector<std::pair<std::string, std::string>> conditions) {
  Node node;
  node.mutable_metadata()->set_name("n");
  for (const auto& [type, status] : conditions) {
    auto* c = node.mutable_status()->add_conditions();
    c->set_type(type);
    c->set_status(status);
  }
  return node;
}

std::vector<std::string> Taints(const Node& node) {
  std::vector<std::string> out;
  for (const auto& t : node.spec().taints()) out.push_back(t.key() + ":" + t.effect());
  return out;
}

TEST(NodeHealth, SilenceMakesUnknownWhatOnlyTheKubeletKnows) {
  Node node = WithConditions({{"Ready", "True"}, {"NetworkUnavailable", "False"}, {"MemoryPressure", "Unknown"}});
  EXPECT_TRUE(MarkUnknown(node, kNow));
  EXPECT_EQ(FindCondition(node, "Ready")->status(), "Unknown");
  EXPECT_EQ(FindCondition(node, "Ready")->reason(), "NodeStatusUnknown");
  EXPECT_EQ(FindCondition(node, "NetworkUnavailable")->status(), "False");
  EXPECT_FALSE(FindCondition(node, "MemoryPressure")->has_lasttransitiontime()) << "it was Unknown already";
  EXPECT_EQ(FindCondition(node, "DiskPressure")->reason(), "NodeStatusNeverUpdated");
  EXPECT_FALSE(MarkUnknown(node, kNow + 1s));
}

TEST(NodeHealth, NoScheduleTaintsFollowConditionsAndLeaveOthersAlone) {
  Node node = WithConditions({{"Ready", "Unknown"}, {"DiskPressure", "True"}, {"PIDPressure", "Unknown"}});
  auto* mine = node.mutable_spec()->add_taints();
  mine->set_key("mine");
  mine->set_effect("NoSchedule");
  auto* old = node.mutable_spec()->add_taints();
  old->set_key("node.kubernetes.io/not-ready");
  old->set_effect("NoSchedule");
  node.mutable_spec()->set_unschedulable(true);
  EXPECT_TRUE(FixNoScheduleTaints(node, kNow));
  EXPECT_EQ(Taints(node), (std::vector<std::string>{"mine:NoSchedule", "node.kubernetes.io/unreachable:NoSchedule",
                                                    "node.kubernetes.io/disk-pressure:NoSchedule",
                                                    "node.kubernetes.io/unschedulable:NoSchedule"}));
  EXPECT_FALSE(FixNoScheduleTaints(node, kNow + 1s));
}

TEST(NodeHealth, OneNoExecuteTaintReplacesTheOther) {
  Node node = WithConditions({{"Ready", "False"}});
  EXPECT_EQ(NoExecuteTaint(node), "node.kubernetes.io/not-ready");
  EXPECT_TRUE(FixNoExecuteTaint(node, NoExecuteTaint(node), kNow));
  node.mutable_status()->mutable_conditions(0)->set_status("Unknown");
  EXPECT_TRUE(FixNoExecuteTaint(node, NoExecuteTaint(node), kNow));
  EXPECT_EQ(Taints(node), std::vector<std::string>{"node.kubernetes.io/unreachable:NoExecute"});
  EXPECT_TRUE(HasReadinessTaint(node));
  node.mutable_status()->mutable_conditions(0)->set_status("True");
  EXPECT_EQ(NoExecuteTaint(node), "");
  EXPECT_TRUE(FixNoExecuteTaint(node, "", kNow));
  EXPECT_TRUE(Taints(node).empty());
  EXPECT_EQ(NoExecuteTaint(Node()), "") << "a node that never reported is not emptied";
}

struct Eviction : testing::Test {
  void Taint(std::string key, std::optional<base::WallTime> added = kNow) {
    auto* t = node.add_taints();
    t->set_key(std::move(key));
    t->set_effect("NoExecute");
    if (added) machinery::client::SetTime(*t->mutable_timeadded(), *added);
  }
  void Tolerate(std::string key, std::optional<int64_t> seconds) {
    auto* t = pod.add_tolerations();
    t->set_key(std::move(key));
    t->set_operator_("Exists");
    if (seconds) t->set_tolerationseconds(*seconds);
  }
  core::NodeSpec node;
  core::PodSpec pod;
};

TEST_F(Eviction, OnlyForNoExecute) {
  auto* t = node.add_taints();
  t->set_key("a");
  t->set_effect("NoSchedule");
  EXPECT_EQ(EvictionTime(pod, node, kNow), std::nullopt);
}

TEST_F(Eviction, AtOnceWithoutToleration) {
  Taint("a");
  Tolerate("b", {});
  EXPECT_EQ(EvictionTime(pod, node, kNow), base::WallTime::min());
}

TEST_F(Eviction, TheShortestPatienceCounts) {
  Taint("a", kNow - 10s);
  Tolerate("a", 60);
  Tolerate("a", 30);
  Tolerate("", {});
  EXPECT_EQ(EvictionTime(pod, node, kNow), kNow + 20s);
}

TEST_F(Eviction, NeverWhenToleratedForEver) {
  Taint("a");
  Tolerate("a", {});
  Tolerate("", std::numeric_limits<int64_t>::max());
  EXPECT_EQ(EvictionTime(pod, node, kNow), std::nullopt);
}

TEST_F(Eviction, ATaintWithoutTimeIsAsOldAsItsNotice) {
  Taint("a", {});
  Tolerate("a", 5);
  EXPECT_EQ(EvictionTime(pod, node, kNow), kNow + 5s);
}

TEST_F(Eviction, NegativePatienceIsNone) {
  Taint("a");
  Tolerate("a", -7);
  EXPECT_EQ(EvictionTime(pod, node, kNow), kNow);
}

TEST(Zones, StateFromCounts) {
  EXPECT_EQ(StateOf({.ready = 0, .not_ready = 1}, 0.55), ZoneState::kFullDisruption);
  EXPECT_EQ(StateOf({.ready = 1, .not_ready = 2}, 0.55), ZoneState::kNormal) << "two silent nodes are no disruption";
  EXPECT_EQ(StateOf({.ready = 2, .not_ready = 3}, 0.55), ZoneState::kPartialDisruption);
  EXPECT_EQ(StateOf({.ready = 3, .not_ready = 3}, 0.55), ZoneState::kNormal);
}

TEST(Zones, Names) {
  Node node;
  EXPECT_EQ(ZoneOf(node), "");
  (*node.mutable_metadata()->mutable_labels())["topology.kubernetes.io/zone"] = "z";
  EXPECT_EQ(ZoneOf(node), std::string(":\0:z", 4));
}

TEST(Disruption, OneNodeAtOnceThenOneInTenSeconds) {
  Disruption d({});
  d.Update({{"", {.ready = 8, .not_ready = 2}}}, kStart);
  EXPECT_TRUE(d.MayEmptyNode("", kStart));
  EXPECT_FALSE(d.MayEmptyNode("", kStart + 9s));
  EXPECT_TRUE(d.MayEmptyNode("", kStart + 10s));
}

TEST(Disruption, NothingIsEmptiedWhileNobodyIsHeard) {
  Disruption d({});
  EXPECT_EQ(d.Update({{"a", {.ready = 2}}, {"b", {.ready = 1}}}, kStart), Disruption::Change::kNone);
  EXPECT_EQ(d.Update({{"a", {.not_ready = 2}}, {"b", {.ready = 1}}}, kStart), Disruption::Change::kNone);
  EXPECT_TRUE(d.MayEmptyNode("a", kStart)) << "others are heard, so the zone itself is gone";
  EXPECT_EQ(d.Update({{"a", {.not_ready = 2}}, {"b", {.not_ready = 1}}}, kStart + 1s), Disruption::Change::kEntered);
  EXPECT_FALSE(d.MayEmptyNode("a", kStart + 100s));
  EXPECT_FALSE(d.MayEmptyNode("b", kStart + 100s));
  EXPECT_EQ(d.Update({{"a", {.not_ready = 2}}, {"b", {.not_ready = 1}}}, kStart + 101s), Disruption::Change::kNone);
  EXPECT_EQ(d.Update({{"a", {.not_ready = 2}}, {"b", {.ready = 1}}}, kStart + 102s), Disruption::Change::kLeft);
  EXPECT_TRUE(d.MayEmptyNode("a", kStart + 112s));
}

TEST(Disruption, AnUnhealthyZoneIsEmptiedSlowlyOrNotAtAll) {
  Disruption d({.large_zone = 4});
  d.Update({{"small", {.ready = 1, .not_ready = 3}}, {"large", {.ready = 2, .not_ready = 8}}}, kStart);
  EXPECT_FALSE(d.MayEmptyNode("small", kStart + 1h));
  EXPECT_TRUE(d.MayEmptyNode("large", kStart));
  EXPECT_FALSE(d.MayEmptyNode("large", kStart + 99s));
  EXPECT_TRUE(d.MayEmptyNode("large", kStart + 101s));
}

TEST(Disruption, ZonesThatAreGoneAreForgotten) {
  Disruption d({});
  EXPECT_EQ(d.Update({{"a", {.not_ready = 1}}, {"b", {.ready = 1}}}, kStart), Disruption::Change::kNone);
  EXPECT_EQ(d.Update({{"a", {.not_ready = 1}}}, kStart), Disruption::Change::kNone)
      << "the zone was fully silent before, now it is all there is: no change to act on";
  EXPECT_EQ(d.Update({}, kStart), Disruption::Change::kNone);
}
TEST(Hearing, SilenceCountsOnlyWhileTheServerAnswers) {
  using V = Hearing::Verdict;
  Hearing hearing(5s);
  base::MonoTime now = kStart;
  auto pass = [&](bool answered, bool failed, base::Duration after = 5s) {
    now += after;
    V v = hearing.Begin(answered, now);
    if (v != V::kDeaf) hearing.End(failed, now += 1s);
    return v;
  };
  EXPECT_EQ(pass(true, false), V::kGood);
  EXPECT_EQ(pass(true, false, 14s), V::kGood);
  EXPECT_EQ(pass(false, false), V::kDeaf);
  EXPECT_EQ(pass(false, false), V::kDeaf);
  EXPECT_EQ(pass(true, false), V::kBack);
  EXPECT_EQ(pass(true, true), V::kGood) << "a write in vain tells the next pass";
  EXPECT_EQ(pass(true, false), V::kBack);
  EXPECT_EQ(pass(true, false), V::kGood);
  EXPECT_EQ(pass(true, false, 1h), V::kBack) << "the machine slept";
}

}  // namespace
}  // namespace controller_manager
