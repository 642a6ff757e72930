#include "tests/sim/cluster/sim_node.h"

namespace sim::cluster {

namespace cri = kubelet::cri;
using namespace std::chrono_literals;

// One life of the daemon.
struct SimNode::Kubelet {
  Kubelet(SimNode& node, std::unique_ptr<kubelet::runtimes::Channel> channel, kubelet::MachineFacts facts)
      : runtime(node.around_.executor, std::move(channel), nullptr, 10s),
        agent({.executor = node.around_.executor,
               .pool = node.pool_,
               .random = node.around_.executor.random().Fork(),
               .host = node.host_,
               .mounter = node.mounter_,
               .network = node.network_,
               .cgroups = node.cgroups_,
               .runtime = runtime,
               .metrics = metrics},
              &node.client_, node.Options(), std::move(facts)) {}
  base::MetricsRegistry metrics;
  kubelet::runtimes::Runtime runtime;
  kubelet::Agent agent;
};

SimNode::SimNode(Surroundings around, int index)
    : around_(std::move(around)),
      name_("node-" + std::to_string(index)),
      address_("192.0.2." + std::to_string(index + 1)),
      api_(around_.executor, around_.faults, around_.api),
      client_(api_, "kubelet"),
      runtime_(around_.executor),
      host_(around_.executor.random().Next()),
      mounter_(host_),
      judge_(around_.executor, runtime_, [this](std::string what) { around_.violation(name_ + ": " + what); }) {
  runtime_.registry = [](const std::string&) { return true; };
  // Most end at once; some have to be killed.
  runtime_.time_to_stop = [this](const std::string&) -> base::Duration {
    auto& random = around_.executor.random();
    return random.OneIn(8) ? 40s : random.Below(3000) * 1ms;
  };
  runtime_.on_start = [this](const std::string& id) { OnStart(id); };
  runtime_.on_exit = [this](const std::string& id, int code) {
    around_.executor.Trace(base::Fnv1a64("exit " + id + std::to_string(code)));
    judge_.OnExit(id, code);
  };
  network_.answers = [this](const std::string& address) { return Answers(address); };
}

kubelet::AgentOptions SimNode::Options() const {
  kubelet::AgentOptions o;
  o.node.name = name_;
  o.node.addresses = {address_};
  o.root_directory = "/kubelet";
  o.pod_logs_directory = "/logs";
  return o;
}

Process::Body SimNode::NewKubelet() {
  judge_.OnKubelet();
  kubelet::MachineFacts facts;
  facts.hostname = name_;
  facts.cpus = 64;
  facts.memory_bytes = int64_t{64} << 30;
  facts.storage_bytes = int64_t{100} << 30;
  auto channel = std::make_unique<FaultyChannel>(FaultyChannel::Ends{.executor = around_.executor,
                                                                     .faults = around_.faults,
                                                                     .runtime = runtime_,
                                                                     .runtime_tasks = around_.tasks,
                                                                     .link = runtime_link_},
                                                 around_.bug);
  auto life = std::make_shared<Kubelet>(*this, std::move(channel), std::move(facts));
  return [life](base::Context ctx) { return life->agent.Run(std::move(ctx)); };
}

// What a container does is in its image's name: "once" succeeds after a while, "fail" fails, any other runs on.
void SimNode::OnStart(const std::string& id) {
  around_.executor.Trace(base::Fnv1a64("start " + name_ + id));
  judge_.OnStart(id);
  const auto& config = runtime_.configs.at(id);
  const auto& sandbox = runtime_.sandbox_configs.at(runtime_.sandbox_of.at(id));
  (void)host_.WriteFile(sandbox.log_directory() + "/" + config.log_path(), "a line\n", 0600);
  const std::string& image = config.image().image();
  const bool once = image.find("/once:") != std::string::npos, fail = image.find("/fail:") != std::string::npos;
  if (!once && !fail) return;
  around_.executor.After(around_.executor.random().Below(15'000) * 1ms,
                         [this, id, fail] { runtime_.ExitOne(id, fail ? 1 : 0); });
}

bool SimNode::Answers(const std::string& address) const {
  if (around_.faults.on && around_.executor.random().OneIn(40)) return false;
  for (const auto& [container, sandbox] : runtime_.sandbox_of)
    if (runtime_.sandboxes.at(sandbox).network().ip() == address &&
        runtime_.containers.at(container).state() == cri::CONTAINER_RUNNING)
      return true;
  return false;
}

bool SimNode::CrashOne() {
  const auto running = Running();
  if (running.empty()) return false;
  auto it = std::next(running.begin(), static_cast<long>(around_.executor.random().Below(running.size())));
  runtime_.ExitOne(it->second, 1);
  return true;
}

std::map<std::string, std::string> SimNode::Running() const {
  std::map<std::string, std::string> out;
  for (const auto& [id, c] : runtime_.containers)
    if (c.state() == cri::CONTAINER_RUNNING)
      out[c.labels().at(std::string(kubelet::kPodUidLabel)) + "/" + c.metadata().name()] = id;
  return out;
}

bool SimNode::Runs(const std::string& uid) const {
  const auto running = Running();
  auto it = running.lower_bound(uid + "/");
  return it != running.end() && it->first.starts_with(uid + "/");
}

}  // namespace sim::cluster
