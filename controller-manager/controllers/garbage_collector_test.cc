// The garbage collector over a server in memory and a simulated clock.
#include <gtest/gtest.h>

#include <algorithm>

#include "controller-manager/testing/controller_test.h"
#include "proto/k8s/core/v1/config.pb.h"
#include "proto/k8s/core/v1/event.pb.h"

namespace controller_manager {

std::unique_ptr<RunnableController> MakeGarbageCollector(ManagerContext& context);

namespace {
using namespace std::chrono_literals;
using k8s::io::api::core::v1::ConfigMap;
using k8s::io::api::core::v1::Secret;
using CoreEvent = k8s::io::api::core::v1::Event;

base::Task<base::Result<std::vector<ServedResource>>> TwoKinds(base::Context) {
  std::vector<ServedResource> out;
  for (const client::Resource& r : {client::ResourceOf<ConfigMap>(), client::ResourceOf<Secret>()})
    out.push_back({r, {"list", "watch", "delete", "get"}});
  co_return out;
}

class GarbageCollectorTest : public ControllerTest {
 protected:
  GarbageCollectorTest()
      : ControllerTest("garbage-collector-controller", TwoKinds),
        controller_(MakeGarbageCollector(context_)),
        scope_(sim_, ctx_) {}
  ~GarbageCollectorTest() override {
    ctx_.Cancel();
    sim_.RunFor(10s);
  }
  void Start() {
    scope_.Spawn(recorder_.Run(scope_.context()));
    scope_.Spawn(controller_->Run(scope_.context()));
    sim_.RunFor(5s);
  }
  template <class T>
  std::string Make(const std::string& ns, const std::string& name, const std::string& owner_uid = {}) {
    T object;
    auto* m = object.mutable_metadata();
    m->set_namespace_(ns);
    m->set_name(name);
    if (!owner_uid.empty()) {
      auto* ref = m->add_ownerreferences();
      ref->set_apiversion("v1");
      ref->set_kind("ConfigMap");
      ref->set_name("owner");
      ref->set_uid(owner_uid);
    }
    return Await(client_.Create<T>(ctx_, object))->metadata().uid();
  }
  std::vector<std::string> Events() {
    std::vector<std::string> out;
    for (const auto& e : Await(client_.List<CoreEvent>(ctx_, {}))->items)
      out.push_back(e->type() + " " + e->reason() + " " + e->involvedobject().apiversion() + "/" +
                    e->involvedobject().kind() + " " + e->involvedobject().namespace_() + "/" +
                    e->involvedobject().name() + " x" + std::to_string(e->count()) + ": " + e->message());
    return out;
  }

  std::unique_ptr<RunnableController> controller_;
  base::TaskScope scope_;
};

TEST_F(GarbageCollectorTest, AnOwnerInAnotherNamespaceIsToldAndHoldsNothing) {
  std::string uid = Make<ConfigMap>("there", "owner");
  Make<Secret>("here", "child", uid);
  Make<Secret>("there", "child", uid);
  Start();
  sim_.RunFor(20s);
  EXPECT_EQ(Events(), (std::vector<std::string>{"Warning OwnerRefInvalidNamespace v1/Secret here/child x1: ownerRef "
                                                "[v1/ConfigMap, namespace: here, name: owner, uid: " +
                                                uid + "] does not exist in namespace \"here\""}));
  EXPECT_FALSE(Await(client_.Get<Secret>(ctx_, "here", "child")));
  EXPECT_TRUE(Await(client_.Get<Secret>(ctx_, "there", "child")));
}

TEST_F(GarbageCollectorTest, TheSameWithACollectorThatRunsAlready) {
  Start();
  std::string uid = Make<ConfigMap>("there", "owner");
  Make<Secret>("here", "late", uid);
  sim_.RunFor(20s);
  EXPECT_EQ(Events().size(), 1u);
  EXPECT_FALSE(Await(client_.Get<Secret>(ctx_, "here", "late")));
}

}  // namespace
}  // namespace controller_manager
