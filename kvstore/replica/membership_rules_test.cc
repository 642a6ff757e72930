#include "kvstore/replica/membership_rules.h"

#include <gtest/gtest.h>

#include "kvstore/mvcc/errors.h"

namespace kvstore::replica {
namespace {

using raft::ConfChangeType;

mvcc::Member Member(uint64_t id, bool started = true, bool learner = false) {
  std::string n = std::to_string(id);
  return {.id = id, .name = started ? "m" + n : "", .peer_urls = {"http://m" + n + ":2380"}, .is_learner = learner};
}
MemberChange Add(const mvcc::Member& m) {
  auto type = m.is_learner ? ConfChangeType::kAddLearnerNode : ConfChangeType::kAddNode;
  return {type, m.id, mvcc::MemberToJson(m)};
}
MemberChange Remove(uint64_t id) { return {ConfChangeType::kRemoveNode, id, ""}; }

TEST(MembershipRules, WhatEveryMemberDecidesAlike) {
  std::vector<mvcc::Member> members = {Member(1), Member(2), Member(3, true, true)};
  auto check = [&](const MemberChange& c, bool removed = false) { return CheckChange(c, members, removed, 1); };
  EXPECT_TRUE(check(Add(Member(4))).ok());
  EXPECT_EQ(check(Add(Member(4)), true), mvcc::ErrMemberNotFound()) << "an id that was removed does not come back";
  EXPECT_EQ(check(Add(Member(2))), mvcc::ErrMemberExists());
  mvcc::Member same_address = Member(4);
  same_address.peer_urls = Member(1).peer_urls;
  EXPECT_EQ(check(Add(same_address)), mvcc::ErrPeerUrlExists());
  EXPECT_EQ(check(Add(Member(4, true, true))), mvcc::ErrTooManyLearners());
  EXPECT_TRUE(check(Promotion(3)).ok());
  EXPECT_EQ(check(Promotion(2)), mvcc::ErrMemberNotLearner());
  EXPECT_EQ(check(Promotion(9)), mvcc::ErrMemberNotFound());
  EXPECT_TRUE(check(Remove(2)).ok());
  EXPECT_EQ(check(Remove(9)), mvcc::ErrMemberNotFound());
  mvcc::Member moved = Member(2);
  EXPECT_TRUE(check({ConfChangeType::kUpdateNode, 2, mvcc::MemberToJson(moved)}).ok());
  moved.peer_urls = Member(1).peer_urls;
  EXPECT_EQ(check({ConfChangeType::kUpdateNode, 2, mvcc::MemberToJson(moved)}), mvcc::ErrPeerUrlExists());
}

TEST(MembershipRules, AQuorumMustBeLeftThatWorks) {
  std::vector<mvcc::Member> three = {Member(1), Member(2), Member(3)};
  VoterHealth all{.voters = 3, .active = 3, .sees_target = true};
  VoterHealth two{.voters = 3, .active = 2, .sees_target = true};
  EXPECT_TRUE(MayChange(Add(Member(4)), three, all).ok());
  EXPECT_EQ(MayChange(Add(Member(4)), three, {.voters = 3, .active = 2}), mvcc::ErrUnhealthy());
  std::vector<mvcc::Member> one_is_new = {Member(1), Member(2), Member(3, false)};
  EXPECT_EQ(MayChange(Add(Member(4)), one_is_new, all), mvcc::ErrNotEnoughStarted());
  EXPECT_TRUE(MayChange(Add(Member(2)), {Member(1)}, {.voters = 1, .active = 1}).ok()) << "one grows to two";
  EXPECT_TRUE(MayChange(Remove(3), three, all).ok());
  EXPECT_EQ(MayChange(Remove(3), three, two), mvcc::ErrUnhealthy());
  two.sees_target = false;
  EXPECT_TRUE(MayChange(Remove(3), three, two).ok()) << "it is the one that is down";
  EXPECT_EQ(MayChange(Remove(1), one_is_new, all), mvcc::ErrNotEnoughStarted());
  EXPECT_TRUE(MayChange(Remove(4), {Member(1), Member(2, false), Member(4, false, true)}, {}).ok())
      << "a learner is missed by nobody";
}

TEST(MembershipRules, AMajorityHasStartedWhereALearnerGainsItsVote) {
  EXPECT_TRUE(MayGainVoter({Member(1), Member(2), Member(4, true, true)}).ok());
  EXPECT_EQ(MayGainVoter({Member(1), Member(2, false), Member(3, false), Member(4, true, true)}),
            mvcc::ErrNotEnoughStarted());
}

}  // namespace
}  // namespace kvstore::replica
