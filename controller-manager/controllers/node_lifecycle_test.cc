// The node lifecycle controller over a server in memory and a simulated clock.
#include <gtest/gtest.h>

#include <algorithm>

#include "controller-manager/testing/controller_test.h"
#include "machinery/client/micro_time.h"
#include "proto/k8s/coordination/v1/lease.pb.h"
#include "proto/k8s/core/v1/node.pb.h"
#include "proto/k8s/core/v1/pod.pb.h"

namespace controller_manager {

std::unique_ptr<RunnableController> MakeNodeLifecycle(ManagerContext& context);

namespace {
using namespace std::chrono_literals;
using k8s::io::api::coordination::v1::Lease;
using k8s::io::api::core::v1::Node;
using k8s::io::api::core::v1::Pod;

class NodeLifecycleTest : public ControllerTest {
 protected:
  NodeLifecycleTest() : ControllerTest("node-controller") {
    for (const char* name : {"n1", "n2"}) {
      Node node;
      node.mutable_metadata()->set_name(name);
      for (const char* type : {"Ready", "MemoryPressure", "DiskPressure", "PIDPressure"}) {
        auto* c = node.mutable_status()->add_conditions();
        c->set_type(type);
        c->set_status(std::string(type) == "Ready" ? "True" : "False");
      }
      (void)Await(client_.Create<Node>(ctx_, node));
      Lease lease;
      lease.mutable_metadata()->set_namespace_("kube-node-lease");
      lease.mutable_metadata()->set_name(name);
      (void)Await(client_.Create<Lease>(ctx_, lease));
      Pod pod;
      pod.mutable_metadata()->set_namespace_("default");
      pod.mutable_metadata()->set_name(std::string("pod-on-") + name);
      pod.mutable_spec()->set_nodename(name);
      auto* c = pod.mutable_status()->add_conditions();
      c->set_type("Ready");
      c->set_status("True");
      (void)Await(client_.Create<Pod>(ctx_, pod));
    }
    controller_ = MakeNodeLifecycle(context_);
    scope_ = std::make_unique<base::TaskScope>(sim_, ctx_);
    informers_.Start(*scope_);
    scope_->Spawn(controller_->Run(scope_->context()));
    Live(30s, {"n1", "n2"});
    server_.ClearLog();
  }
  ~NodeLifecycleTest() override {
    ctx_.Cancel();
    sim_.RunFor(10s);
  }

  // Time goes on, and these nodes renew their leases every ten seconds.
  void Live(base::Duration time, const std::vector<std::string>& nodes) {
    for (base::Duration gone{}; gone < time; gone += 10s) {
      for (const auto& name : nodes) (void)Await(Renew(name));
      sim_.RunFor(10s);
    }
  }
  base::Task<base::Status> Renew(std::string name) {
    CO_TRY_ASSIGN(auto lease, co_await client_.Get<Lease>(ctx_, "kube-node-lease", name));
    client::SetTime(*lease.mutable_spec()->mutable_renewtime(), sim_.WallNow());
    co_return base::StatusOf(co_await client_.Update<Lease>(ctx_, std::move(lease)));
  }
  // What the controller wrote about these nodes and pods.
  std::vector<std::string> Writes() const {
    std::vector<std::string> out;
    for (const auto& line : server_.log())
      if (line.starts_with("update nodes") || line.starts_with("update pods")) out.push_back(line);
    return out;
  }
  void Outage(base::Duration time) {
    server_.fail = [](const machinery::request::Request&) { return base::Unavailable("connection refused"); };
    server_.DropWatches(base::Unavailable("connection lost"));
    sim_.RunFor(time);
    server_.fail = nullptr;
  }

  std::unique_ptr<RunnableController> controller_;
  std::unique_ptr<base::TaskScope> scope_;
};

TEST_F(NodeLifecycleTest, ASilentNodeIsMarkedAndItsPodsToo) {
  Live(2min, {"n1"});
  auto writes = Writes();
  EXPECT_TRUE(std::ranges::count(writes, "update nodes/status n2"));
  EXPECT_TRUE(std::ranges::count(writes, "update pods/status default/pod-on-n2"));
  EXPECT_FALSE(std::ranges::count(writes, "update nodes/status n1"));
  EXPECT_FALSE(std::ranges::count(writes, "update pods/status default/pod-on-n1"));
}

TEST_F(NodeLifecycleTest, AfterAnOutageOfTheServerNobodyIsBlamed) {
  for (auto outage : {10s, 55s, 600s}) {
    Outage(outage);
    // The kubelets come back a while after the server, one much later than the other.
    sim_.RunFor(12s);
    Live(30s, {"n1"});
    Live(60s, {"n1", "n2"});
    EXPECT_TRUE(Writes().empty()) << "after " << outage.count() << " s: " << Writes().front();
  }
  // Who stays away is found out all the same.
  Outage(120s);
  Live(2min, {"n1"});
  EXPECT_TRUE(std::ranges::count(Writes(), "update nodes/status n2"));
  EXPECT_FALSE(std::ranges::count(Writes(), "update nodes/status n1"));
}

// The server answers from its memory, but takes no writes: the store is away.
TEST_F(NodeLifecycleTest, AServerThatTakesNoHeartbeatsHearsNobody) {
  server_.fail = [](const machinery::request::Request& r) {
    return r.verb == machinery::request::Verb::kUpdate ? base::Unavailable("etcdserver: no leader") : base::Ok();
  };
  Live(5min, {"n1", "n2"});
  server_.fail = nullptr;
  server_.ClearLog();
  sim_.RunFor(15s);
  Live(60s, {"n1", "n2"});
  EXPECT_TRUE(Writes().empty());
}

}  // namespace
}  // namespace controller_manager
