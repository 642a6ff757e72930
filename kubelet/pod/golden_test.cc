// What the kubelet tells the runtime and the API about one pod, against the recording of a real one
// (shared/golden/pod-on-a-node).
// First: CRI has enum values named as the signal macros that other headers bring in.
#include "kubelet/pod/config.h"

#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "base/bytes.h"
#include "kubelet/model/resources.h"
#include "kubelet/pod/environment.h"
#include "kubelet/pod/status.h"
#include "machinery/codec/codec.h"
#include "proto/schema_blob.h"

namespace kubelet::pod {
namespace {

namespace value = machinery::value;

std::string GoldenDirectory() {
  if (const char* shared = getenv("KEELSON_SHARED")) return std::string(shared) + "/golden/pod-on-a-node";
  const char* source = getenv("KEELSON_SOURCE");
  return std::string(source ? source : ".") + "/../shared/golden/pod-on-a-node";
}

std::string ReadText(const std::string& name) {
  std::ifstream in(GoldenDirectory() + "/" + name);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

class Golden : public testing::Test {
 protected:
  void SetUp() override {
    if (ReadText("pod.json").empty()) GTEST_SKIP() << "no golden data at " << GoldenDirectory();
    schema_ = machinery::schema::Schema::FromDescriptors({proto::SchemaBlob()});
    pod_ = Read<api::Pod>("k8s.io.api.core.v1.Pod", *value::FromJson(ReadText("pod.json")));
    pod_.clear_status();
    uid_ = "11111111-2222-3333-4444-555555555555";
    pod_.mutable_metadata()->set_uid(uid_);
    node_.cluster_dns = {"10.96.0.10"};
    node_.cluster_domain = "cluster.local";
    node_.memory_bytes = 24683656ll * 1024;
    node_.huge_page_sizes = {"2MB", "1GB"};
  }

  template <class T>
  T Read(const std::string& type, const value::Value& tree) {
    const auto* t = schema_->FindType(type);
    EXPECT_TRUE(t) << type;
    auto canonical = machinery::codec::Normalize(*t, tree);
    EXPECT_TRUE(canonical) << canonical.error().ToString();
    T out;
    EXPECT_TRUE(out.ParseFromString(machinery::codec::EncodeProtobuf(*t, *canonical)));
    return out;
  }
  std::string StatusJson(const api::PodStatus& s) {
    const auto* t = schema_->FindType("k8s.io.api.core.v1.PodStatus");
    auto tree = machinery::codec::DecodeProtobuf(*t, s.SerializeAsString());
    EXPECT_TRUE(tree);
    return machinery::codec::EncodeJson(*t, *tree, true);
  }

  // A recorded CRI message of that kind and container name.
  template <class T>
  T Recorded(const std::string& kind, const std::string& name) {
    auto all = *value::FromJson(ReadText("cri.json"));
    for (auto& entry : all.list()) {
      if (entry.At("kind").string_or() != kind || entry.At("config", "metadata", "name").string_or() != name) continue;
      value::Value config = entry.At("config");
      if (config.At("envs").is_list())
        for (auto& e : config.Ensure("envs").list()) e.Set("value", base::Base64Encode(e.At("value").string_or()));
      std::string json = value::ToJson(config);
      for (size_t at; (at = json.find("\\u003cuid\\u003e")) != std::string::npos;) json.replace(at, 15, uid_);
      T out;
      auto parsed = google::protobuf::util::JsonStringToMessage(json, &out);
      EXPECT_TRUE(parsed.ok()) << parsed.ToString();
      return out;
    }
    ADD_FAILURE() << "not recorded: " << kind << " " << name;
    return {};
  }

  template <class T>
  void ExpectSame(const T& recorded, const T& made) {
    google::protobuf::util::MessageDifferencer d;
    std::string report;
    d.ReportDifferencesToString(&report);
    EXPECT_TRUE(d.Compare(recorded, made)) << report;
  }

  // The observation behind a recorded status.
  ObservedPod Observation(const api::PodStatus& s, bool sandbox, bool addressed) {
    ObservedPod out;
    if (sandbox) {
      ObservedSandbox box;
      box.id = "sandbox";
      box.ready = sandbox && FindCondition(s, "PodReadyToStartContainers")->status() == "True";
      if (addressed) box.ips = {"10.244.0.223"};
      out.sandboxes.push_back(box);
    }
    for (const auto* list : {&s.containerstatuses(), &s.initcontainerstatuses()})
      for (const auto& c : *list) {
        if (c.containerid().empty()) continue;
        ObservedContainer o;
        o.name = c.name();
        o.id = c.containerid().substr(c.containerid().find("//") + 2);
        o.image = c.image();
        o.image_id = c.imageid();
        o.restart_count = c.restartcount();
        if (c.state().has_running()) {
          o.state = ContainerState::kRunning;
          o.started_at = NanosOf(c.state().running().startedat());
        } else {
          o.state = ContainerState::kExited;
          o.started_at = NanosOf(c.state().terminated().startedat());
          o.finished_at = NanosOf(c.state().terminated().finishedat());
          o.exit_code = c.state().terminated().exitcode();
        }
        out.containers.push_back(o);
      }
    return out;
  }

  std::unique_ptr<machinery::schema::Schema> schema_;
  api::Pod pod_;
  NodeSettings node_;
  std::string uid_;
};

TEST_F(Golden, Sandbox) {
  auto recorded = Recorded<cri::PodSandboxConfig>("sandbox", "kw");
  SandboxInput in{.pod = pod_, .node = node_};
  in.cgroup_parent = "/kubepods/burstable/pod" + uid_;
  in.seen_ns = 1795368570621132453;
  auto made = MakeSandbox(in);
  ASSERT_TRUE(made);
  EXPECT_EQ((*made->mutable_annotations())["kubernetes.io/config.seen"], "2026-11-22T17:29:30.621132453Z");
  ExpectSame(recorded, *made);
}

TEST_F(Golden, Containers) {
  for (const std::string name : {"init", "main"}) {
    auto recorded = Recorded<cri::ContainerConfig>("container", name);
    // The recording's variables of Services come from a hash map: sorted here.
    std::vector<Env> env;
    for (const auto& e : recorded.envs()) env.push_back({e.key(), e.value()});
    ContainerInput in{.pod = pod_, .container = *FindContainer(pod_, name), .node = node_};
    in.image_id = recorded.image().image();
    in.env = env;
    in.mounts.assign(recorded.mounts().begin(), recorded.mounts().end());
    auto made = MakeContainer(in);
    ASSERT_TRUE(made);
    ExpectSame(recorded, *made);
  }
}

TEST_F(Golden, ServiceVariables) {
  auto service = [](const char* ns, const char* name, const char* ip, int port, const char* port_name) {
    auto s = std::make_shared<api::Service>();
    s->mutable_metadata()->set_namespace_(ns);
    s->mutable_metadata()->set_name(name);
    s->mutable_spec()->set_clusterip(ip);
    auto* p = s->mutable_spec()->add_ports();
    p->set_port(port);
    p->set_protocol("TCP");
    p->set_name(port_name);
    return std::shared_ptr<const api::Service>(s);
  };
  auto env = ServiceEnvironment(
      {service("default", "kubernetes", "10.96.0.1", 443, "https"), service("default", "web", "10.96.192.31", 80, ""),
       service("other", "web2", "10.96.192.32", 80, ""), service("default", "headless", "None", 80, "")},
      "default", true);
  std::map<std::string, std::string> made, recorded;
  for (const auto& e : env) made[e.name] = e.value;
  for (const auto& e : Recorded<cri::ContainerConfig>("container", "main").envs()) recorded[e.key()] = e.value();
  EXPECT_EQ(made, recorded);
}

TEST_F(Golden, HostsFile) { EXPECT_EQ(HostsFile(pod_, {"10.244.0.223"}, node_, ""), ReadText("etc-hosts")); }

// Every recorded status that the kubelet worked out as a whole is worked out again from what it must have seen.
TEST_F(Golden, StatusSequence) {
  std::istringstream lines(ReadText("status-sequence.jsonl"));
  api::PodStatus before;
  int compared = 0;
  for (std::string line; std::getline(lines, line);) {
    auto event = *value::FromJson(line);
    if (!event.At("status").is_map() || event.At("status", "hostIP").is_null()) continue;
    auto want = Read<api::PodStatus>("k8s.io.api.core.v1.PodStatus", event.At("status"));
    bool ready_to_start = FindCondition(want, "PodReadyToStartContainers")->status() == "True";
    bool terminal = want.phase() == "Failed";
    // The one step that is no whole look: the condition is shown as soon as the sandbox is there.
    if (ready_to_start && want.podip().empty()) {
      before = want;
      continue;
    }
    api::Pod pod = pod_;
    *pod.mutable_status() = before;
    pod.mutable_metadata()->set_generation(want.observedgeneration());
    if (before.observedgeneration() == 0) pod.clear_status();
    ObservedPod observed = Observation(want, ready_to_start || terminal, !want.podip().empty());
    std::map<std::string, WaitReason> reasons;
    StatusInput in{.pod = pod, .observed = observed, .reasons = reasons};
    in.runtime_name = "containerd";
    in.host_ips = {"192.0.2.2"};
    in.terminal = terminal;
    for (const auto& c : want.containerstatuses()) {
      std::string id = c.containerid().empty() ? "" : c.containerid().substr(c.containerid().find("//") + 2);
      if (c.started()) in.started.insert(id);
      if (c.ready()) in.ready.insert(id);
    }
    auto memory = want.resources().limits().find("memory");
    if (memory != want.resources().limits().end() && memory->second.string() != "64Mi")
      in.cgroup_memory_limit = ParseWhole(memory->second.string());
    int64_t latest = 0;
    for (const auto& c : want.conditions()) latest = std::max(latest, NanosOf(c.lasttransitiontime()));
    in.now_ns = latest;
    SCOPED_TRACE(line.substr(0, 120));
    EXPECT_EQ(StatusJson(MakeStatus(in)), StatusJson(want));
    before = want;
    ++compared;
  }
  EXPECT_GE(compared, 8);
}

// A pod with one container that runs as `id`.
struct StatusOf : testing::Test {
  StatusOf() {
    auto* c = pod.mutable_spec()->add_containers();
    c->set_name("c");
    (*c->mutable_resources()->mutable_limits())["cpu"].set_string("1");
    observed.sandboxes.push_back({.id = "s", .ready = true, .ips = {"10.0.0.1"}});
    observed.containers.push_back(Running("c", "first"));
  }
  static ObservedContainer Running(std::string name, std::string id) {
    ObservedContainer c;
    c.name = std::move(name);
    c.id = std::move(id);
    c.state = ContainerState::kRunning;
    return c;
  }
  api::PodStatus Look() {
    StatusInput in{.pod = pod, .observed = observed, .reasons = reasons};
    in.runtime_name = "r";
    for (const auto& c : observed.containers) in.started.insert(c.id), in.ready.insert(c.id);
    *pod.mutable_status() = MakeStatus(in);
    return pod.status();
  }
  api::Pod pod;
  ObservedPod observed;
  std::map<std::string, WaitReason> reasons;
};

TEST_F(StatusOf, ResizeIsPendingUntilTheContainerIsMadeAnew) {
  EXPECT_EQ(FindCondition(Look(), "PodResizePending"), nullptr);
  (*pod.mutable_spec()->mutable_containers(0)->mutable_resources()->mutable_limits())["cpu"].set_string("2");
  api::PodStatus asked = Look();
  ASSERT_NE(FindCondition(asked, "PodResizePending"), nullptr);
  EXPECT_EQ(FindCondition(asked, "PodResizePending")->reason(), "Infeasible");
  EXPECT_EQ(asked.containerstatuses(0).resources().limits().at("cpu").string(), "1");
  observed.containers[0].id = "second";
  api::PodStatus anew = Look();
  EXPECT_EQ(FindCondition(anew, "PodResizePending"), nullptr);
  EXPECT_EQ(anew.containerstatuses(0).resources().limits().at("cpu").string(), "2");
}

TEST_F(StatusOf, EphemeralContainersAreShownAndCountForNothing) {
  auto* common = pod.mutable_spec()->add_ephemeralcontainers()->mutable_ephemeralcontainercommon();
  common->set_name("debug");
  common->set_image("tools:1");
  api::PodStatus waiting = Look();
  ASSERT_EQ(waiting.ephemeralcontainerstatuses_size(), 1);
  EXPECT_EQ(waiting.ephemeralcontainerstatuses(0).state().waiting().reason(), "ContainerCreating");
  EXPECT_EQ(waiting.phase(), "Running");
  EXPECT_TRUE(IsReady(waiting));
  observed.containers.push_back(Running("debug", "d"));
  api::PodStatus runs = Look();
  EXPECT_TRUE(runs.ephemeralcontainerstatuses(0).state().has_running());
  EXPECT_FALSE(runs.ephemeralcontainerstatuses(0).ready());
  EXPECT_EQ(FindContainer(pod, "debug")->image(), "tools:1");
}

TEST(Expand, References) {
  std::vector<Env> env = {{"A", "1"}, {"B", "two"}};
  EXPECT_EQ(Expand("$(A)-$(B)-$(C)-$$(A)-$A-$", env), "1-two-$(C)-$(A)-$A-$");
}

TEST(Dns, Policies) {
  NodeSettings node;
  node.cluster_dns = {"10.96.0.10"};
  node.cluster_domain = "cluster.local";
  node.resolv_conf = "nameserver 192.0.2.1\nsearch corp.example\noptions ndots:2\n";
  api::Pod pod;
  pod.mutable_metadata()->set_namespace_("ns");
  auto text = [&] {
    cri::DNSConfig d = DnsOf(pod, node);
    std::string out;
    for (const auto& s : d.servers()) out += s + " ";
    for (const auto& s : d.searches()) out += "[" + s + "] ";
    for (const auto& s : d.options()) out += s;
    return out;
  };
  EXPECT_EQ(text(), "10.96.0.10 [ns.svc.cluster.local] [svc.cluster.local] [cluster.local] [corp.example] ndots:5");
  pod.mutable_spec()->set_hostnetwork(true);
  EXPECT_EQ(text(), "192.0.2.1 [corp.example] ndots:2");
  pod.mutable_spec()->set_dnspolicy("None");
  pod.mutable_spec()->mutable_dnsconfig()->add_nameservers("192.0.2.9");
  EXPECT_EQ(text(), "192.0.2.9 ");
}

TEST(Quantities, Text) {
  EXPECT_EQ(ParseMilli("100m"), 100);
  EXPECT_EQ(ParseMilli("1.5"), 1500);
  EXPECT_EQ(ParseWhole("64Mi"), 64 << 20);
  EXPECT_EQ(ParseWhole("1e3"), 1000);
  EXPECT_EQ(ParseMilli("0.1m"), 1);
  EXPECT_EQ(ParseMilli("x"), std::nullopt);
  EXPECT_EQ(BytesText(64 << 20), "64Mi");
  EXPECT_EQ(BytesText(9223372036854771712), "9007199254740988Ki");
  EXPECT_EQ(MilliText(1500), "1500m");
}

TEST(Status, LastWordsShareTwelveKiB) {
  api::Pod pod;
  ObservedPod observed;
  for (const char* name : {"a", "b", "c", "d"}) {
    pod.mutable_spec()->add_containers()->set_name(name);
    observed.containers.push_back({.id = name, .name = name, .state = ContainerState::kExited, .exit_code = 1});
  }
  std::map<std::string, WaitReason> none;
  StatusInput in{.pod = pod, .observed = observed, .reasons = none};
  in.termination_message = [](const api::Container&, const ObservedContainer&) {
    std::string text = "x";
    while (text.size() < 4000) text += "\xc3\xbc";
    return text;
  };
  api::PodStatus status = MakeStatus(in);
  for (const auto& s : status.containerstatuses()) {
    EXPECT_EQ(s.state().terminated().message().size(), 3071u) << "of 3072, and no half character";
  }
}

// Phases with sidecars, as the original's getPhase has them.
TEST(Status, SidecarsAndPhases) {
  using State = std::pair<const char*, const char*>;  // of the sidecar and of the ordinary container
  auto phase = [](const char* policy, State states) {
    api::Pod pod;
    pod.mutable_spec()->set_restartpolicy(policy);
    auto* s = pod.mutable_spec()->add_initcontainers();
    s->set_name("s");
    s->set_restartpolicy("Always");
    pod.mutable_spec()->add_containers()->set_name("c");
    api::PodStatus status;
    auto fill = [](api::ContainerStatus* out, std::string_view text) {
      if (text == "run" || text == "starting") out->mutable_state()->mutable_running();
      out->set_started(text == "run");
      if (text == "wait") out->mutable_state()->mutable_waiting();
      if (text == "again") {
        out->mutable_state()->mutable_waiting();
        out->mutable_laststate()->mutable_terminated()->set_exitcode(1);
      }
      if (text == "done") out->mutable_state()->mutable_terminated()->set_exitcode(0);
      if (text == "bad") out->mutable_state()->mutable_terminated()->set_exitcode(3);
    };
    fill(status.add_initcontainerstatuses(), states.first);
    fill(status.add_containerstatuses(), states.second);
    return PhaseOf(pod, status, false);
  };
  EXPECT_EQ(phase("Never", {"wait", "wait"}), "Pending");
  EXPECT_EQ(phase("Never", {"starting", "wait"}), "Pending");
  EXPECT_EQ(phase("Never", {"run", "run"}), "Running");
  EXPECT_EQ(phase("Never", {"again", "run"}), "Running");
  EXPECT_EQ(phase("Never", {"run", "done"}), "Running") << "not before the sidecar has stopped";
  EXPECT_EQ(phase("Never", {"run", "bad"}), "Running");
  EXPECT_EQ(phase("Never", {"bad", "done"}), "Succeeded") << "how the sidecar ended counts for nothing";
  EXPECT_EQ(phase("Never", {"done", "bad"}), "Failed");
  EXPECT_EQ(phase("OnFailure", {"bad", "bad"}), "Running");
  EXPECT_EQ(phase("Always", {"bad", "done"}), "Running");
}

TEST(Security, ProfilesStayInTheirDirectory) {
  api::Pod pod;
  auto* c = pod.mutable_spec()->add_containers();
  c->set_name("c");
  auto* profile = c->mutable_securitycontext()->mutable_seccompprofile();
  profile->set_type("Localhost");
  NodeSettings node;
  node.seccomp_directory = "/k/seccomp";
  cri::Image image;
  ContainerInput in{.pod = pod, .container = *c, .node = node, .image = &image};
  for (const char* bad : {"", "/etc/passwd", "../x", "a/../../x"}) {
    profile->set_localhostprofile(bad);
    EXPECT_FALSE(MakeContainer(in)) << bad;
  }
  profile->set_localhostprofile("a/b.json");
  c->mutable_securitycontext()->mutable_apparmorprofile()->set_type("Localhost");
  c->mutable_securitycontext()->mutable_apparmorprofile()->set_localhostprofile("strict");
  auto made = MakeContainer(in);
  ASSERT_TRUE(made);
  const auto& security = made->linux().security_context();
  EXPECT_EQ(security.seccomp().localhost_ref(), "/k/seccomp/a/b.json");
  EXPECT_EQ(security.apparmor().localhost_ref(), "strict");
  EXPECT_EQ(security.apparmor_profile(), "localhost/strict");
}

TEST(Security, SysctlsAreSpelledWithDots) {
  api::Pod pod;
  auto* s = pod.mutable_spec()->mutable_securitycontext()->add_sysctls();
  s->set_name("net/ipv4/tcp_syncookies");
  s->set_value("1");
  NodeSettings node;
  auto made = MakeSandbox({.pod = pod, .node = node});
  ASSERT_TRUE(made);
  EXPECT_EQ(made->linux().sysctls().at("net.ipv4.tcp_syncookies"), "1");
}

}  // namespace
}  // namespace kubelet::pod
