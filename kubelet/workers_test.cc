// The life of pods against a runtime in memory, in simulated time: what is started, stopped and shown, and what a
// second kubelet finds when the first one is gone.
#include "kubelet/workers.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "base/testing/sim_executor.h"
#include "base/testing/temp_dir.h"
#include "kubelet/testing/fake_runtime.h"
#include "kubelet/volumes/mounter.h"

namespace kubelet {
namespace {

namespace fs = std::filesystem;
using base::testing::SimExecutor;
using std::chrono::milliseconds;

struct NoEvents final : Events {
  std::vector<std::string> seen;
  void Pod(const api::Pod&, std::string_view container, std::string_view, std::string reason,
           std::string message) override {
    seen.push_back(std::string(container) + " " + reason + ": " + message);
  }
  void Node(std::string_view, std::string, std::string) override {}
  bool Has(std::string_view text) const {
    return std::ranges::any_of(seen, [&](const auto& s) { return s.find(text) != std::string::npos; });
  }
};

struct NoSource final : volumes::Source {
  std::map<std::string, std::string> map;  // of the one config map; empty: there is none
  base::Task<base::Result<std::shared_ptr<const api::ConfigMap>>> ConfigMap(base::Context, std::string,
                                                                            std::string name) override {
    if (!map.empty()) {
      auto out = std::make_shared<api::ConfigMap>();
      for (const auto& [k, v] : map) (*out->mutable_data())[k] = v;
      co_return std::shared_ptr<const api::ConfigMap>(out);
    }
    co_return base::Err(base::NotFound("configmap \"" + name + "\" not found"));
  }
  base::Task<base::Result<std::shared_ptr<const api::Secret>>> Secret(base::Context, std::string,
                                                                      std::string) override {
    co_return base::Err(base::NotFound("none"));
  }
  base::Task<base::Result<volumes::Token>> ServiceAccountToken(base::Context, PodPtr, std::string, int64_t) override {
    co_return base::Err(base::NotFound("none"));
  }
  NodeFacts FactsFor(const api::Pod&) override { return {}; }
};

struct NoNetwork final : checks::Network {
  base::Task<checks::Outcome> HttpGet(base::Context, checks::HttpTarget, base::Duration, checks::Judge) override {
    co_return checks::Outcome();
  }
  base::Task<checks::Outcome> TcpConnect(base::Context, std::string, int, base::Duration) override {
    co_return checks::Outcome();
  }
  base::Task<checks::Outcome> GrpcHealth(base::Context, std::string, int, std::string, base::Duration) override {
    co_return checks::Outcome();
  }
};

// One kubelet's worth of parts over a runtime and a directory that outlive it.
class Kubelet {
 public:
  Kubelet(SimExecutor& executor, testing::FakeRuntime& fake, const std::string& root)
      : executor_(executor),
        runtime_(executor, fake.NewChannel(), nullptr, std::chrono::seconds(10)),
        cgroups_(*cgroups::Manager::Open({.mount_root = root + "/cgroup", .version = cgroups::Version::kV1})),
        volumes_(executor, pool_, volumes::MachineMounter(), source_, root + "/pods"),
        images_(executor, runtime_, events, true),
        probes_({.executor = executor,
                 .random = executor.random().Fork(),
                 .runtime = runtime_,
                 .network = network_,
                 .events = events},
                context_),
        statuses(executor, nullptr) {
    settings_.pod_logs_directory = root + "/logs";
    Tools tools{.executor = executor,
                .random = executor.random().Fork(),
                .host = MachineHost(),
                .network = network_,
                .runtime = runtime_,
                .cgroups = *cgroups_,
                .volumes = volumes_,
                .source = source_,
                .images = images_,
                .probes = probes_,
                .statuses = statuses,
                .events = events,
                .settings = settings_};
    tools.root_directory = root;
    tools.host_ips = {"192.0.2.2"};
    tools.services = [] { return std::vector<std::shared_ptr<const api::Service>>(); };
    tools.admit = [this](const api::Pod&) { return refuse; };
    workers = std::make_unique<Workers>(tools, context_);
  }
  base::Task<void> Stop() {
    co_await workers->Stop();
    co_await probes_.Stop();
  }
  std::string Phase(const std::string& uid) {
    const auto* s = statuses.Get(uid);
    return s ? s->phase() : "";
  }

  // As a relist does.
  base::Task<void> Look() {
    const base::MonoTime asked = executor_.Now();
    workers->Observed("u1", *co_await runtimes::Observe(base::Context(), runtime_, "u1"), asked);
  }

  SimExecutor& executor_;
  base::Context context_ = base::Context().WithCancel();
  base::testing::SimBlockingPool pool_;
  NoEvents events;
  NoSource source_;
  NoNetwork network_;
  runtimes::Runtime runtime_;
  std::unique_ptr<cgroups::Manager> cgroups_;
  volumes::Manager volumes_;
  pod::NodeSettings settings_;
  Images images_;
  Probes probes_;
  StatusManager statuses;
  std::optional<pod::WaitReason> refuse;
  std::unique_ptr<Workers> workers;
};

class WorkersTest : public ::testing::Test {
 protected:
  api::Pod MakePod() {
    api::Pod pod;
    pod.mutable_metadata()->set_name("web");
    pod.mutable_metadata()->set_namespace_("default");
    pod.mutable_metadata()->set_uid("u1");
    pod.mutable_spec()->set_restartpolicy("Always");
    pod.mutable_spec()->set_terminationgraceperiodseconds(3);
    auto* c = pod.mutable_spec()->add_containers();
    c->set_name("c");
    c->set_image("image:1");
    c->set_imagepullpolicy("IfNotPresent");
    return pod;
  }
  static PodPtr Share(const api::Pod& pod) { return std::make_shared<const api::Pod>(pod); }

  void Run(std::function<base::Task<void>()> scenario) {
    bool done = false;
    base::Spawn(executor_, scenario(), [&] { done = true; });
    ASSERT_TRUE(executor_.RunUntil([&] { return done; }, std::chrono::hours(1)));
  }
  // Waits until it holds.
  base::Task<void> Until(std::function<bool()> holds, const char* what) {
    for (int i = 0; i < 500 && !holds(); ++i) (void)co_await base::Sleep(executor_, base::Context(), milliseconds(10));
    EXPECT_TRUE(holds()) << what << "; runtime: " << fake_.Summary();
  }

  SimExecutor executor_{1};
  base::testing::TempDir directory_;
  std::string root_ = directory_.path();
  testing::FakeRuntime fake_{executor_};
};

TEST_F(WorkersTest, RunsCrashesAndEnds) {
  Run([this]() -> base::Task<void> {
    Kubelet k(executor_, fake_, root_);
    api::Pod pod = MakePod();
    auto* init = pod.mutable_spec()->add_initcontainers();
    *init = pod.spec().containers(0);
    init->set_name("i");
    k.workers->Update(Share(pod));
    co_await Until([&] { return fake_.Summary() == "i0:running"; }, "initialization starts");
    EXPECT_EQ(k.Phase("u1"), "Pending");
    fake_.Exit("i", 0);
    co_await k.Look();
    co_await Until([&] { return k.Phase("u1") == "Running"; }, "running");
    EXPECT_EQ(fake_.Summary(), "c0:running i0:exited");
    EXPECT_EQ(k.statuses.Get("u1")->podip(), "10.0.0.2");
    fake_.Exit("c", 1);
    co_await k.Look();
    co_await Until([&] { return fake_.Summary() == "c0:exited c1:running i0:exited"; }, "restarted at once");
    fake_.Exit("c", 1);
    co_await k.Look();
    co_await Until([&] { return k.events.Has("Back-off restarting failed container c in pod web_default(u1)"); },
                   "the second crash waits");
    pod.mutable_metadata()->mutable_deletiontimestamp()->set_seconds(1);
    pod.mutable_metadata()->set_deletiongraceperiodseconds(3);
    k.workers->Update(Share(pod));
    co_await Until([&] { return fake_.Summary().empty() && fake_.sandboxes.empty(); }, "all gone");
    EXPECT_EQ(k.Phase("u1"), "Failed");
    EXPECT_FALSE(fs::exists(root_ + "/pods/u1"));
    k.workers->Remove("u1");
    co_await Until([&] { return !k.workers->Knows("u1"); }, "forgotten");
    co_await k.Stop();
  });
}

TEST_F(WorkersTest, SecondKubeletAdopts) {
  Run([this]() -> base::Task<void> {
    api::Pod pod = MakePod();
    {
      Kubelet first(executor_, fake_, root_);
      first.workers->Update(Share(pod));
      co_await Until([&] { return first.Phase("u1") == "Running"; }, "running");
      co_await first.Stop();
    }
    auto calls = fake_.calls;
    Kubelet second(executor_, fake_, root_);
    second.refuse = pod::WaitReason{"OutOfcpu", "no room"};  // nobody asks: it runs already
    second.workers->Update(Share(pod));
    co_await Until([&] { return second.Phase("u1") == "Running"; }, "adopted");
    (void)co_await base::Sleep(executor_, base::Context(), milliseconds(100));
    EXPECT_EQ(fake_.calls, calls) << "the second kubelet changed something";
    // A changed image is another container under the same sandbox.
    pod.mutable_spec()->mutable_containers(0)->set_image("other/image:1");
    second.workers->Update(Share(pod));
    co_await Until([&] { return fake_.Summary() == "c0:exited c1:running"; }, "replaced");
    EXPECT_TRUE(second.events.Has("Container c definition changed, will be restarted"));
    co_await second.Stop();
  });
}

TEST_F(WorkersTest, RefusalMissingImageAndVolume) {
  Run([this]() -> base::Task<void> {
    Kubelet k(executor_, fake_, root_);
    k.refuse = pod::WaitReason{"OutOfcpu", "Node didn't have enough resource: cpu"};
    k.workers->Update(Share(MakePod()));
    co_await Until([&] { return k.Phase("u1") == "Failed"; }, "refused");
    EXPECT_EQ(k.statuses.Get("u1")->reason(), "OutOfcpu");
    EXPECT_EQ(k.statuses.Get("u1")->message(), "Pod was rejected: Node didn't have enough resource: cpu");
    EXPECT_TRUE(fake_.calls.empty());

    k.refuse.reset();
    api::Pod pod = MakePod();
    pod.mutable_metadata()->set_uid("u2");
    pod.mutable_metadata()->set_name("web2");
    pod.mutable_spec()->mutable_containers(0)->set_image("nosuch:1");
    k.workers->Update(Share(pod));
    co_await Until([&] { return k.events.Has("c Failed: Error: ErrImagePull"); }, "pull fails");
    EXPECT_TRUE(k.events.Has("c Pulling: Pulling image \"nosuch:1\""));

    pod.mutable_metadata()->set_uid("u3");
    pod.mutable_metadata()->set_name("web3");
    auto* v = pod.mutable_spec()->add_volumes();
    v->set_name("v");
    v->mutable_volumesource()->mutable_configmap()->mutable_localobjectreference()->set_name("m");
    k.workers->Update(Share(pod));
    co_await Until(
        [&] {
          return k.events.Has("FailedMount: MountVolume.SetUp failed for volume \"v\" : configmap \"m\" not found");
        },
        "mount fails");
    co_await k.Stop();
  });
}

TEST_F(WorkersTest, SubPathsThatLeadOut) {
  Run([this]() -> base::Task<void> {
    Kubelet k(executor_, fake_, root_);
    fs::create_directories(root_ + "/host");
    api::Pod pod = MakePod();
    auto* v = pod.mutable_spec()->add_volumes();
    v->set_name("v");
    v->mutable_volumesource()->mutable_emptydir();
    auto* env = pod.mutable_spec()->mutable_containers(0)->add_env();
    env->set_name("WHERE");
    auto* m = pod.mutable_spec()->mutable_containers(0)->add_volumemounts();
    m->set_name("v");
    m->set_mountpath("/v");
    m->set_subpathexpr("$(WHERE)");
    struct Case {
      const char *where, *message;
    };
    int n = 0;
    for (const Case& c : {Case{"/tmp", "error SubPath `/tmp` must not be an absolute path"},
                          Case{"..", "unable to provision SubPath `..`: must not contain '..'"},
                          Case{"a/../b", "unable to provision SubPath `a/../b`: must not contain '..'"},
                          Case{"", "missing value for WHERE"},
                          Case{"out/new", "failed to prepare subPath for volumeMount \"v\" of container \"c\""},
                          Case{"out", "failed to prepare subPath for volumeMount \"v\" of container \"c\""}}) {
      std::string uid = "s" + std::to_string(n++);
      pod.mutable_metadata()->set_uid(uid);
      pod.mutable_metadata()->set_name(uid);
      pod.mutable_spec()->mutable_containers(0)->mutable_env(0)->set_value(c.where);
      // An earlier container of the pod has left a link.
      std::string volume = root_ + "/pods/" + uid + "/volumes/kubernetes.io~empty-dir/v";
      fs::create_directories(volume);
      fs::create_symlink(root_ + "/host", volume + "/out");
      k.workers->Update(Share(pod));
      auto waiting = [&]() -> const api::ContainerStateWaiting* {
        const auto* s = k.statuses.Get(uid);
        return s && s->containerstatuses_size() && s->containerstatuses(0).state().waiting().has_message()
                   ? &s->containerstatuses(0).state().waiting()
                   : nullptr;
      };
      co_await Until([&] { return k.events.Has(std::string("c Failed: Error: ") + c.message); }, c.message);
      co_await Until([&] { return waiting() != nullptr; }, c.message);
      EXPECT_EQ(waiting()->reason(), "CreateContainerConfigError");
      EXPECT_EQ(waiting()->message(), c.message);
    }
    EXPECT_TRUE(fs::is_empty(root_ + "/host"));
    co_await k.Stop();
  });
}

TEST_F(WorkersTest, SidecarsEndLastAndInReverse) {
  Run([this]() -> base::Task<void> {
    Kubelet k(executor_, fake_, root_);
    api::Pod pod = MakePod();
    pod.mutable_spec()->set_restartpolicy("Never");
    for (const char* name : {"s1", "s2"}) {
      auto* s = pod.mutable_spec()->add_initcontainers();
      *s = pod.spec().containers(0);
      s->set_name(name);
      s->set_restartpolicy("Always");
    }
    k.workers->Update(Share(pod));
    co_await Until([&] { return fake_.Summary() == "c0:running s10:running s20:running"; }, "all run");
    std::vector<std::string> phases;
    fake_.Exit("c", 0);
    size_t before = fake_.calls.size();
    co_await k.Look();
    co_await Until(
        [&] {
          bool sidecars_run = fake_.Summary().find("s10:running") != std::string::npos;
          EXPECT_FALSE(sidecars_run && k.Phase("u1") == "Succeeded") << "a sidecar still runs";
          return k.Phase("u1") == "Succeeded";
        },
        "succeeded");
    std::vector<std::string> stops;
    for (size_t i = before; i < fake_.calls.size(); ++i)
      if (fake_.calls[i].starts_with("StopContainer")) stops.push_back(fake_.calls[i].substr(14, 2));
    EXPECT_EQ(stops, (std::vector<std::string>{"s2", "s1"}));
    for (const auto& s : k.statuses.Get("u1")->initcontainerstatuses()) EXPECT_TRUE(s.state().has_terminated());
    co_await k.Stop();
  });
}

TEST_F(WorkersTest, ContentThatAppearsIsNotWaitedFor) {
  Run([this]() -> base::Task<void> {
    Kubelet k(executor_, fake_, root_);
    api::Pod pod = MakePod();
    auto* v = pod.mutable_spec()->add_volumes();
    v->set_name("v");
    v->mutable_volumesource()->mutable_configmap()->mutable_localobjectreference()->set_name("m");
    auto* labels = pod.mutable_spec()->add_volumes();
    labels->set_name("l");
    auto* item = labels->mutable_volumesource()->mutable_downwardapi()->add_items();
    item->set_path("labels");
    item->mutable_fieldref()->set_fieldpath("metadata.labels");
    k.workers->Update(Share(pod));
    for (int i = 0; i < 4; ++i) {  // until the next try is seconds away
      size_t seen = k.events.seen.size();
      co_await Until([&] { return k.events.Has("configmap \"m\" not found"); }, "waits");
      k.workers->Wake("u1");
      (void)co_await base::Sleep(executor_, base::Context(), milliseconds(50));
      EXPECT_GE(k.events.seen.size(), seen);
    }
    k.source_.map["k"] = "v1";
    k.workers->ContentChanged("u1");
    co_await Until([&] { return k.Phase("u1") == "Running"; }, "starts at once");
    auto read = [&](const std::string& file) {
      std::ifstream in(root_ + "/pods/u1/volumes/kubernetes.io~" + file);
      std::string text;
      std::getline(in, text);
      return text;
    };
    EXPECT_EQ(read("configmap/v/k"), "v1");
    k.source_.map["k"] = "v2";
    k.workers->ContentChanged("u1");
    co_await Until([&] { return read("configmap/v/k") == "v2"; }, "the change is in the file");
    (*pod.mutable_metadata()->mutable_labels())["a"] = "b";
    k.workers->Update(Share(pod));
    co_await Until([&] { return read("downward-api/l/labels") == "a=\"b\""; }, "so is a label");
    // What is mounted goes with the pod.
    pod.mutable_metadata()->mutable_deletiontimestamp()->set_seconds(1);
    k.workers->Update(Share(pod));
    co_await Until([&] { return !fs::exists(root_ + "/pods/u1"); }, "gone");
    co_await k.Stop();
  });
}

TEST_F(WorkersTest, LastWordsAreNotWaitedFor) {
  Run([this]() -> base::Task<void> {
    Kubelet k(executor_, fake_, root_);
    api::Pod pod = MakePod();
    pod.mutable_spec()->set_restartpolicy("Never");
    auto* c = pod.mutable_spec()->mutable_containers(0);
    c->set_terminationmessagepath("/dev/termination-log");
    c->set_terminationmessagepolicy("FallbackToLogsOnError");
    k.workers->Update(Share(pod));
    co_await Until([&] { return k.Phase("u1") == "Running"; }, "running");
    std::string file;
    for (const auto& e : fs::directory_iterator(root_ + "/pods/u1/containers/c")) file = e.path();
    fs::remove(file);
    EXPECT_EQ(mkfifo(file.c_str(), 0666), 0);
    fake_.Exit("c", 1);
    co_await k.Look();
    co_await Until([&] { return k.Phase("u1") == "Failed"; }, "a pipe with nobody behind it holds nothing up");
    co_await k.Stop();
  });
}

TEST_F(WorkersTest, NeverRestarts) {
  Run([this]() -> base::Task<void> {
    Kubelet k(executor_, fake_, root_);
    api::Pod pod = MakePod();
    pod.mutable_spec()->set_restartpolicy("Never");
    k.workers->Update(Share(pod));
    co_await Until([&] { return k.Phase("u1") == "Running"; }, "running");
    fake_.Exit("c", 0);
    co_await k.Look();
    co_await Until([&] { return k.Phase("u1") == "Succeeded"; }, "succeeded");
    co_await Until([&] { return fake_.calls.back() == "StopPodSandbox"; }, "its sandbox is stopped");
    EXPECT_EQ(fake_.Summary(), "c0:exited") << "logs stay readable";
    co_await k.Stop();
  });
}

}  // namespace
}  // namespace kubelet
