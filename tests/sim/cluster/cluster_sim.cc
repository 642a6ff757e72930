#include "tests/sim/cluster/cluster_sim.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <set>

#include "apiserver/server.h"
#include "apiserver/storage/memory.h"
#include "base/testing/sim_executor.h"
#include "controller-manager/common/int_or_percent.h"
#include "controller-manager/common/labels.h"
#include "controller-manager/manager.h"
#include "proto/k8s/apps/v1/deployment.pb.h"
#include "proto/k8s/apps/v1/replicaset.pb.h"
#include "proto/k8s/core/v1/config.pb.h"
#include "proto/k8s/core/v1/namespace.pb.h"
#include "proto/k8s/core/v1/pod.pb.h"
#include "scheduler/scheduler.h"
#include "tests/sim/cluster/sim_node.h"

namespace sim::cluster {
namespace {
namespace client = machinery::client;
namespace request = machinery::request;
using base::testing::SimExecutor;
using k8s::io::api::apps::v1::Deployment;
using k8s::io::api::apps::v1::ReplicaSet;
using k8s::io::api::core::v1::ConfigMap;
using k8s::io::api::core::v1::Namespace;
using k8s::io::api::core::v1::Pod;
using k8s::io::api::core::v1::PodSpec;
using namespace std::chrono_literals;

int32_t SurgeOf(const Deployment& d) {
  if (d.spec().strategy().type() != "RollingUpdate") return 0;
  return controller_manager::Resolve(d.spec().strategy().rollingupdate().maxsurge(), d.spec().replicas(), true);
}

const k8s::io::apimachinery::pkg::apis::meta::v1::OwnerReference* Owner(
    const k8s::io::apimachinery::pkg::apis::meta::v1::ObjectMeta& m) {
  return m.ownerreferences().empty() ? nullptr : &m.ownerreferences(0);
}

class Cluster {
 public:
  Cluster(uint64_t seed, bool verbose, SeededBug bug);
  ~Cluster();
  Report Run();

 private:
  template <class T>
  T Await(base::Task<T> task) {
    return executor_.Await(std::move(task));
  }

  void Violation(std::string what) {
    if (report_.violations.size() < 10) report_.violations.push_back(std::move(what));
  }
  void Say(const std::string& what) {
    if (verbose_)
      std::printf("%9.3f %s\n", std::chrono::duration<double>(executor_.Now().time_since_epoch()).count(),
                  what.c_str());
  }

  template <class T>
  void Tell(const client::Change<T>& c, const std::string& state) {
    if (!verbose_) return;
    const auto& m = c.any().metadata();
    Say(std::string("  ") +
        (!c.old      ? "+ "
         : c.current ? "* "
                     : "- ") +
        client::ResourceOf<T>().kind + " " + m.name() + (m.has_deletiontimestamp() ? " (leaving) " : " ") + state);
  }
  void Setup();
  void StartManager();
  void StartScheduler();
  void StartNodes();
  void UserStep();
  void ChangeDeployment(const std::string& name);
  void AddBarePod();
  void Trouble();
  void Restart();
  void StopProcess(Process& p);
  bool Converged();
  void LoseNode();
  std::string WhyNot();
  std::string WhyNotSets(std::map<std::string, int32_t>& wanted);
  std::string WhyNotPods(std::map<std::string, int32_t>& wanted);
  std::string WhyNotPod(const Pod& pod, std::map<std::string, int32_t>& wanted);
  std::string WhyNotNodes();
  SimNode* NodeOf(const Pod& pod);
  bool WaitsForTheDead(const Deployment& d) const;
  void OnPod(const client::Change<Pod>& c);
  void CheckSoon(const std::map<std::string, int32_t>& bounds, std::string uid, int32_t there, std::string who);
  void OnSet(const client::Change<ReplicaSet>& c);
  void OnDeployment(const client::Change<Deployment>& c);
  Deployment Wanted(const std::string& name);
  void Fill(PodSpec& spec, const std::string& image);
  template <class F>
  void Change(const std::string& name, F change);

  bool verbose_;
  SimExecutor executor_;
  Report report_;
  Faults faults_;
  apiserver::storage::MemoryStorage storage_;
  apiserver::Core core_;
  std::unique_ptr<request::Transport> direct_;
  FaultyTransport faulty_;
  client::Client user_, manager_client_, scheduler_client_;
  base::MetricsRegistry metrics_;
  base::Context ctx_ = base::Context().WithCancel();
  std::unique_ptr<base::TaskScope> servers_;
  client::Informer<Pod> pods_;
  client::Informer<ReplicaSet> sets_;
  client::Informer<Deployment> deployments_;
  std::vector<std::unique_ptr<SimNode>> nodes_;
  std::vector<std::unique_ptr<Process>> processes_;  // those of the nodes last
  SeededBug bug_;
  std::string dead_;  // the node that is lost, ""
  // What the witness knows.
  std::map<std::string, std::string> node_of_;                   // pod uid -> node
  std::map<std::string, std::string> end_of_;                    // pod uid -> Succeeded or Failed
  std::map<std::string, std::map<std::string, int32_t>> sizes_;  // deployment uid -> replica set uid -> replicas
  std::map<std::string, std::set<std::string>> active_;          // replica set uid -> active pod uids
  std::map<std::string, int32_t> bound_;                         // deployment uid -> most since it last settled
  std::map<std::string, int32_t> set_bound_;                     // replica set uid -> most since it last settled
  int next_template_ = 1, next_bare_ = 1, next_settings_ = 1;
};

std::vector<controller_manager::ServedResource> Resources() {
  const std::vector<std::string> verbs = {"create", "delete", "deletecollection", "get",
                                          "list",   "patch",  "update",           "watch"};
  return {{client::ResourceOf<Pod>(), verbs},
          {client::ResourceOf<Deployment>(), verbs},
          {client::ResourceOf<ReplicaSet>(), verbs}};
}

Cluster::Cluster(uint64_t seed, bool verbose, SeededBug bug)
    : verbose_(verbose),
      executor_(seed),
      storage_(executor_),
      // Nobody here would take the taint of a new node away again.
      core_(executor_, storage_, base::Random(seed * 2 + 1), {.disable_admission_plugins = {"TaintNodesByCondition"}}),
      direct_(apiserver::InProcessTransport(core_, {.name = "sim", .groups = {"system:masters"}})),
      faulty_(executor_, faults_, *direct_),
      user_(*direct_, "user"),
      manager_client_(faulty_, "kube-controller-manager"),
      scheduler_client_(faulty_, "kube-scheduler"),
      servers_(std::make_unique<base::TaskScope>(executor_, ctx_)),
      pods_(executor_, user_),
      sets_(executor_, user_),
      deployments_(executor_, user_),
      bug_(bug) {
  pods_.AddHandler([this](const client::Change<Pod>& c) { OnPod(c); });
  sets_.AddHandler([this](const client::Change<ReplicaSet>& c) { OnSet(c); });
  deployments_.AddHandler([this](const client::Change<Deployment>& c) { OnDeployment(c); });
}

Cluster::~Cluster() {
  for (auto& p : processes_) StopProcess(*p);
  ctx_.Cancel();
  CHECK_MSG(executor_.RunUntil([&] { return servers_->running() == 0; }, 1h), "the servers do not stop");
  servers_.reset();
}

void Cluster::StopProcess(Process& p) {
  p.Kill();
  CHECK_MSG(executor_.RunUntil([&] { return p.stopped(); }, 1h), "a process does not stop");
  p.Clear();
}

void Cluster::Setup() {
  servers_->Spawn(core_.Run(servers_->context()));
  CHECK(Await(core_.WaitReady(ctx_)).ok());
  Namespace ns;
  for (const char* name : {"default", "kube-node-lease"}) {
    ns.mutable_metadata()->set_name(name);
    (void)Await(user_.Create<Namespace>(ctx_, ns));
  }
  ConfigMap settings;
  settings.mutable_metadata()->set_namespace_("default");
  settings.mutable_metadata()->set_name("settings");
  (*settings.mutable_data())["n"] = "0";
  CHECK(Await(user_.Create<ConfigMap>(ctx_, settings)).has_value());
  servers_->Spawn(pods_.Run(servers_->context()));
  servers_->Spawn(sets_.Run(servers_->context()));
  servers_->Spawn(deployments_.Run(servers_->context()));
  StartManager();
  StartScheduler();
  StartNodes();
  for (auto& p : processes_) p->Start();
}

void Cluster::StartManager() {
  processes_.push_back(std::make_unique<Process>(executor_, [this]() -> Process::Body {
    controller_manager::ManagerOptions options;
    options.controllers = {"deployment-controller",     "replicaset-controller",     "garbage-collector-controller",
                           "serviceaccount-controller", "node-lifecycle-controller", "taint-eviction-controller"};
    auto discover = [](base::Context) -> base::Task<base::Result<std::vector<controller_manager::ServedResource>>> {
      co_return Resources();
    };
    auto manager = std::make_shared<controller_manager::Manager>(executor_, manager_client_, executor_.random().Fork(),
                                                                 metrics_, options, discover);
    return [manager](base::Context ctx) { return manager->Run(std::move(ctx)); };
  }));
}

void Cluster::StartScheduler() {
  processes_.push_back(std::make_unique<Process>(executor_, [this]() -> Process::Body {
    auto events = std::make_shared<client::EventRecorder>(executor_, scheduler_client_, "default-scheduler", "sim",
                                                          client::EventStyle::kSeries);
    auto s = std::make_shared<scheduler::Scheduler>(executor_, scheduler_client_, *events, executor_.random().Fork(),
                                                    metrics_);
    // The recorder is named so that it outlives the scheduler; its events are not sent here.
    return [events, s](base::Context ctx) { return s->Run(std::move(ctx)); };
  }));
}

void Cluster::StartNodes() {
  const int count = 2 + static_cast<int>(executor_.random().Below(3));
  for (int i = 0; i < count; ++i) {
    nodes_.push_back(
        std::make_unique<SimNode>(SimNode::Surroundings{.executor = executor_,
                                                        .faults = faults_,
                                                        .api = *direct_,
                                                        .tasks = *servers_,
                                                        .bug = bug_,
                                                        .violation = [this](std::string what) { Violation(what); }},
                                  i));
    processes_.push_back(
        std::make_unique<Process>(executor_, [node = nodes_.back().get()] { return node->NewKubelet(); }));
  }
}

// --- users ---

// Some pods are probed, some mount a config map that changes, some have a second container.
void Cluster::Fill(PodSpec& spec, const std::string& image) {
  auto& random = executor_.random();
  spec.set_automountserviceaccounttoken(false);
  auto* c = spec.add_containers();
  c->set_name("c");
  c->set_image(image);
  if (random.OneIn(3)) {
    auto* probe = c->mutable_readinessprobe();
    probe->mutable_handler()->mutable_tcpsocket()->mutable_port()->set_intval(80);
    probe->set_periodseconds(2);
  }
  if (random.OneIn(4)) {
    // One bad answer ends it: a kill of one container that the pod survives.
    auto* probe = c->mutable_livenessprobe();
    probe->mutable_handler()->mutable_tcpsocket()->mutable_port()->set_intval(80);
    probe->set_periodseconds(2);
    probe->set_failurethreshold(1);
  }
  if (random.OneIn(3)) {
    auto* v = spec.add_volumes();
    v->set_name("settings");
    v->mutable_volumesource()->mutable_configmap()->mutable_localobjectreference()->set_name("settings");
    auto* m = c->add_volumemounts();
    m->set_name("settings");
    m->set_mountpath("/settings");
  }
  if (random.OneIn(4)) {
    auto* second = spec.add_containers();
    second->set_name("d");
    second->set_image(image);
  }
}

// A pod of nobody: its name says how it restarts, its image what it does.
void Cluster::AddBarePod() {
  static constexpr std::pair<const char*, const char*> kPolicies[] = {
      {"never", "Never"}, {"onfailure", "OnFailure"}, {"always", "Always"}};
  auto& random = executor_.random();
  const auto& [name, policy] = kPolicies[random.Below(3)];
  Pod pod;
  pod.mutable_metadata()->set_namespace_("default");
  pod.mutable_metadata()->set_name(std::string(name) + "-" + std::to_string(next_bare_++));
  pod.mutable_spec()->set_restartpolicy(policy);
  Fill(*pod.mutable_spec(), random.OneIn(2) ? "once:1" : "fail:1");
  Say("create " + pod.metadata().name());
  (void)Await(user_.Create<Pod>(ctx_, pod));
}

Deployment Cluster::Wanted(const std::string& name) {
  Deployment d;
  d.mutable_metadata()->set_namespace_("default");
  d.mutable_metadata()->set_name(name);
  auto* spec = d.mutable_spec();
  spec->set_replicas(static_cast<int>(executor_.random().Below(7)));
  (*spec->mutable_selector()->mutable_matchlabels())["app"] = name;
  (*spec->mutable_template_()->mutable_metadata()->mutable_labels())["app"] = name;
  Fill(*spec->mutable_template_()->mutable_spec(), "image:" + std::to_string(next_template_++));
  spec->mutable_strategy()->set_type(executor_.random().OneIn(5) ? "Recreate" : "RollingUpdate");
  return d;
}

template <class F>
void Cluster::Change(const std::string& name, F change) {
  for (int i = 0; i < 20; ++i) {
    auto d = Await(user_.Get<Deployment>(ctx_, "default", name));
    if (!d) return;
    change(*d);
    if (Await(user_.Update<Deployment>(ctx_, std::move(*d)))) return;
  }
}

void Cluster::UserStep() {
  auto& random = executor_.random();
  if (random.OneIn(4)) return AddBarePod();
  if (random.OneIn(8)) {
    auto settings = Await(user_.Get<ConfigMap>(ctx_, "default", "settings"));
    (*settings->mutable_data())["n"] = std::to_string(next_settings_++);
    (void)Await(user_.Update<ConfigMap>(ctx_, std::move(*settings)));
    return;
  }
  ChangeDeployment(std::string(1, static_cast<char>('a' + random.Below(3))));
}

void Cluster::ChangeDeployment(const std::string& name) {
  auto& random = executor_.random();
  if (!Await(user_.Get<Deployment>(ctx_, "default", name))) {
    Say("create " + name);
    (void)Await(user_.Create<Deployment>(ctx_, Wanted(name)));
    return;
  }
  switch (random.Below(8)) {
    case 0:
      Say("delete " + name);
      (void)Await(user_.Delete<Deployment>(ctx_, "default", name,
                                           {.propagation_policy = random.OneIn(2) ? "Background" : "Foreground"}));
      return;
    case 1:
    case 2:
      Say("scale " + name);
      return Change(name, [&](Deployment& d) { d.mutable_spec()->set_replicas(static_cast<int>(random.Below(9))); });
    case 3:
    case 4:
    case 5:
      Say("set image of " + name);
      return Change(name, [&](Deployment& d) {
        d.mutable_spec()->mutable_template_()->mutable_spec()->mutable_containers(0)->set_image(
            "image:" + std::to_string(random.OneIn(2) ? 1 + random.Below(static_cast<uint64_t>(next_template_))
                                                      : static_cast<uint64_t>(next_template_++)));
      });
    case 6:
      Say("pause or resume " + name);
      return Change(name, [&](Deployment& d) { d.mutable_spec()->set_paused(!d.spec().paused()); });
    default: {
      auto pods = pods_.List();
      if (pods.empty()) return;
      const auto& m = pods[random.Below(pods.size())]->metadata();
      Say("delete pod " + m.name());
      (void)Await(user_.Delete<Pod>(ctx_, m.namespace_(), m.name(), {}));
    }
  }
}

// One node has bad luck.
void Cluster::Trouble() {
  auto& random = executor_.random();
  SimNode& node = *nodes_[random.Below(nodes_.size())];
  const base::Duration while_ = random.Below(40'000) * 1ms;
  ++faults_.injected;
  switch (random.Below(4)) {
    case 0:
      Say("cut the link of " + node.name());
      return node.CutLinkFor(2 * while_);
    case 1:
      Say("the runtime of " + node.name() + " is away");
      return node.LoseRuntimeFor(while_);
    default:
      Say("a container on " + node.name() + " crashes");
      (void)node.CrashOne();
  }
}

void Cluster::Restart() {
  auto& p = *processes_[executor_.random().Below(processes_.size())];
  Say("restart");
  StopProcess(p);
  // What was on its way when it died has arrived by the time it is back; a successor that starts sooner could not know.
  executor_.RunFor((300 + executor_.random().Below(3000)) * 1ms);
  p.Start();
  ++report_.restarts;
}

// --- the witness ---

void Cluster::OnDeployment(const client::Change<Deployment>& c) {
  Tell(c, std::to_string(c.any().spec().replicas()) + " wanted, " + std::to_string(c.any().status().replicas()) +
              " there, " + std::to_string(c.any().status().updatedreplicas()) + " updated");
  executor_.Trace(base::Fnv1a64(c.any().metadata().name() + c.any().metadata().resourceversion()));
  if (!c.current) return;
  const auto& d = *c.current;
  // A smaller size binds once the controller has said that it is reached; before that it may act on an older copy.
  int32_t now = d.spec().replicas() + SurgeOf(d);
  const auto& s = d.status();
  bool settled = s.observedgeneration() == d.metadata().generation() && s.replicas() == d.spec().replicas() &&
                 s.updatedreplicas() == d.spec().replicas();
  int32_t& most = bound_[d.metadata().uid()];
  most = settled ? now : std::max(most, now);
}

// Surge is a promise about sizes: pods follow them, and while one set still shrinks another may have grown already.
void Cluster::OnSet(const client::Change<ReplicaSet>& c) {
  const ReplicaSet& rs = c.any();
  Tell(c, std::to_string(rs.spec().replicas()) + " wanted, " + std::to_string(rs.status().replicas()) + " there");
  const auto& uid = rs.metadata().uid();
  executor_.Trace(base::Fnv1a64(rs.metadata().name() + rs.metadata().resourceversion()));
  const auto* owner = Owner(rs.metadata());
  if (!owner) return;
  if (!c.current) {
    sizes_[owner->uid()].erase(uid);
    return;
  }
  auto& sizes = sizes_[owner->uid()];
  int32_t before = sizes[uid];
  sizes[uid] = rs.spec().replicas();
  bool settled =
      rs.status().observedgeneration() == rs.metadata().generation() && rs.status().replicas() == rs.spec().replicas();
  int32_t& most = set_bound_[uid];
  most = settled ? rs.spec().replicas() : std::max(most, rs.spec().replicas());
  int32_t sum = 0;
  for (const auto& [set, size] : sizes) sum += size;
  if (rs.spec().replicas() > before)
    CheckSoon(bound_, owner->uid(), sum, "over-surge: the sets with " + rs.metadata().name());
}

// Kinds come by separate watches: what allowed this may still be on its way.
void Cluster::CheckSoon(const std::map<std::string, int32_t>& bounds, std::string uid, int32_t there, std::string who) {
  auto at = bounds.find(uid);
  int32_t allowed = at == bounds.end() ? 0 : at->second;
  if (there <= allowed) return;
  executor_.After(1s, [this, &bounds, uid, there, allowed, who] {
    auto now = bounds.find(uid);
    int32_t most = now == bounds.end() ? there : std::max(allowed, now->second);
    if (there > most)
      Violation(who + " ask for " + std::to_string(there) + " pods where " + std::to_string(most) + " are allowed");
  });
}

void Cluster::OnPod(const client::Change<Pod>& c) {
  const Pod& pod = c.any();
  Tell(c, pod.spec().nodename() + " " + pod.status().phase());
  const auto& uid = pod.metadata().uid();
  executor_.Trace(base::Fnv1a64(pod.metadata().name() + pod.metadata().resourceversion()));
  std::string& node = node_of_[uid];
  if (!node.empty() && node != pod.spec().nodename())
    Violation("pod " + pod.metadata().name() + " moved from " + node + " to " + pod.spec().nodename());
  node = pod.spec().nodename();
  // An end is final.
  std::string& end = end_of_[uid];
  const std::string& phase = pod.status().phase();
  if (!end.empty() && phase != end) Violation("pod " + pod.metadata().name() + " was " + end + " and is " + phase);
  if (phase == "Succeeded" || phase == "Failed") end = phase;
  if (!c.current)
    if (SimNode* at = NodeOf(pod); at && at->Runs(uid))
      Violation("pod " + pod.metadata().name() + " is gone while its containers run on " + at->name());
  if (!c.old) ++report_.pods_created;
  const auto* owner = Owner(pod.metadata());
  if (!owner) return;
  auto& active = active_[owner->uid()];
  if (!c.current || pod.metadata().has_deletiontimestamp()) {
    active.erase(uid);
    return;
  }
  active.insert(uid);
  if (!c.old)
    CheckSoon(set_bound_, owner->uid(), static_cast<int32_t>(active.size()),
              "too many: pods like " + pod.metadata().name());
}

// Recreate ends all old pods before it begins a new one, and of a pod on a dead node nobody can say that it has ended.
bool Cluster::WaitsForTheDead(const Deployment& d) const {
  if (dead_.empty() || d.spec().strategy().type() != "Recreate") return false;
  for (const auto& pod : pods_.List()) {
    if (!pod->metadata().has_deletiontimestamp() || pod->spec().nodename() != dead_) continue;
    const auto* set = Owner(pod->metadata());
    for (const auto& rs : sets_.List()) {
      const auto* owner = Owner(rs->metadata());
      if (set && owner && rs->metadata().uid() == set->uid() && owner->uid() == d.metadata().uid()) return true;
    }
  }
  return false;
}

SimNode* Cluster::NodeOf(const Pod& pod) {
  for (auto& node : nodes_)
    if (node->name() == pod.spec().nodename()) return node.get();
  return nullptr;
}

std::string Cluster::WhyNot() {
  std::map<std::string, int32_t> wanted;  // replica set uid -> replicas
  std::string why = WhyNotSets(wanted);
  if (why.empty()) why = WhyNotPods(wanted);
  return why.empty() ? WhyNotNodes() : why;
}

std::string Cluster::WhyNotSets(std::map<std::string, int32_t>& wanted) {
  std::set<std::string> uids;
  for (const auto& d : deployments_.List()) {
    if (d->metadata().has_deletiontimestamp()) return "deployment " + d->metadata().name() + " is being deleted";
    uids.insert(d->metadata().uid());
    const auto& s = d->status();
    if (s.observedgeneration() < d->metadata().generation())
      return "deployment " + d->metadata().name() + " unobserved";
    if (WaitsForTheDead(*d)) continue;
    int32_t n = d->spec().replicas();
    if (s.replicas() != n || s.availablereplicas() != n || s.readyreplicas() != n)
      return "deployment " + d->metadata().name() + " has " + std::to_string(s.replicas()) + "/" +
             std::to_string(s.availablereplicas()) + " of " + std::to_string(n);
    if (!d->spec().paused() && s.updatedreplicas() != n)
      return "deployment " + d->metadata().name() + " is not updated";
  }
  for (const auto& rs : sets_.List()) {
    const auto* owner = Owner(rs->metadata());
    if (!owner || !uids.contains(owner->uid())) return "replica set " + rs->metadata().name() + " is an orphan";
    if (rs->status().replicas() != rs->spec().replicas())
      return "replica set " + rs->metadata().name() + " is not there yet";
    wanted[rs->metadata().uid()] = rs->spec().replicas();
  }
  return "";
}

std::string Cluster::WhyNotPods(std::map<std::string, int32_t>& wanted) {
  for (const auto& pod : pods_.List()) {
    const auto& m = pod->metadata();
    if (m.has_deletiontimestamp() && pod->spec().nodename() == dead_) continue;
    if (m.has_deletiontimestamp()) return "pod " + m.name() + " is being deleted";
    if (std::string why = WhyNotPod(*pod, wanted); !why.empty()) return "pod " + m.name() + " " + why;
  }
  for (const auto& [uid, left] : wanted)
    if (left != 0) return "a replica set has a wrong number of pods";
  return "";
}

std::string Cluster::WhyNotPod(const Pod& pod, std::map<std::string, int32_t>& wanted) {
  const std::string& phase = pod.status().phase();
  const auto* owner = Owner(pod.metadata());
  if (!owner) {
    const bool fails = pod.spec().containers(0).image().starts_with("fail");
    // What a fault ended has failed, too.
    if (pod.spec().restartpolicy() == "Never")
      return phase == "Failed" || (!fails && phase == "Succeeded") ? "" : "has not ended";
    if (pod.spec().restartpolicy() == "OnFailure" && !fails) return phase == "Succeeded" ? "" : "has not succeeded";
    return phase == "Running" ? "" : "is not kept up";  // it runs, or waits to run again
  }
  if (!wanted.contains(owner->uid())) return "is an orphan";
  if (phase != "Running") return "does not run";
  if (!controller_manager::IsReady(pod)) return "is not ready";
  --wanted[owner->uid()];
  SimNode* node = NodeOf(pod);
  if (!node) return "is nowhere";
  const auto running = node->Running();
  for (const auto& c : pod.spec().containers())
    if (!running.contains(pod.metadata().uid() + "/" + c.name())) return "runs by word only";
  return "";
}

// No node runs what the API does not know, and what is mounted is what the API has.
std::string Cluster::WhyNotNodes() {
  std::set<std::string> uids;
  for (const auto& pod : pods_.List()) uids.insert(pod->metadata().uid());
  auto settings = std::to_string(next_settings_ - 1);
  for (const auto& node : nodes_) {
    for (const auto& [key, id] : node->Running())
      if (!uids.contains(key.substr(0, key.find('/')))) return node->name() + " runs " + key + " of nobody";
    if (node->name() == dead_) continue;
    for (const auto& [path, payload] : node->payloads())
      if (payload.at("n").content != settings)
        return node->name() + " has settings " + payload.at("n").content + " of " + settings + " in " + path;
  }
  return "";
}

bool Cluster::Converged() { return WhyNot().empty(); }

// Power off. The others take over what ran there; nobody ends a pod whose node cannot say that it has ended.
void Cluster::LoseNode() {
  size_t index = executor_.random().Below(nodes_.size());
  dead_ = nodes_[index]->name();
  auto& kubelet = *processes_[processes_.size() - nodes_.size() + index];
  Say("lose " + dead_);
  nodes_[index]->LosePower();
  StopProcess(kubelet);
  // 50 s of grace and 300 s of toleration are the defaults.
  executor_.RunFor(6min);
  if (!executor_.RunUntil([&] { return Converged(); }, 5min))
    Violation("no convergence without " + dead_ + ": " + WhyNot());
  for (const auto& pod : pods_.List())
    if (pod->spec().nodename() == dead_ && !pod->metadata().has_deletiontimestamp())
      Violation("pod " + pod->metadata().name() + " stays on a dead node");
  dead_.clear();
  kubelet.Start();
  ++report_.restarts;
}

Report Cluster::Run() {
  Setup();
  auto& random = executor_.random();
  int steps = 6 + static_cast<int>(random.Below(12));
  for (int i = 0; i < steps; ++i) {
    UserStep();
    executor_.RunFor(random.Below(random.OneIn(3) ? 8000 : 800) * 1ms);
    if (random.OneIn(3)) Restart();
    if (random.OneIn(3)) Trouble();
    if (random.OneIn(10)) {
      storage_.DropWatches();
      ++faults_.injected;
    }
  }
  faults_.on = false;
  for (const char* name : {"a", "b", "c"}) Change(name, [](Deployment& d) { d.mutable_spec()->set_paused(false); });
  if (!executor_.RunUntil([&] { return Converged(); }, 15min)) Violation("no convergence: " + WhyNot());
  if (random.OneIn(2)) LoseNode();
  if (!executor_.RunUntil([&] { return Converged(); }, 15min)) Violation("no convergence at the end: " + WhyNot());
  // Settled means that nothing moves any more.
  executor_.RunFor(30s);
  if (!Converged()) Violation("did not stay converged: " + WhyNot());
  report_.trace = executor_.trace_hash();
  report_.steps = executor_.steps();
  report_.faults = faults_.injected;
  for (const auto& node : nodes_) {
    report_.starts += node->judge().starts();
    report_.container_restarts += node->judge().restarts();
    report_.waited += node->judge().waited();
  }
  report_.simulated_seconds = std::chrono::duration<double>(executor_.Now().time_since_epoch()).count();
  return report_;
}
}  // namespace

Report Run(uint64_t seed, bool verbose, SeededBug bug) { return Cluster(seed, verbose, bug).Run(); }

}  // namespace sim::cluster
