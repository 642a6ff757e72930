// A whole kubelet on a machine, a runtime and an API server in memory, told as a story: what users and containers do,
// what the runtime is asked, and what the API shows. See stories/agent.txt.
#include "kubelet/agent.h"

#include <gtest/gtest.h>

#include "base/testing/sim_executor.h"
#include "base/testing/story.h"
#include "kubelet/testing/fake_runtime.h"
#include "kubelet/testing/sim_machine.h"
#include "machinery/client/testing/fake_transport.h"

namespace kubelet {
namespace {

using base::testing::SimExecutor;
using base::testing::Step;
using std::chrono::milliseconds;
using std::chrono::seconds;

api::Pod PodNamed(const std::string& name) {
  api::Pod pod;
  pod.mutable_metadata()->set_name(name);
  pod.mutable_metadata()->set_namespace_("default");
  pod.mutable_spec()->set_restartpolicy("Always");
  pod.mutable_spec()->set_terminationgraceperiodseconds(3);
  auto* c = pod.mutable_spec()->add_containers();
  c->set_name("c");
  c->set_image("image:1");
  c->set_imagepullpolicy("IfNotPresent");
  return pod;
}

class AgentStory {
 public:
  AgentStory() { Start(); }
  ~AgentStory() { Stop(); }

  std::string Do(const Step& step) {
    const std::string& what = step.command;
    auto arg = [&](size_t i) { return i < step.args.size() ? step.args[i] : ""; };
    if (what == "pod") return Add(arg(0), arg(1));
    if (what == "delete") return Said(Await(client_.Delete<api::Pod>({}, "default", arg(0), {})));
    if (what == "manifest") return Said(host_.WriteFile("/manifests/" + arg(0), step.input, 0644));
    if (what == "no-manifest") return Said(host_.disk.Remove("/manifests/" + arg(0)));
    if (what == "exit") return runtime_.Exit(arg(0), std::stoi(arg(1))), "";
    if (what == "memory") return Said(host_.WriteFile("/proc/meminfo", "MemAvailable: " + arg(0) + " kB\n", 0644));
    if (what == "stranger") return Stranger(), "";
    if (what == "log") return Log(arg(0), std::stoll(arg(1)));
    if (what == "restart") return Stop(), Start(), "";
    if (what == "node") return NodeSays();
    if (what == "after") return executor_.RunFor(milliseconds(std::stoi(arg(0)))), Show();
    return "unknown step";
  }

 private:
  struct Life {
    Life(AgentStory& s)
        : runtime(s.executor_, s.runtime_.NewChannel(), nullptr, seconds(10)),
          agent({.executor = s.executor_,
                 .pool = s.pool_,
                 .random = s.executor_.random().Fork(),
                 .host = s.host_,
                 .mounter = s.mounter_,
                 .network = s.network_,
                 .cgroups = s.cgroups_,
                 .runtime = runtime,
                 .metrics = metrics},
                &s.client_, Options(), Facts()),
          scope(s.executor_, base::Context()) {
      scope.Spawn(agent.Run(scope.context()));
    }
    base::MetricsRegistry metrics;
    runtimes::Runtime runtime;
    Agent agent;
    base::TaskScope scope;
  };
  static AgentOptions Options() {
    AgentOptions o;
    o.node.name = "n1";
    o.node.addresses = {"192.0.2.1"};
    o.root_directory = "/kubelet";
    o.pod_logs_directory = "/logs";
    o.manifest_directory = "/manifests";
    o.eviction_hard = {{"memory.available", "100Mi"}};
    o.log_max_bytes = 1000;
    o.parse_manifest = [](const std::string& text) -> base::Result<api::Pod> {
      if (text.find(' ') != std::string::npos) return base::Err(base::InvalidArgument("not a name: " + text));
      return PodNamed(text);
    };
    return o;
  }
  static MachineFacts Facts() {
    MachineFacts f;
    f.cpus = 2;
    f.memory_bytes = int64_t{1} << 30;
    return f;
  }
  void Start() {
    for (const char* d : {"/manifests", "/proc"}) CHECK(host_.MakeDirectory(d, 0755).ok());
    life_ = std::make_unique<Life>(*this);
  }
  void Stop() {
    life_->scope.Cancel();
    CHECK(executor_.RunUntil([&] { return life_->scope.running() == 0; }, seconds(60)));
    life_.reset();
  }
  template <class T>
  T Await(base::Task<T> task) {
    return executor_.Await(std::move(task));
  }
  static std::string Said(const base::Status& s) { return s.ok() ? "" : std::string(s.message()); }

  std::string Add(const std::string& name, const std::string& policy) {
    api::Pod pod = PodNamed(name);
    pod.mutable_spec()->set_nodename("n1");
    if (!policy.empty()) pod.mutable_spec()->set_restartpolicy(policy);
    auto made = Await(client_.Create<api::Pod>({}, std::move(pod)));
    return made ? "" : Said(made.error());
  }
  // What a pod has left behind that nobody knows of any more.
  void Stranger() {
    cri::RunPodSandboxRequest sandbox;
    auto* config = sandbox.mutable_config();
    config->mutable_metadata()->set_name("stranger");
    config->mutable_metadata()->set_uid("s");
    (*config->mutable_labels())[std::string(kPodUidLabel)] = "s";
    auto made = Await(life_->runtime.RunPodSandbox({}, sandbox));
    cri::CreateContainerRequest create;
    create.set_pod_sandbox_id(made->pod_sandbox_id());
    create.mutable_config()->mutable_metadata()->set_name("x");
    *create.mutable_config()->mutable_labels() = config->labels();
    cri::StartContainerRequest start;
    start.set_container_id(Await(life_->runtime.CreateContainer({}, create))->container_id());
    CHECK(Await(life_->runtime.StartContainer({}, start)).has_value());
  }
  // A container has written that much.
  std::string Log(const std::string& name, int64_t bytes) {
    for (const auto& [id, c] : runtime_.configs) {
      if (c.metadata().name() != name || runtime_.containers[id].state() != cri::CONTAINER_RUNNING) continue;
      std::string path = runtime_.sandbox_configs[runtime_.sandbox_of[id]].log_directory() + "/" + c.log_path();
      runtime_.containers[id].set_log_path(path);
      return Said(host_.WriteFile(path, std::string(static_cast<size_t>(bytes), 'x'), 0600));
    }
    return "no such container runs";
  }
  std::string NodeSays() {
    auto node = Await(client_.Get<api::Node>({}, "", "n1"));
    if (!node) return Said(node.error());
    std::string out;
    for (const auto& c : node->status().conditions()) out += c.type() + "=" + c.status() + " " + c.reason() + "\n";
    return out;
  }
  // Calls to the runtime since the last time, events, then every pod of the API.
  std::string Show() {
    std::string out;
    for (const auto& call : runtime_.calls) out += "> " + call + "\n";
    runtime_.calls.clear();
    auto pods = Await(client_.List<api::Pod>({}, {}));
    for (const auto& pod : pods->items) {
      const auto& s = pod->status();
      out += pod->metadata().name() + " " + (s.phase().empty() ? "-" : s.phase());
      if (pod::IsReady(s)) out += " ready";
      if (!s.reason().empty()) out += " " + s.reason();
      for (const auto& c : s.containerstatuses()) {
        out += " " + c.name() + ":";
        out += c.state().has_running()      ? "running"
               : c.state().has_terminated() ? "terminated(" + std::to_string(c.state().terminated().exitcode()) + ")"
                                            : c.state().waiting().reason();
        if (c.restartcount() > 0) out += "*" + std::to_string(c.restartcount());
      }
      if (IsMirrorPod(*pod)) out += " mirror";
      if (pod->metadata().has_deletiontimestamp()) out += " leaving";
      out += "\n";
    }
    return out;
  }

  SimExecutor executor_{1, SimExecutor::Order::kFifo};
  machinery::client::testing::FakeTransport transport_{executor_};
  machinery::client::Client client_{transport_, "test"};
  testing::FakeRuntime runtime_{executor_};
  testing::SimHost host_{1};
  testing::SimMounter mounter_{host_};
  testing::SimCgroups cgroups_;
  testing::SimNetwork network_;
  base::testing::SimBlockingPool pool_;
  std::unique_ptr<Life> life_;
};

TEST(Agent, Story) {
  AgentStory story;
  base::testing::RunStory("stories/agent.txt", [&](const Step& step) { return story.Do(step); });
}

}  // namespace
}  // namespace kubelet
