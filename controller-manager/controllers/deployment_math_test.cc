#include "controller-manager/controllers/deployment_math.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace controller_manager {
namespace {
using apps::Deployment;
using apps::ReplicaSet;
using ::testing::MatchesRegex;

Deployment Make(int replicas, const char* surge, const char* unavailable) {
  Deployment d;
  d.mutable_metadata()->set_name("web");
  d.mutable_spec()->set_replicas(replicas);
  d.mutable_spec()->mutable_strategy()->set_type("RollingUpdate");
  auto* r = d.mutable_spec()->mutable_strategy()->mutable_rollingupdate();
  auto set = [](auto* v, const char* text) {
    v->set_type(1);
    v->set_strval(text);
  };
  set(r->mutable_maxsurge(), surge);
  set(r->mutable_maxunavailable(), unavailable);
  return d;
}

ReplicaSet Set(const char* name, int replicas, int available, int created = 0, const char* max = "") {
  ReplicaSet rs;
  rs.mutable_metadata()->set_name(name);
  rs.mutable_metadata()->mutable_creationtimestamp()->set_seconds(created);
  rs.mutable_spec()->set_replicas(replicas);
  rs.mutable_status()->set_replicas(replicas);
  rs.mutable_status()->set_availablereplicas(available);
  if (*max) (*rs.mutable_metadata()->mutable_annotations())[kMaxReplicas] = max;
  return rs;
}

std::string Text(const std::vector<Step>& steps) {
  std::string out;
  for (const auto& s : steps) out += s.set->metadata().name() + "=" + std::to_string(s.replicas) + " ";
  return out;
}

TEST(DeploymentMath, SurgeRoundsUpAndUnavailableDown) {
  EXPECT_EQ(MaxSurge(Make(3, "25%", "25%")), 1);
  EXPECT_EQ(MaxUnavailable(Make(3, "25%", "25%")), 0);
  EXPECT_EQ(MaxSurge(Make(5, "25%", "25%")), 2);
  EXPECT_EQ(MaxUnavailable(Make(5, "25%", "25%")), 1);
  // Both zero would never move.
  EXPECT_EQ(MaxUnavailable(Make(3, "0%", "1%")), 1);
  EXPECT_EQ(MaxUnavailable(Make(0, "0%", "0%")), 0);
}

TEST(DeploymentMath, ARolloutStepByStep) {
  Deployment d = Make(4, "25%", "25%");
  ReplicaSet old = Set("old", 4, 4), fresh = Set("new", 0, 0, 1);
  EXPECT_EQ(NewSetReplicas(d, {&old, &fresh}, fresh), 1);
  fresh = Set("new", 1, 0, 1);
  EXPECT_EQ(NewSetReplicas(d, {&old, &fresh}, fresh), 1);
  EXPECT_EQ(Text(ShrinkOldSets(d, {&old, &fresh}, {&old}, &fresh)), "old=3 ");
  old = Set("old", 3, 3);
  EXPECT_EQ(NewSetReplicas(d, {&old, &fresh}, fresh), 2);
  fresh = Set("new", 2, 0, 1);
  // Three are available and three must be: nothing may go now.
  EXPECT_EQ(Text(ShrinkOldSets(d, {&old, &fresh}, {&old}, &fresh)), "");
  // What is not available anyway goes first.
  old = Set("old", 3, 1);
  fresh = Set("new", 2, 2, 1);
  EXPECT_EQ(Text(ShrinkOldSets(d, {&old, &fresh}, {&old}, &fresh)), "old=1 ");
}

TEST(DeploymentMath, ScalingInTheMiddleKeepsTheShares) {
  Deployment d = Make(20, "25%", "25%");
  d.mutable_status()->set_replicas(13);
  ReplicaSet old = Set("old", 8, 8, 0, "13"), fresh = Set("new", 5, 5, 1, "13");
  EXPECT_EQ(Text(Proportional(d, {&old, &fresh})), "old=15 new=10 ");
  d.mutable_spec()->set_replicas(0);
  EXPECT_EQ(Text(Proportional(d, {&old, &fresh})), "old=0 new=0 ");
}

TEST(DeploymentMath, TemplatesAreComparedWithoutTheirHash) {
  k8s::io::api::core::v1::PodTemplateSpec a, b;
  (*a.mutable_metadata()->mutable_labels())["app"] = "web";
  b = a;
  (*b.mutable_metadata()->mutable_labels())[kTemplateHash] = "x";
  EXPECT_TRUE(EqualIgnoreHash(a, b));
  a.mutable_spec()->add_containers()->set_image("y");
  EXPECT_FALSE(EqualIgnoreHash(a, b));
  EXPECT_THAT(TemplateHash(a, 0), MatchesRegex("[b-df-hj-np-tv-z2456789]+"));
  EXPECT_NE(TemplateHash(a, 0), TemplateHash(a, 1));
}

TEST(DeploymentMath, ConditionsKeepTheirTransitionTime) {
  apps::DeploymentStatus s;
  base::WallTime t{std::chrono::seconds(100)};
  SetCondition(s, MakeCondition("Available", "True", "A", "a", t));
  SetCondition(s, MakeCondition("Available", "True", "A", "other text", t + std::chrono::seconds(1)));
  EXPECT_EQ(s.conditions(0).message(), "a");
  SetCondition(s, MakeCondition("Available", "True", "B", "b", t + std::chrono::seconds(2)));
  EXPECT_EQ(s.conditions(0).lastupdatetime().seconds(), 102);
  EXPECT_EQ(s.conditions(0).lasttransitiontime().seconds(), 100);
  SetCondition(s, MakeCondition("Available", "False", "C", "c", t + std::chrono::seconds(3)));
  EXPECT_EQ(s.conditions(0).lasttransitiontime().seconds(), 103);
}

// Numbers that no validation let in, of another writer's objects: nothing overflows, nothing negative is asked for.
TEST(DeploymentMath, AnyNumbersGiveNumbersThatCanBe) {
  constexpr int32_t kMost = std::numeric_limits<int32_t>::max(), kLeast = std::numeric_limits<int32_t>::min();
  for (int32_t replicas : {kMost, kLeast, -1, 0, 1}) {
    for (int32_t has : {kMost, kLeast, -1, 0, 7}) {
      for (const char* surge : {"25%", "99999999999999999999%", "999999999999%", "-5%", "%", "", "x", "2147483647"}) {
        apps::Deployment d;
        d.mutable_spec()->set_replicas(replicas);
        d.mutable_spec()->mutable_strategy()->set_type("RollingUpdate");
        auto* rolling = d.mutable_spec()->mutable_strategy()->mutable_rollingupdate();
        for (auto* v : {rolling->mutable_maxsurge(), rolling->mutable_maxunavailable()}) {
          v->set_type(std::string(surge) == "2147483647" ? 0 : 1);
          v->set_strval(surge);
          v->set_intval(has);
        }
        apps::ReplicaSet a, b;
        for (auto* rs : {&a, &b}) {
          rs->mutable_spec()->set_replicas(has);
          rs->mutable_status()->set_replicas(has);
          rs->mutable_status()->set_availablereplicas(replicas);
          (*rs->mutable_metadata()->mutable_annotations())[kMaxReplicas] = "-99999999999999999999";
          (*rs->mutable_metadata()->mutable_annotations())[kRevision] = "9223372036854775807";
        }
        EXPECT_GE(MaxSurge(d), 0);
        if (replicas >= 0 && has >= 0) EXPECT_GE(NewSetReplicas(d, {&a, &b}, a), 0);
        for (const auto& step : ShrinkOldSets(d, {&a, &b}, {&b}, &a)) EXPECT_GE(step.replicas, 0);
        for (const auto& step : Proportional(d, {&a, &b})) EXPECT_GE(step.replicas, 0);
        EXPECT_GE(CalculateStatus(d, {&a, &b}, &a, {}).unavailablereplicas(), 0);
        EXPECT_GT(RevisionOfSet(a) + 1, RevisionOfSet(a));
      }
    }
  }
}

}  // namespace
}  // namespace controller_manager
