#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing/sim_executor.h"
#include "machinery/client/controller.h"
#include "machinery/client/event_recorder.h"
#include "machinery/client/leader_election.h"
#include "machinery/client/testing/fake_transport.h"
#include "machinery/object/api_error.h"
#include "proto/k8s/apps/v1/replicaset.pb.h"
#include "proto/k8s/coordination/v1/lease.pb.h"
#include "proto/k8s/core/v1/config.pb.h"
#include "proto/k8s/core/v1/event.pb.h"
#include "proto/k8s/core/v1/pod.pb.h"

namespace machinery::client {
namespace {
using k8s::io::api::apps::v1::ReplicaSet;
using k8s::io::api::core::v1::ConfigMap;
using k8s::io::api::core::v1::Pod;
using CoreEvent = k8s::io::api::core::v1::Event;
using k8s::io::api::coordination::v1::Lease;
using namespace std::chrono_literals;
using ::testing::ElementsAre;

class ClientTest : public ::testing::Test {
 protected:
  ~ClientTest() override {
    ctx_.Cancel();
    sim_.RunFor(5s);
  }
  // Runs a task to its end.
  template <class T>
  T Await(base::Task<T> task) {
    return sim_.Await(std::move(task));
  }
  ConfigMap Named(const std::string& name, const std::string& value = "1") {
    ConfigMap m;
    m.mutable_metadata()->set_namespace_("default");
    m.mutable_metadata()->set_name(name);
    (*m.mutable_data())["k"] = value;
    return m;
  }
  ConfigMap Make(const std::string& name) { return *Await(client_.Create<ConfigMap>(ctx_, Named(name))); }
  void Set(const std::string& name, const std::string& value) {
    auto m = *Await(client_.Get<ConfigMap>(ctx_, "default", name));
    (*m.mutable_data())["k"] = value;
    ASSERT_TRUE(Await(client_.Update<ConfigMap>(ctx_, m)));
  }

  base::testing::SimExecutor sim_{1};
  testing::FakeTransport server_{sim_};
  Client client_{server_, "test"};
  base::Context ctx_ = base::Context().WithCancel();
};

TEST_F(ClientTest, ResourceComesFromTheSchema) {
  EXPECT_EQ(ResourceOf<Pod>().resource, "pods");
  EXPECT_EQ(ResourceOf<ReplicaSet>().ApiVersion(), "apps/v1");
  EXPECT_EQ(TypeOf<k8s::io::api::core::v1::Binding>().kind, "Binding");
  EXPECT_EQ(TypeOf<k8s::io::api::core::v1::Binding>().ApiVersion(), "v1");
}

TEST_F(ClientTest, CreateGetUpdateDelete) {
  auto made = Make("a");
  EXPECT_FALSE(made.metadata().uid().empty());
  EXPECT_TRUE(object::IsAlreadyExists(Await(client_.Create<ConfigMap>(ctx_, Named("a"))).error()));
  Set("a", "2");
  // An object read before the change cannot be written any more.
  EXPECT_TRUE(object::IsConflict(Await(client_.Update<ConfigMap>(ctx_, made)).error()));
  EXPECT_EQ(Await(client_.Get<ConfigMap>(ctx_, "default", "a"))->data().at("k"), "2");
  EXPECT_TRUE(Await(client_.Delete<ConfigMap>(ctx_, "default", "a")).ok());
  EXPECT_TRUE(object::IsNotFound(Await(client_.Get<ConfigMap>(ctx_, "default", "a")).error()));
  EXPECT_EQ(Await(client_.List<ConfigMap>(ctx_, {}))->items.size(), 0u);
}

base::Task<bool> Finish(base::TaskScope& scope) {
  co_await scope.CancelAndJoin();
  co_return true;
}

std::string Describe(const Change<ConfigMap>& c) {
  std::string out = !c.old ? "+" : !c.current ? "-" : "*";
  return out + c.any().metadata().name() + (c.initial ? "!" : "");
}

TEST_F(ClientTest, InformerFollowsThroughDroppedWatchesAndRelists) {
  Make("a");
  Informer<ConfigMap> maps(sim_, client_);
  std::vector<std::string> seen;
  maps.AddHandler([&](const Change<ConfigMap>& c) { seen.push_back(Describe(c)); });
  maps.AddIndex("value", [](const ConfigMap& m) { return std::vector<std::string>{m.data().at("k")}; });
  base::TaskScope scope(sim_, ctx_);
  scope.Spawn(maps.Run(scope.context()));
  EXPECT_TRUE(Await(maps.WaitForSync(ctx_)).ok());
  Make("b");
  sim_.RunFor(1s);
  EXPECT_THAT(seen, ElementsAre("+a!", "+b"));
  server_.DropWatches();
  Set("a", "2");
  sim_.RunFor(10s);
  EXPECT_EQ(maps.ByIndex("value", "2").size(), 1u);
  EXPECT_EQ(maps.ByIndex("value", "1").size(), 1u);
  server_.DropWatches(base::Unavailable("connection lost"));
  EXPECT_TRUE(Await(client_.Delete<ConfigMap>(ctx_, "default", "a")).ok());
  Make("c");
  server_.ForgetHistory();
  sim_.RunFor(30s);
  EXPECT_THAT(seen, ElementsAre("+a!", "+b", "*a", "-a", "+c"));
  // Late handlers see what is there.
  seen.clear();
  maps.AddHandler([&](const Change<ConfigMap>& c) { seen.push_back(Describe(c)); });
  EXPECT_THAT(seen, ElementsAre("+b!", "+c!"));
  Await(Finish(scope));
}

TEST_F(ClientTest, InformerFollowsAServerThatWasSetBack) {
  Make("a");
  Make("b");
  server_.Save();
  Informer<ConfigMap> maps(sim_, client_);
  std::vector<std::string> seen;
  maps.AddHandler([&](const Change<ConfigMap>& c) { seen.push_back(Describe(c)); });
  base::TaskScope scope(sim_, ctx_);
  scope.Spawn(maps.Run(scope.context()));
  EXPECT_TRUE(Await(maps.WaitForSync(ctx_)).ok());
  Set("a", "2");
  Make("c");
  sim_.RunFor(1s);
  seen.clear();
  server_.Restore();
  // Another history with the same revisions: only the content tells them apart.
  Set("a", "3");
  sim_.RunFor(30s);
  server_.OfferBookmarks();
  sim_.RunFor(30s);
  EXPECT_EQ(maps.Get("default/a")->data().at("k"), "3");
  EXPECT_FALSE(maps.Get("default/c"));
  EXPECT_EQ(maps.resource_version(), std::to_string(server_.revision()));
  EXPECT_THAT(seen, ElementsAre("-c", "*a", "*b"));
  Set("b", "4");
  sim_.RunFor(1s);
  EXPECT_EQ(maps.Get("default/b")->data().at("k"), "4");
  Await(Finish(scope));
}

TEST_F(ClientTest, AServerThatFailsIsAskedAgainWithGrowingDelay) {
  int calls = 0;
  server_.fail = [&](const request::Request&) {
    ++calls;
    return base::Unavailable("down");
  };
  Informer<ConfigMap> maps(sim_, client_);
  base::TaskScope scope(sim_, ctx_);
  scope.Spawn(maps.Run(scope.context()));
  sim_.RunFor(60s);
  EXPECT_GT(calls, 8);
  EXPECT_LT(calls, 30);
  server_.fail = nullptr;
  sim_.RunFor(20s);
  EXPECT_TRUE(maps.synced());
  Await(Finish(scope));
}

TEST_F(ClientTest, QueueHoldsAKeyOnceAndNeverGivesItTwice) {
  WorkQueue queue(sim_);
  queue.Add("a");
  queue.Add("a");
  EXPECT_EQ(queue.size(), 1u);
  EXPECT_EQ(*Await(queue.Get(ctx_)), "a");
  queue.Add("a");  // while it is worked on
  EXPECT_EQ(queue.size(), 0u);
  queue.Done("a");
  EXPECT_EQ(queue.size(), 1u);
  EXPECT_EQ(*Await(queue.Get(ctx_)), "a");
  queue.Done("a");
  base::MonoTime start = sim_.Now();
  for (int i = 0; i < 5; ++i) queue.AddRateLimited("b"), queue.Failures("b");
  EXPECT_EQ(queue.Failures("b"), 5);
  EXPECT_EQ(*Await(queue.Get(ctx_)), "b");
  EXPECT_EQ(sim_.Now() - start, 5ms);
  queue.Done("b");
  queue.AddRateLimited("b");
  EXPECT_EQ(*Await(queue.Get(ctx_)), "b");
  EXPECT_EQ(sim_.Now() - start, 5ms + 160ms);
  queue.Shutdown();
  EXPECT_EQ(Await(queue.Get(ctx_)).error().code(), base::Code::kOutOfRange);
}

TEST_F(ClientTest, ControllerReconcilesOwnersAndRetries) {
  Informer<ReplicaSet> sets(sim_, client_);
  Informer<Pod> pods(sim_, client_);
  std::vector<std::string> worked;
  int failures = 2;
  Controller controller(sim_, "test", 2, [&](base::Context, Key key) -> base::Task<base::Result<Done>> {
    co_await base::Yield(sim_);
    worked.push_back(key);
    if (failures-- == 2) throw std::runtime_error("a library's");
    if (failures == 0) co_return base::Err(base::Internal("not yet"));
    co_return Done{};
  });
  controller.For(sets).Owns<ReplicaSet>(pods);
  base::TaskScope scope(sim_, ctx_);
  scope.Spawn(sets.Run(scope.context()));
  scope.Spawn(pods.Run(scope.context()));
  scope.Spawn(controller.Run(scope.context()));
  Pod pod;
  pod.mutable_metadata()->set_namespace_("default");
  pod.mutable_metadata()->set_generatename("web-");
  auto* owner = pod.mutable_metadata()->add_ownerreferences();
  owner->set_kind("ReplicaSet");
  owner->set_name("web");
  owner->set_controller(true);
  EXPECT_TRUE(Await(client_.Create<Pod>(ctx_, pod)));
  sim_.RunFor(10s);
  EXPECT_THAT(worked, ElementsAre("default/web", "default/web", "default/web"));
  Await(Finish(scope));
}

TEST_F(ClientTest, OneLeaderAtATimeAndItsSuccessor) {
  LeaderElectionOptions a{.lease_name = "x", .identity = "a"}, b{.lease_name = "x", .identity = "b"};
  std::string leader;
  auto lead = [&](std::string who) {
    return [&, who](base::Context ctx) -> base::Task<void> {
      leader += who;
      (void)co_await base::Sleep(sim_, ctx, 24h);
      leader += "-";
    };
  };
  base::Context ctx_a = ctx_.WithCancel(), ctx_b = ctx_.WithCancel();
  std::optional<base::Status> end_a, end_b;
  base::Spawn(sim_, sim_.Store(RunAsLeader(sim_, ctx_a, client_, a, lead("a")), end_a));
  sim_.RunFor(1s);
  base::Spawn(sim_, sim_.Store(RunAsLeader(sim_, ctx_b, client_, b, lead("b")), end_b));
  sim_.RunFor(60s);
  EXPECT_EQ(leader, "a");
  ctx_a.Cancel();
  sim_.RunFor(6s);
  EXPECT_EQ(leader, "a-b");
  EXPECT_TRUE(end_a && end_a->ok());
  auto lease = *Await(client_.Get<Lease>(ctx_, "kube-system", "x"));
  EXPECT_EQ(lease.spec().holderidentity(), "b");
  EXPECT_EQ(lease.spec().leasetransitions(), 1);
  // A leader that cannot renew stops in time.
  server_.fail = [](const request::Request&) { return base::Unavailable("down"); };
  sim_.RunFor(14s);
  EXPECT_EQ(leader, "a-b-");
  EXPECT_TRUE(end_b && !end_b->ok());
  server_.fail = nullptr;
}

TEST_F(ClientTest, EventsCountAndAggregate) {
  auto about = ReferenceTo(Make("a"));
  EventRecorder events(sim_, client_, "test-controller");
  base::TaskScope scope(sim_, ctx_);
  scope.Spawn(events.Run(scope.context()));
  events.Event(about, "Normal", "Same", "same");
  events.Event(about, "Normal", "Same", "same");
  for (int i = 0; i < 14; ++i) events.Event(about, "Normal", "Many", "no " + std::to_string(i));
  sim_.RunFor(10s);
  auto list = *Await(client_.List<CoreEvent>(ctx_, {}));
  int same = 0, many = 0, combined = 0;
  for (const auto& e : list.items) {
    if (e->reason() == "Same") same = e->count();
    if (e->reason() == "Many" && e->message().starts_with("no")) ++many;
    if (e->message().starts_with("(combined from similar events): no 13")) combined = e->count();
    EXPECT_EQ(e->involvedobject().kind(), "ConfigMap");
  }
  EXPECT_EQ(same, 2);
  EXPECT_EQ(many, 10);
  EXPECT_EQ(combined, 4);
  // The rate per object is limited.
  for (int i = 0; i < 100; ++i) events.Event(about, "Normal", "R" + std::to_string(i), "x");
  sim_.RunFor(10s);
  EXPECT_LT(Await(client_.List<CoreEvent>(ctx_, {}))->items.size(), 30u);
  Await(Finish(scope));
}

TEST_F(ClientTest, SeriesEvents) {
  auto about = ReferenceTo(Make("a"));
  EventRecorder events(sim_, client_, "default-scheduler", "n1", EventStyle::kSeries);
  base::TaskScope scope(sim_, ctx_);
  scope.Spawn(events.Run(scope.context()));
  for (int i = 0; i < 2; ++i) events.Event(about, "Warning", "FailedScheduling", "no", "Scheduling");
  sim_.RunFor(10s);
  auto list = *Await(client_.List<CoreEvent>(ctx_, {}));
  ASSERT_EQ(list.items.size(), 1u);
  const auto& e = *list.items[0];
  EXPECT_EQ(e.reportinginstance(), "default-scheduler-n1");
  EXPECT_EQ(e.series().count(), 2);
  EXPECT_EQ(e.count(), 0);
  EXPECT_TRUE(e.has_eventtime());
  Await(Finish(scope));
}

}  // namespace
}  // namespace machinery::client
