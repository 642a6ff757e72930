// The control plane over memory, in one thread: what a new server creates, who may do what, addresses and ports under
// pressure, tokens from request to review.
#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "apiserver/plane/control_plane.h"
#include "apiserver/registry/core/node_ports.h"
#include "apiserver/registry/core/service_ips.h"
#include "apiserver/storage/memory.h"
#include "base/sync.h"
#include "base/testing/sim_executor.h"
#include "base/testing/temp_dir.h"
#include "machinery/object/api_error.h"
#include "machinery/object/meta.h"

namespace apiserver {
namespace {

namespace object = machinery::object;
using machinery::request::Identity;
using machinery::request::Request;
using machinery::request::Verb;
using machinery::value::FromJson;
using machinery::value::Value;

// Of this test only.
constexpr const char* kSigningKey =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgjOr2dvCbUFJtbrA5\n"
    "npl9X9pKEhg+/PV/epgdHp1Hvi+hRANCAATkLtlEnD8g1ZmvM5EDAEaCWNUabGsC\n"
    "hIzI9qVN9xzvbLCwIeO4eMccsdfA/Uq67v0HPyyv5RccpovKkI9TzuGR\n"
    "-----END PRIVATE KEY-----\n";

class PlaneTest : public ::testing::Test {
 protected:
  void StartWith(const std::string& range = "10.96.0.0/16", const std::string& ports = "30000-30063") {
    ControlPlaneOptions o;
    o.authorization_modes = {"Node", "RBAC"};
    o.service_cluster_ip_range = range;
    o.service_node_port_range = ports;
    o.advertise_address = "192.0.2.10";
    o.service_account_signing_key_file = dir_.path() + "/key.pem";
    std::ofstream(o.service_account_signing_key_file) << kSigningKey;
    auto plane = ControlPlane::Make(o);
    ASSERT_TRUE(plane.has_value()) << plane.error().ToString();
    plane_ = std::move(*plane);
    CoreOptions options;
    options.enable_admission_plugins = {"NodeRestriction"};
    core_ = std::make_unique<Core>(executor_, storage_, base::Random(7), options,
                                   [&](registry::Registry& r) { return plane_->Connect(r, nullptr); });
    base::Spawn(executor_, core_->Run(ctx_), [this] { ++stopped_; });
    auto ready = Wait(core_->WaitReady(ctx_));
    ASSERT_TRUE(ready.ok()) << ready.ToString();
    auto started = Wait(plane_->Start(ctx_));
    ASSERT_TRUE(started.ok()) << started.ToString();
    base::Spawn(executor_, plane_->Run(ctx_), [this] { ++stopped_; });
  }
  void TearDown() override {
    ctx_.Cancel();
    executor_.RunUntil([this] { return stopped_ == 2; }, std::chrono::seconds(10));
  }

  template <class T>
  T Wait(base::Task<T> task) {
    std::optional<T> out;
    auto run = [](base::Task<T> t, std::optional<T>* o) -> base::Task<void> { o->emplace(co_await std::move(t)); };
    base::Spawn(executor_, run(std::move(task), &out));
    executor_.RunUntil([&] { return out.has_value(); }, std::chrono::seconds(120));
    CHECK(out.has_value());
    return std::move(*out);
  }

  // "group/version/resource[/subresource]"
  base::Result<Value> Do(Verb verb, std::string what, std::string ns, std::string name, std::string body = "",
                         Identity who = {.name = "admin", .groups = {"system:masters", "system:authenticated"}}) {
    auto parts = std::vector<std::string>(1);
    for (char c : what) c == '/' ? (void)parts.emplace_back() : (void)(parts.back() += c);
    Request r;
    r.verb = verb;
    r.group = parts[0];
    r.version = parts[1];
    r.resource = parts[2];
    if (parts.size() > 3) r.subresource = parts[3];
    r.namespace_name = std::move(ns);
    r.name = std::move(name);
    r.content_type = machinery::request::kJson;
    if (verb == Verb::kPatch) r.patch_type = machinery::request::PatchType::kMerge;
    if (!body.empty()) r.body = base::Share(std::move(body));
    auto transport = InProcessTransport(*core_, std::move(who));
    auto response = Wait(transport->Do(base::Context(), std::move(r)));
    if (!response) return base::Err(response.error());
    return FromJson(*response->body);
  }
  base::Result<Value> CreateService(const std::string& name, const std::string& spec) {
    return Do(Verb::kCreate, "/v1/services", "default", "",
              R"({"apiVersion":"v1","kind":"Service","metadata":{"name":")" + name + R"("},"spec":)" + spec + "}");
  }
  // The caches follow the store's watch.
  size_t Addresses() {
    executor_.RunReady();
    return core_->registry().FindStore("networking.k8s.io", "ipaddresses")->cache().size();
  }

  base::testing::TempDir dir_;
  base::testing::SimExecutor executor_{1, base::testing::SimExecutor::Order::kFifo};
  storage::MemoryStorage storage_{executor_};
  std::unique_ptr<ControlPlane> plane_;
  std::unique_ptr<Core> core_;
  base::Context ctx_ = base::Context().WithCancel();
  int stopped_ = 0;
};

constexpr const char* kPorts = R"({"ports":[{"port":80}]})";

TEST_F(PlaneTest, ANewServerHasWhatItNeeds) {
  StartWith();
  EXPECT_TRUE(plane_->started());
  for (std::string ns : {"default", "kube-system", "kube-public", "kube-node-lease"})
    EXPECT_TRUE(Do(Verb::kGet, "/v1/namespaces", "", ns).has_value()) << ns;
  auto service = Do(Verb::kGet, "/v1/services", "default", "kubernetes");
  ASSERT_TRUE(service.has_value()) << service.error().ToString();
  EXPECT_EQ(service->At("spec", "clusterIP").string_or(), "10.96.0.1");
  auto slice = Do(Verb::kGet, "discovery.k8s.io/v1/endpointslices", "default", "kubernetes");
  ASSERT_TRUE(slice.has_value());
  EXPECT_EQ(slice->At("endpoints").At(size_t{0}).At("addresses").At(size_t{0}).string_or(), "192.0.2.10");
  auto admin = Do(Verb::kGet, "rbac.authorization.k8s.io/v1/clusterroles", "", "cluster-admin");
  ASSERT_TRUE(admin.has_value());
  EXPECT_EQ(object::AnnotationOf(*admin, "rbac.authorization.kubernetes.io/autoupdate"), "true");
}

TEST_F(PlaneTest, AddressesAreTakenOnceAndGivenBack) {
  StartWith();
  size_t before = Addresses();
  auto made = CreateService("a", R"({"clusterIP":"10.96.5.5","ports":[{"port":80}]})");
  ASSERT_TRUE(made.has_value()) << made.error().ToString();
  EXPECT_EQ(Addresses(), before + 1);
  auto twice = CreateService("b", R"({"clusterIP":"10.96.5.5","ports":[{"port":80}]})");
  ASSERT_FALSE(twice.has_value());
  EXPECT_EQ(twice.error().message(),
            "Service \"b\" is invalid: spec.clusterIPs: Invalid value: [\"10.96.5.5\"]: failed to allocate IP "
            "10.96.5.5: provided IP is already allocated");
  // What validation refuses gives back what was taken before.
  EXPECT_FALSE(CreateService("No_Name", R"({"clusterIP":"10.96.5.6","ports":[{"port":80}]})").has_value());
  executor_.RunReady();
  EXPECT_EQ(Addresses(), before + 1);
  ASSERT_TRUE(Do(Verb::kDelete, "/v1/services", "default", "a").has_value());
  EXPECT_EQ(Addresses(), before);
  EXPECT_TRUE(CreateService("b", R"({"clusterIP":"10.96.5.5","ports":[{"port":80}]})").has_value());
}

TEST_F(PlaneTest, ManyAtOnceGetDifferentAddressesUntilTheRangeIsFull) {
  StartWith("10.96.0.0/28");  // 14 addresses, one is the Service kubernetes
  auto transport = InProcessTransport(*core_, {.name = "admin", .groups = {"system:masters"}});
  std::vector<std::optional<base::Result<machinery::request::Response>>> answers(16);
  auto one = [](machinery::request::Transport* t, int i,
                std::optional<base::Result<machinery::request::Response>>* out) -> base::Task<void> {
    Request r;
    r.verb = Verb::kCreate;
    r.version = "v1";
    r.resource = "services";
    r.namespace_name = "default";
    r.content_type = machinery::request::kJson;
    r.body = base::Share(R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"s)" + std::to_string(i) +
                         R"("},"spec":{"ports":[{"port":80}]}})");
    out->emplace(co_await t->Do(base::Context(), std::move(r)));
  };
  for (size_t i = 0; i < answers.size(); ++i)
    base::Spawn(executor_, one(transport.get(), static_cast<int>(i), &answers[i]));
  executor_.RunUntil([&] { return std::all_of(answers.begin(), answers.end(), [](auto& a) { return a.has_value(); }); },
                     std::chrono::seconds(60));
  std::set<std::string> ips;
  int full = 0;
  for (auto& a : answers) {
    if (*a) {
      auto tree = FromJson(*(**a).body);
      EXPECT_TRUE(ips.insert(std::string(tree->At("spec", "clusterIP").string_or())).second);
    } else {
      EXPECT_NE((*a).error().message().find("range is full"), std::string_view::npos) << (*a).error().ToString();
      ++full;
    }
  }
  EXPECT_EQ(ips.size(), 13u);
  EXPECT_EQ(full, 3);
}

TEST_F(PlaneTest, LeakedAddressesComeBackAndMissingObjectsToo) {
  StartWith();
  ASSERT_TRUE(CreateService("a", kPorts).has_value());
  size_t with = Addresses();
  auto& ips = *core_->registry().facilities().service_ips;
  ASSERT_TRUE(Wait(ips.Take(ctx_, "10.96.7.7", {"default", "gone"}, false)).ok());  // a crash before the Service
  auto service = Do(Verb::kGet, "/v1/services", "default", "a");
  std::string used(service->At("spec", "clusterIP").string_or());
  ASSERT_TRUE(Do(Verb::kDelete, "networking.k8s.io/v1/ipaddresses", "", used).has_value());
  executor_.RunReady();
  ASSERT_TRUE(Wait(ips.Repair(ctx_)).ok());
  EXPECT_EQ(Addresses(), with + 1);  // the young leak stays, the missing one is back
  executor_.RunFor(std::chrono::seconds(90));
  ASSERT_TRUE(Wait(ips.Repair(ctx_)).ok());
  EXPECT_EQ(Addresses(), with);
}

TEST_F(PlaneTest, NodePortsAreTakenGivenBackAndRepaired) {
  StartWith();
  auto np = [&](const std::string& name, int port) {
    return CreateService(name, R"({"type":"NodePort","ports":[{"port":80,"nodePort":)" + std::to_string(port) + "}]}");
  };
  ASSERT_TRUE(np("a", 30001).has_value());
  EXPECT_EQ(
      np("b", 30001).error().message(),
      "Service \"b\" is invalid: spec.ports[0].nodePort: Invalid value: 30001: provided port is already allocated");
  EXPECT_EQ(np("b", 80).error().message(),
            "Service \"b\" is invalid: spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid "
            "range. The range of valid ports is 30000-30063");
  ASSERT_TRUE(Do(Verb::kPatch, "/v1/services", "default", "a", R"({"spec":{"type":"ClusterIP"}})").has_value());
  executor_.RunReady();
  EXPECT_TRUE(np("b", 30001).has_value());
  ASSERT_TRUE(Do(Verb::kDelete, "/v1/services", "default", "b").has_value());
  EXPECT_TRUE(np("c", 30001).has_value());
  // All others, dynamically, and then none.
  int made = 0;
  while (CreateService("d" + std::to_string(made), R"({"type":"NodePort","ports":[{"port":80}]})").has_value()) ++made;
  EXPECT_EQ(made, 63);
  ASSERT_TRUE(Do(Verb::kDelete, "/v1/services", "default", "d7").has_value());
  EXPECT_TRUE(CreateService("again", R"({"type":"NodePort","ports":[{"port":80}]})").has_value());
  // A port marked by a server that died: three repairs later it is free.
  ASSERT_TRUE(Do(Verb::kDelete, "/v1/services", "default", "d8").has_value());
  registry::NodePorts dead(core_->registry(), 30000, 30063);
  auto leaked = Wait(dead.TakeAny(ctx_, false));
  ASSERT_TRUE(leaked.has_value());
  auto& ports = *core_->registry().facilities().node_ports;
  EXPECT_FALSE(Wait(ports.TakeAny(ctx_, false)).has_value());
  executor_.RunReady();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(Wait(ports.Repair(ctx_)).ok());
  EXPECT_EQ(Wait(ports.TakeAny(ctx_, false)).value_or(0), *leaked);
}

TEST_F(PlaneTest, RolesDecideAndAreNotEscalated) {
  StartWith();
  Identity eve{.name = "eve", .groups = {"system:authenticated"}};
  EXPECT_EQ(Do(Verb::kList, "/v1/pods", "default", "", "", eve).error().message(),
            "pods is forbidden: User \"eve\" cannot list resource \"pods\" in API group \"\" in the namespace "
            "\"default\"");
  const char* kinds = "rbac.authorization.k8s.io/v1/clusterroles";
  ASSERT_TRUE(Do(Verb::kCreate, kinds, "", "", R"({"metadata":{"name":"maker"},"rules":[
    {"apiGroups":["rbac.authorization.k8s.io"],"resources":["roles","rolebindings"],"verbs":["create"]},
    {"apiGroups":[""],"resources":["pods"],"verbs":["list"]}]})")
                  .has_value());
  ASSERT_TRUE(Do(Verb::kCreate, "rbac.authorization.k8s.io/v1/clusterrolebindings", "", "",
                 R"({"metadata":{"name":"maker"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole",
                     "name":"maker"},"subjects":[{"kind":"User","name":"eve"}]})")
                  .has_value());
  EXPECT_TRUE(Do(Verb::kList, "/v1/pods", "default", "", "", eve).has_value());
  auto role = [&](const std::string& name, const std::string& resource) {
    return Do(Verb::kCreate, "rbac.authorization.k8s.io/v1/roles", "default", "",
              R"({"metadata":{"name":")" + name + R"("},"rules":[{"apiGroups":[""],"resources":[")" + resource +
                  R"("],"verbs":["list"]}]})",
              eve);
  };
  EXPECT_TRUE(role("fine", "pods").has_value());
  auto refused = role("esc", "secrets");
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().message(),
            "roles.rbac.authorization.k8s.io \"esc\" is forbidden: user \"eve\" (groups=[\"system:authenticated\"]) is "
            "attempting to grant RBAC permissions not currently held:\n"
            "{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"list\"]}");
  // One of the roles that feed edit; eve holds little of it.
  auto bound = Do(Verb::kCreate, "rbac.authorization.k8s.io/v1/rolebindings", "default", "",
                  R"({"metadata":{"name":"esc"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole",
                      "name":"system:aggregate-to-edit"},"subjects":[{"kind":"User","name":"eve"}]})",
                  eve);
  ASSERT_FALSE(bound.has_value());
  EXPECT_NE(bound.error().message().find("Resources:[\"secrets\"]"), std::string_view::npos);
}

// A namespace's limits and a class's overhead, from the words of the request to what is stored.
TEST_F(PlaneTest, LimitRangesFillInAndRefuse) {
  StartWith();
  ASSERT_TRUE(
      Do(Verb::kCreate, "/v1/serviceaccounts", "default", "", R"({"metadata":{"name":"default"}})").has_value());
  ASSERT_TRUE(Do(Verb::kCreate, "/v1/limitranges", "default", "", R"({"metadata":{"name":"l"},"spec":{"limits":[
    {"type":"Container","default":{"cpu":"500m"},"defaultRequest":{"cpu":"100m"},"max":{"cpu":"1"},
     "maxLimitRequestRatio":{"cpu":"5"}},
    {"type":"Pod","max":{"memory":"1Gi"}},
    {"type":"PersistentVolumeClaim","min":{"storage":"1Gi"},"max":{"storage":"2Gi"}}]}})")
                  .has_value());
  auto pod = [&](const std::string& resources) {
    return Do(Verb::kCreate, "/v1/pods", "default", "",
              R"({"metadata":{"generateName":"p-"},"spec":{"containers":[{"name":"c","image":"i","resources":)" +
                  resources + "}]}}");
  };
  auto filled = pod(R"({"limits":{"memory":"1Gi"}})");
  ASSERT_TRUE(filled.has_value()) << filled.error().ToString();
  EXPECT_EQ(filled->At("metadata", "annotations", "kubernetes.io/limit-ranger").string_or(),
            "LimitRanger plugin set: cpu request for container c; cpu limit for container c");
  EXPECT_EQ(filled->At("spec", "containers").At(size_t{0}).At("resources", "limits", "cpu").string_or(), "500m");
  EXPECT_EQ(filled->At("status", "qosClass").string_or(), "Burstable");
  auto why = [&](base::Result<Value> answer) {
    std::string text(answer.has_value() ? "" : answer.error().message());
    return text.substr(std::min(text.size(), text.find("forbidden: ") + 11));
  };
  EXPECT_EQ(why(pod(R"({"limits":{"cpu":"2","memory":"1Gi"}})")),
            "maximum cpu usage per Container is 1, but limit is 2");
  EXPECT_EQ(why(pod(R"({"limits":{"cpu":"1","memory":"2Gi"},"requests":{"cpu":"100m"}})")),
            "[cpu max limit to request ratio per Container is 5, but provided ratio is 10.000000, maximum memory usage "
            "per Pod is 1Gi, but limit is 2Gi]");
  auto claim = [&](const std::string& size) {
    return Do(Verb::kCreate, "/v1/persistentvolumeclaims", "default", "",
              R"({"metadata":{"generateName":"c-"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":
                 {"storage":")" +
                  size + R"("}}}})");
  };
  EXPECT_TRUE(claim("2Gi").has_value());
  EXPECT_EQ(why(claim("3Gi")), "maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi");
  EXPECT_EQ(why(claim("1Mi")), "minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi");
}

TEST_F(PlaneTest, RuntimeClassesBringOverheadAndPlace) {
  StartWith();
  ASSERT_TRUE(
      Do(Verb::kCreate, "/v1/serviceaccounts", "default", "", R"({"metadata":{"name":"default"}})").has_value());
  ASSERT_TRUE(Do(Verb::kCreate, "node.k8s.io/v1/runtimeclasses", "", "", R"({"metadata":{"name":"vm"},"handler":"vm",
    "overhead":{"podFixed":{"cpu":"250m"}},"scheduling":{"nodeSelector":{"vm":"yes"},
    "tolerations":[{"key":"vm","operator":"Exists"}]}})")
                  .has_value());
  auto pod = [&](const std::string& more) {
    return Do(Verb::kCreate, "/v1/pods", "default", "",
              R"({"metadata":{"generateName":"p-"},"spec":{"containers":[{"name":"c","image":"i"}],)" + more + "}}");
  };
  auto made = pod(R"("runtimeClassName":"vm","nodeSelector":{"a":"b"},"tolerations":[{"key":"vm","operator":"Equal",
                     "value":"x","effect":"NoSchedule"}])");
  ASSERT_TRUE(made.has_value()) << made.error().ToString();
  const Value& spec = made->At("spec");
  EXPECT_EQ(machinery::value::ToJson(spec.At("overhead")), R"({"cpu":"250m"})");
  EXPECT_EQ(machinery::value::ToJson(spec.At("nodeSelector")), R"({"a":"b","vm":"yes"})");
  bool narrow = false, wide = false;
  for (const Value& t : spec.At("tolerations").list())
    if (t.At("key").string_or() == "vm") (t.At("operator").string_or() == "Exists" ? wide : narrow) = true;
  EXPECT_TRUE(wide);
  EXPECT_FALSE(narrow);  // covered by the class's
  auto text = [&](const std::string& more) {
    auto answer = pod(more);
    return std::string(answer.has_value() ? "" : answer.error().message());
  };
  EXPECT_NE(text(R"("runtimeClassName":"none")").find("RuntimeClass \"none\" not found"), std::string::npos);
  EXPECT_NE(text(R"("overhead":{"cpu":"1"})").find("Pod Overhead set without corresponding RuntimeClass defined"),
            std::string::npos);
  EXPECT_NE(text(R"("runtimeClassName":"vm","overhead":{"cpu":"1"})").find("doesn't match RuntimeClass's defined"),
            std::string::npos);
  EXPECT_NE(text(R"("runtimeClassName":"vm","nodeSelector":{"vm":"no"})").find("nodeSelector[vm] = yes"),
            std::string::npos);
}

TEST_F(PlaneTest, PodsAreResizedThroughTheirSubresourceOnly) {
  StartWith();
  ASSERT_TRUE(
      Do(Verb::kCreate, "/v1/serviceaccounts", "default", "", R"({"metadata":{"name":"default"}})").has_value());
  ASSERT_TRUE(Do(Verb::kCreate, "/v1/pods", "default", "", R"({"metadata":{"name":"p"},"spec":{"containers":[
    {"name":"c","image":"i","resources":{"requests":{"cpu":"100m"},"limits":{"cpu":"200m"}}}]}})")
                  .has_value());
  auto resize = [&](const std::string& what, const std::string& containers) {
    return Do(Verb::kPatch, "/v1/pods" + what, "default", "p",
              R"({"metadata":{"labels":{"a":"b"}},"spec":{"containers":)" + containers + "}}");
  };
  const std::string more =
      R"([{"name":"c","image":"j","resources":{"requests":{"cpu":"150m"},"limits":{"cpu":"200m"}}}])";
  EXPECT_FALSE(resize("", more).has_value());
  auto done = resize("/resize", more);
  ASSERT_TRUE(done.has_value()) << done.error().ToString();
  const Value& c = done->At("spec", "containers").At(size_t{0});
  EXPECT_EQ(c.At("resources", "requests", "cpu").string_or(), "150m");
  EXPECT_EQ(c.At("image").string_or(), "i");
  EXPECT_TRUE(done->At("metadata", "labels").is_null());
  EXPECT_EQ(object::GenerationOf(*done), 2);
  auto why = [&](const std::string& containers) {
    auto answer = resize("/resize", containers);
    return std::string(answer.has_value() ? "" : answer.error().message());
  };
  EXPECT_NE(why(R"([{"name":"c","image":"i","resources":{"limits":{"cpu":"200m","memory":"1Gi"}}}])")
                .find("QOS Class may not change"),
            std::string::npos);
  EXPECT_NE(why(R"([{"name":"d","image":"i"}])").find("containers may not be renamed or reordered on resize"),
            std::string::npos);
  EXPECT_NE(why(R"([{"name":"c","image":"i"},{"name":"d","image":"i"}])")
                .find("containers may not be added or removed on resize"),
            std::string::npos);
  auto debug = Do(Verb::kPatch, "/v1/pods/ephemeralcontainers", "default", "p",
                  R"({"spec":{"ephemeralContainers":[{"name":"e","image":"i"}]}})");
  ASSERT_TRUE(debug.has_value()) << debug.error().ToString();
  EXPECT_EQ(object::GenerationOf(*debug), 3);
  auto gone =
      Do(Verb::kPatch, "/v1/pods/ephemeralcontainers", "default", "p", R"({"spec":{"ephemeralContainers":[]}})");
  ASSERT_FALSE(gone.has_value());
  EXPECT_NE(gone.error().message().find("existing ephemeral containers \"e\" may not be removed"), std::string::npos);
}

TEST_F(PlaneTest, TokensLiveAsLongAsWhatTheyAreBoundTo) {
  StartWith();
  ASSERT_TRUE(Do(Verb::kCreate, "/v1/serviceaccounts", "default", "", R"({"metadata":{"name":"sa"}})").has_value());
  auto pod =
      Do(Verb::kCreate, "/v1/pods", "default", "",
         R"({"metadata":{"name":"p"},"spec":{"serviceAccountName":"sa","containers":[{"name":"c","image":"i"}]}})");
  ASSERT_TRUE(pod.has_value()) << pod.error().ToString();
  // Admission has completed it.
  EXPECT_EQ(pod->At("spec", "priority").int_or(-1), 0);
  EXPECT_EQ(pod->At("spec", "tolerations").list().size(), 2u);
  const Value& volume = pod->At("spec", "volumes").At(size_t{0});
  EXPECT_TRUE(volume.At("name").string_or().starts_with("kube-api-access-"));
  EXPECT_EQ(pod->At("spec", "containers").At(size_t{0}).At("volumeMounts").At(size_t{0}).At("name"), volume.At("name"));

  auto answer = Do(Verb::kCreate, "/v1/serviceaccounts/token", "default", "sa",
                   R"({"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"expirationSeconds":3600,
                       "boundObjectRef":{"apiVersion":"v1","kind":"Pod","name":"p"}}})");
  ASSERT_TRUE(answer.has_value()) << answer.error().ToString();
  std::string token(answer->At("status", "token").string_or());
  auto review = [&] {
    return Do(Verb::kCreate, "authentication.k8s.io/v1/tokenreviews", "", "",
              R"({"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":")" + token + "\"}}");
  };
  auto good = review();
  ASSERT_TRUE(good.has_value()) << good.error().ToString();
  EXPECT_TRUE(good->At("status", "authenticated").bool_or()) << machinery::value::ToJson(*good);
  EXPECT_EQ(good->At("status", "user", "username").string_or(), "system:serviceaccount:default:sa");
  EXPECT_EQ(good->At("status", "user", "extra", "authentication.kubernetes.io/pod-name").At(size_t{0}).string_or(),
            "p");
  executor_.RunFor(std::chrono::seconds(3700));
  auto old = review();
  EXPECT_FALSE(old->At("status", "authenticated").bool_or());
  EXPECT_EQ(old->At("status", "error").string_or(), "[invalid bearer token, service account token has expired]");
}

TEST_F(PlaneTest, NodesSeeOnlyWhatTheirPodsName) {
  StartWith();
  Identity n1{.name = "system:node:n1", .groups = {"system:nodes", "system:authenticated"}};
  ASSERT_TRUE(Do(Verb::kCreate, "/v1/secrets", "default", "", R"({"metadata":{"name":"s"}})").has_value());
  auto get = [&] { return Do(Verb::kGet, "/v1/secrets", "default", "s", "", n1); };
  EXPECT_EQ(get().error().message(),
            "secrets \"s\" is forbidden: User \"system:node:n1\" cannot get resource \"secrets\" in API group \"\" in "
            "the namespace \"default\": no relationship found between node 'n1' and this object");
  ASSERT_TRUE(
      Do(Verb::kCreate, "/v1/serviceaccounts", "default", "", R"({"metadata":{"name":"default"}})").has_value());
  ASSERT_TRUE(Do(Verb::kCreate, "/v1/pods", "default", "", R"({"metadata":{"name":"p"},"spec":{"nodeName":"n1",
    "containers":[{"name":"c","image":"i"}],"volumes":[{"name":"v","secret":{"secretName":"s"}}]}})")
                  .has_value());
  EXPECT_TRUE(get().has_value());
  ASSERT_TRUE(Do(Verb::kCreate, "/v1/nodes", "", "", R"({"metadata":{"name":"n1"}})", n1).has_value());
  EXPECT_FALSE(Do(Verb::kCreate, "/v1/nodes", "", "", R"({"metadata":{"name":"n2"}})", n1).has_value());
}

TEST_F(PlaneTest, NamespacesWaitForTheirFinalizer) {
  StartWith();
  ASSERT_TRUE(Do(Verb::kCreate, "/v1/namespaces", "", "", R"({"metadata":{"name":"x"}})").has_value());
  ASSERT_TRUE(Do(Verb::kDelete, "/v1/namespaces", "", "x").has_value());
  auto ns = Do(Verb::kGet, "/v1/namespaces", "", "x");
  ASSERT_TRUE(ns.has_value());
  EXPECT_EQ(ns->At("status", "phase").string_or(), "Terminating");
  auto content = Do(Verb::kCreate, "/v1/configmaps", "x", "", R"({"metadata":{"name":"c"}})");
  EXPECT_EQ(object::HttpCodeOf(content.error()), 403);
  ASSERT_TRUE(Do(Verb::kUpdate, "/v1/namespaces/finalize", "", "x",
                 R"({"apiVersion":"v1","kind":"Namespace","metadata":{"name":"x"},"spec":{"finalizers":[]}})")
                  .has_value());
  EXPECT_TRUE(object::IsNotFound(Do(Verb::kGet, "/v1/namespaces", "", "x").error()));
  EXPECT_EQ(object::HttpCodeOf(Do(Verb::kDelete, "/v1/namespaces", "", "default").error()), 403);
}

}  // namespace
}  // namespace apiserver
