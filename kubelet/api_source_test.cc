// What pods name is watched, each thing once, as long as somebody names it.
#include "kubelet/api_source.h"

#include <gtest/gtest.h>

#include "base/testing/sim_executor.h"
#include "machinery/client/testing/fake_transport.h"

namespace kubelet {
namespace {

class ApiSourceTest : public testing::Test {
 protected:
  ApiSourceTest() {
    source_.on_change = [this](const std::string& uid) { told_ += uid + " "; };
    source_.StartWatching(scope_);
  }
  ~ApiSourceTest() override {
    base::Spawn(sim_, [](base::TaskScope& s) -> base::Task<void> { co_await s.CancelAndJoin(); }(scope_));
    Settle();
  }
  void Settle() {
    while (sim_.Step()) {
    }
  }
  template <class T>
  T Await(base::Task<T> task) {
    std::optional<T> out;
    base::Spawn(sim_, [](base::Task<T> t, std::optional<T>& o) -> base::Task<void> {
      o = co_await std::move(t);
    }(std::move(task), out));
    for (int i = 0; i < 10000 && !out && sim_.Step(); ++i) {
    }
    return std::move(*out);
  }
  static api::ConfigMap Map(const std::string& name, const std::string& value) {
    api::ConfigMap map;
    map.mutable_metadata()->set_namespace_("ns");
    map.mutable_metadata()->set_name(name);
    (*map.mutable_data())["k"] = value;
    return map;
  }
  static api::Pod Naming(const std::string& uid, const std::string& map) {
    api::Pod pod;
    pod.mutable_metadata()->set_uid(uid);
    pod.mutable_metadata()->set_namespace_("ns");
    pod.mutable_spec()
        ->add_volumes()
        ->mutable_volumesource()
        ->mutable_configmap()
        ->mutable_localobjectreference()
        ->set_name(map);
    return pod;
  }
  std::string Read(const std::string& name) {
    auto got = Await(source_.ConfigMap(base::Context(), "ns", name));
    return got ? (*got)->data().at("k") : std::string(got.error().message());
  }
  // The steps of a few seconds: watches are made and answered.
  void Pass() {
    base::Spawn(sim_, [](base::Executor& e) -> base::Task<void> {
      (void)co_await base::Sleep(e, base::Context(), std::chrono::seconds(2));
    }(sim_));
    for (int i = 0; i < 2000 && sim_.Step(); ++i) {
    }
  }

  base::testing::SimExecutor sim_{1, base::testing::SimExecutor::Order::kFifo};
  machinery::client::testing::FakeTransport server_{sim_};
  machinery::client::Client client_{server_, "kubelet"};
  base::TaskScope scope_{sim_, base::Context()};
  ApiSource source_{sim_, &client_};
  std::string told_;
};

TEST(References, EveryPlace) {
  api::Pod pod;
  auto* spec = pod.mutable_spec();
  spec->add_volumes()->mutable_volumesource()->mutable_configmap()->mutable_localobjectreference()->set_name("m1");
  spec->add_volumes()->mutable_volumesource()->mutable_secret()->set_secretname("s1");
  auto* p = spec->add_volumes()->mutable_volumesource()->mutable_projected();
  p->add_sources()->mutable_configmap()->mutable_localobjectreference()->set_name("m2");
  p->add_sources()->mutable_secret()->mutable_localobjectreference()->set_name("s2");
  auto* c = spec->add_containers();
  c->add_envfrom()->mutable_configmapref()->mutable_localobjectreference()->set_name("m3");
  c->add_envfrom()->mutable_secretref()->mutable_localobjectreference()->set_name("s3");
  auto* i = spec->add_initcontainers();
  i->add_env()->mutable_valuefrom()->mutable_configmapkeyref()->mutable_localobjectreference()->set_name("m4");
  i->add_env()->mutable_valuefrom()->mutable_secretkeyref()->mutable_localobjectreference()->set_name("s4");
  auto* e = spec->add_ephemeralcontainers()->mutable_ephemeralcontainercommon();
  e->add_envfrom()->mutable_configmapref()->mutable_localobjectreference()->set_name("m5");
  spec->add_imagepullsecrets()->set_name("s5");
  spec->add_volumes()->mutable_volumesource()->mutable_emptydir();
  PodReferences names = ReferencesOf(pod);
  EXPECT_EQ(names.config_maps, (std::set<std::string>{"m1", "m2", "m3", "m4", "m5"}));
  EXPECT_EQ(names.secrets, (std::set<std::string>{"s1", "s2", "s3", "s4", "s5"}));
}

TEST_F(ApiSourceTest, ChangesAreTold) {
  ASSERT_TRUE(Await(client_.Create<api::ConfigMap>(base::Context(), Map("m", "1"))));
  source_.Reference(Naming("u1", "m"));
  source_.Reference(Naming("u2", "m"));
  source_.Reference(Naming("u3", "other"));
  EXPECT_EQ(source_.watches(), 2u) << "one each, whoever names it";
  EXPECT_EQ(Read("m"), "1");
  Pass();
  told_.clear();
  ASSERT_TRUE(Await(client_.Update<api::ConfigMap>(base::Context(), Map("m", "2"))));
  Pass();
  EXPECT_EQ(told_, "u1 u2 ");
  server_.ClearLog();
  EXPECT_EQ(Read("m"), "2");
  EXPECT_TRUE(server_.log().empty()) << "known without asking";
  EXPECT_EQ(Read("other"), "configmap \"other\" not found");
  told_.clear();
  ASSERT_TRUE(Await(client_.Create<api::ConfigMap>(base::Context(), Map("other", "3"))));
  Pass();
  EXPECT_EQ(told_, "u3 ");
  EXPECT_EQ(Read("other"), "3");
  ASSERT_TRUE(Await(client_.Delete<api::ConfigMap>(base::Context(), "ns", "other")).ok());
  Pass();
  EXPECT_EQ(Read("other"), "configmap \"other\" not found");
  source_.ForgetPod("u1");
  source_.ForgetPod("u3");
  EXPECT_EQ(source_.watches(), 1u);
  source_.Reference(Naming("u2", "none"));  // names another now
  EXPECT_EQ(source_.watches(), 1u);
  told_.clear();
  ASSERT_TRUE(Await(client_.Update<api::ConfigMap>(base::Context(), Map("m", "4"))));
  Pass();
  EXPECT_EQ(told_, "") << "nobody names it";
  source_.ForgetPod("u2");
  EXPECT_EQ(source_.watches(), 0u);
}

TEST_F(ApiSourceTest, WhatCannotChangeIsNotWatched) {
  api::ConfigMap map = Map("m", "1");
  map.set_immutable(true);
  ASSERT_TRUE(Await(client_.Create<api::ConfigMap>(base::Context(), map)));
  source_.Reference(Naming("u1", "m"));
  Pass();
  EXPECT_EQ(source_.watches(), 0u);
  server_.ClearLog();
  EXPECT_EQ(Read("m"), "1");
  EXPECT_TRUE(server_.log().empty());
}

TEST_F(ApiSourceTest, MoreThanAConnectionCarries) {
  for (int i = 0; i < 300; ++i) source_.Reference(Naming("u" + std::to_string(i), "m" + std::to_string(i)));
  EXPECT_EQ(source_.watches(), 160u);
  ASSERT_TRUE(Await(client_.Create<api::ConfigMap>(base::Context(), Map("m299", "late"))));
  EXPECT_EQ(Read("m299"), "late");
  for (int i = 0; i < 300; ++i) source_.ForgetPod("u" + std::to_string(i));
  EXPECT_EQ(source_.watches(), 0u);
}

}  // namespace
}  // namespace kubelet
