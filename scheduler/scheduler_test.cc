#include "scheduler/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing/sim_executor.h"
#include "machinery/client/testing/fake_transport.h"
#include "proto/k8s/core/v1/event.pb.h"
#include "proto/k8s/core/v1/node.pb.h"
#include "proto/k8s/core/v1/pod.pb.h"

namespace scheduler {
namespace {
using namespace std::chrono_literals;
using CoreEvent = k8s::io::api::core::v1::Event;
using ::testing::ElementsAre;

Node MakeNode(const std::string& name, const std::string& cpu = "4", const std::string& pods = "110") {
  Node n;
  n.mutable_metadata()->set_name(name);
  (*n.mutable_metadata()->mutable_labels())["kubernetes.io/hostname"] = name;
  auto& allocatable = *n.mutable_status()->mutable_allocatable();
  allocatable["cpu"].set_string(cpu);
  allocatable["memory"].set_string("8Gi");
  allocatable["pods"].set_string(pods);
  return n;
}

Pod MakePod(const std::string& name, const std::string& cpu = "") {
  Pod p;
  p.mutable_metadata()->set_namespace_("default");
  p.mutable_metadata()->set_name(name);
  p.mutable_metadata()->set_uid("uid-" + name);
  p.mutable_spec()->set_schedulername("default-scheduler");
  auto* c = p.mutable_spec()->add_containers();
  c->set_name("c");
  if (!cpu.empty()) (*c->mutable_resources()->mutable_requests())["cpu"].set_string(cpu);
  return p;
}

// --- the pure cycle ---

class CycleTest : public ::testing::Test {
 protected:
  void AddNode(Node n) { nodes_.SetNode(std::make_shared<Node>(std::move(n))); }
  // The node's name, or the message.
  std::string Place(Pod pod) {
    PodInfo info(std::make_shared<Pod>(std::move(pod)));
    CycleState state;
    auto d = Decide(framework_, state, info, nodes_, random_, start_);
    if (!d.node) return d.message;
    nodes_.Assume(info, nodes_.name(*d.node));
    return nodes_.name(*d.node);
  }
  base::testing::SimExecutor sim_{1};
  machinery::client::testing::FakeTransport server_{sim_};
  machinery::client::Client client_{server_, "test"};
  Framework framework_{PluginContext{client_}};
  NodeTable nodes_;
  base::Random random_{1};
  size_t start_ = 0;
};

TEST_F(CycleTest, SaysWhyAPodFitsNowhere) {
  EXPECT_EQ(Place(MakePod("a")), "no nodes available to schedule pods");
  AddNode(MakeNode("n1", "1"));
  AddNode(MakeNode("n2", "1"));
  Node tainted = MakeNode("n3");
  auto* taint = tainted.mutable_spec()->add_taints();
  taint->set_key("node-role.kubernetes.io/control-plane");
  taint->set_effect("NoSchedule");
  AddNode(tainted);
  EXPECT_EQ(Place(MakePod("big", "2")),
            "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu. no new claims to "
            "deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.");
  EXPECT_THAT(Place(MakePod("b", "800m")), ::testing::StartsWith("n"));
  EXPECT_THAT(Place(MakePod("c", "800m")), ::testing::StartsWith("n"));
  EXPECT_EQ(Place(MakePod("d", "800m")),
            "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu. no new claims to "
            "deallocate, preemption: 0/3 nodes are available: 1 Preemption is not helpful for scheduling, 2 No "
            "preemption victims found for incoming pod.");
  Pod tolerant = MakePod("e", "800m");
  tolerant.mutable_spec()->add_tolerations()->set_operator_("Exists");
  EXPECT_EQ(Place(tolerant), "n3");
  Pod selective = MakePod("f");
  (*selective.mutable_spec()->mutable_nodeselector())["no"] = "such";
  EXPECT_EQ(Place(selective),
            "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 node(s) didn't match Pod's node "
            "affinity/selector. no new claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not "
            "helpful for scheduling.");
}

TEST_F(CycleTest, SpreadsPodsWithoutRequestsAndHonoursPorts) {
  for (auto name : {"n1", "n2", "n3"}) AddNode(MakeNode(name));
  std::map<std::string, int> count;
  for (int i = 0; i < 9; ++i) ++count[Place(MakePod("p" + std::to_string(i)))];
  EXPECT_EQ(count["n1"], 3);
  EXPECT_EQ(count["n2"], 3);
  auto with_port = [](std::string name) {
    Pod p = MakePod(name);
    p.mutable_spec()->mutable_containers(0)->add_ports()->set_hostport(80);
    return p;
  };
  for (int i = 0; i < 3; ++i) EXPECT_THAT(Place(with_port("h" + std::to_string(i))), ::testing::StartsWith("n"));
  EXPECT_THAT(Place(with_port("h3")),
              ::testing::StartsWith("0/3 nodes are available: 3 node(s) didn't have free ports for the requested pod "
                                    "ports. no new claims"));
}

TEST_F(CycleTest, UnknownHardConstraintsStayPending) {
  AddNode(MakeNode("n1"));
  Pod p = MakePod("a");
  auto* c = p.mutable_spec()->add_topologyspreadconstraints();
  c->set_whenunsatisfiable("ScheduleAnyway");
  EXPECT_EQ(Place(p), "n1");
  p = MakePod("b");
  p.mutable_spec()->add_volumes()->mutable_volumesource()->mutable_persistentvolumeclaim()->set_claimname("x");
  EXPECT_EQ(Place(p),
            "0/1 nodes are available: pod has persistent volume claims, which this scheduler does not support yet. no "
            "new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for "
            "scheduling.");
}

TEST_F(CycleTest, InitContainersSidecarsAndOverheadCount) {
  Pod p = MakePod("a", "100m");
  auto init = [&](const char* cpu, bool sidecar) {
    auto* c = p.mutable_spec()->add_initcontainers();
    (*c->mutable_resources()->mutable_requests())["cpu"].set_string(cpu);
    if (sidecar) c->set_restartpolicy("Always");
  };
  init("300m", false);
  init("50m", true);
  init("400m", false);
  (*p.mutable_spec()->mutable_overhead())["cpu"].set_string("10m");
  // The last init container runs beside the sidecar: 450m is more than 100m + 50m.
  EXPECT_EQ(PodInfo(std::make_shared<Pod>(p)).requests.milli_cpu, 460);
}

TEST_F(CycleTest, ChoiceAmongEqualsIsRandomAndRepeatable) {
  auto run = [&](uint64_t seed) {
    random_ = base::Random(seed);
    std::string out;
    for (int i = 0; i < 4; ++i) AddNode(MakeNode("n" + std::to_string(i)));
    for (int i = 0; i < 8; ++i) {
      out += Place(MakePod("p" + std::to_string(i)));
      nodes_.RemovePod("uid-p" + std::to_string(i));
    }
    return out;
  };
  EXPECT_EQ(run(1), run(1));
  EXPECT_NE(run(1), run(2));
}

TEST(FeasibleNodesToFind, SinksWithSize) {
  EXPECT_EQ(FeasibleNodesToFind(10), 10u);
  EXPECT_EQ(FeasibleNodesToFind(150), 100u);
  EXPECT_EQ(FeasibleNodesToFind(1000), 420u);
  EXPECT_EQ(FeasibleNodesToFind(6000), 300u);
}

// --- the whole scheduler against a server ---

class SchedulerTest : public ::testing::Test {
 protected:
  SchedulerTest() {
    scope_.Spawn(events_.Run(scope_.context()));
    scope_.Spawn(scheduler_.Run(scope_.context()));
    sim_.RunFor(1s);
  }
  ~SchedulerTest() override {
    scope_.Cancel();
    CHECK(sim_.RunUntil([&] { return scope_.running() == 0; }, 1h));
  }
  template <class T>
  T Await(base::Task<T> task) {
    return sim_.Await(std::move(task));
  }
  template <class T>
  void Create(T object) {
    ASSERT_TRUE(Await(client_.Create<T>({}, std::move(object))));
  }
  Pod Get(const std::string& name) { return *Await(client_.Get<Pod>({}, "default", name)); }
  std::vector<std::string> Events() {
    std::vector<std::string> out;
    for (const auto& e : Await(client_.List<CoreEvent>({}, {}))->items)
      out.push_back(e->reason() + ": " + e->message());
    return out;
  }

  base::testing::SimExecutor sim_{7};
  machinery::client::testing::FakeTransport server_{sim_};
  machinery::client::Client client_{server_, "kube-scheduler"};
  machinery::client::EventRecorder events_{sim_, client_, "default-scheduler", "h",
                                           machinery::client::EventStyle::kSeries};
  base::MetricsRegistry metrics_;
  Scheduler scheduler_{sim_, client_, events_, base::Random(1), metrics_};
  base::TaskScope scope_{sim_, base::Context()};
};

TEST_F(SchedulerTest, BindsAndTells) {
  Create(MakeNode("n1"));
  Create(MakePod("web"));
  sim_.RunFor(2s);
  EXPECT_EQ(Get("web").spec().nodename(), "n1");
  EXPECT_THAT(Events(), ElementsAre("Scheduled: Successfully assigned default/web to n1"));
  EXPECT_FALSE(scheduler_.nodes().assumed(Get("web").metadata().uid()));
}

TEST_F(SchedulerTest, AWaitingPodIsTriedAgainWhenSomethingHelps) {
  Create(MakeNode("n1", "1"));
  Create(MakePod("a", "600m"));
  sim_.RunFor(2s);
  Create(MakePod("b", "600m"));
  sim_.RunFor(20s);
  EXPECT_EQ(Get("b").spec().nodename(), "");
  EXPECT_EQ(scheduler_.queue().unschedulable(), 1u);
  auto condition = Get("b").status().conditions(0);
  EXPECT_EQ(condition.reason(), "Unschedulable");
  EXPECT_EQ(condition.message(),
            "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are "
            "available: 1 No preemption victims found for incoming pod.");
  EXPECT_TRUE(Await(client_.Delete<Pod>({}, "default", "a", {.grace_period_seconds = 0})).ok());
  sim_.RunFor(12s);
  EXPECT_EQ(Get("b").spec().nodename(), "n1");
}

TEST_F(SchedulerTest, GatedPodsWaitForTheirGates) {
  Create(MakeNode("n1"));
  Pod p = MakePod("a");
  p.mutable_spec()->add_schedulinggates()->set_name("example.com/wait");
  Create(p);
  sim_.RunFor(5s);
  EXPECT_EQ(scheduler_.queue().gated(), 1u);
  p = Get("a");
  p.mutable_spec()->clear_schedulinggates();
  ASSERT_TRUE(Await(client_.Update<Pod>({}, p)));
  sim_.RunFor(5s);
  EXPECT_EQ(Get("a").spec().nodename(), "n1");
}

TEST_F(SchedulerTest, AFailedBindingIsTriedAgainAndNodesAreNotLeaked) {
  Create(MakeNode("n1", "1"));
  int failures = 3;
  server_.fail = [&](const machinery::request::Request& r) {
    if (r.subresource == "binding" && failures-- > 0) return base::Unavailable("down");
    return base::Ok();
  };
  Create(MakePod("a", "600m"));
  sim_.RunFor(60s);
  EXPECT_EQ(Get("a").spec().nodename(), "n1");
  EXPECT_EQ(scheduler_.nodes().pods(), 1u);
  server_.fail = nullptr;
}

TEST_F(SchedulerTest, OtherSchedulersPodsAndDeletedOnesAreLeftAlone) {
  Create(MakeNode("n1"));
  Pod p = MakePod("a");
  p.mutable_spec()->set_schedulername("mine");
  Create(p);
  sim_.RunFor(5s);
  EXPECT_EQ(Get("a").spec().nodename(), "");
}

}  // namespace
}  // namespace scheduler
