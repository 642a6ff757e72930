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
#include "machinery/client/micro_time.h"
#include "machinery/object/api_error.h"
#include "proto/k8s/apps/v1/deployment.pb.h"
#include "proto/k8s/apps/v1/replicaset.pb.h"
#include "proto/k8s/coordination/v1/lease.pb.h"
#include "proto/k8s/core/v1/namespace.pb.h"
#include "proto/k8s/core/v1/node.pb.h"
#include "proto/k8s/core/v1/pod.pb.h"
#include "scheduler/scheduler.h"

namespace sim::cluster {
namespace {
namespace client = machinery::client;
namespace request = machinery::request;
using base::testing::SimExecutor;
using k8s::io::api::apps::v1::Deployment;
using k8s::io::api::apps::v1::ReplicaSet;
using k8s::io::api::coordination::v1::Lease;
using k8s::io::api::core::v1::Namespace;
using k8s::io::api::core::v1::Node;
using k8s::io::api::core::v1::Pod;
using namespace std::chrono_literals;

struct Faults {
  bool on = true;
  uint64_t injected = 0;
};

bool IsAmbiguityHarmless(const request::Request& r) {
  // A creation whose answer is lost cannot be told from one that never arrived; nobody can make that exactly-once
  // without a name. Everything else names its object and is safe to do again.
  return r.verb != request::Verb::kCreate || !r.subresource.empty();
}

class FaultyStream final : public request::WatchStream {
 public:
  FaultyStream(SimExecutor& executor, Faults& faults, std::unique_ptr<request::WatchStream> inner)
      : executor_(executor), faults_(faults), inner_(std::move(inner)) {}
  std::string_view content_type() const override { return inner_->content_type(); }
  base::Task<base::Result<std::optional<request::WatchEvent>>> Next(base::Context ctx) override {
    auto event = co_await inner_->Next(ctx);
    if (!faults_.on || !event) co_return event;
    auto& random = executor_.random();
    if (random.OneIn(4)) CO_TRY(co_await base::Sleep(executor_, ctx, random.Below(200) * 1ms));
    if (random.OneIn(60)) {
      ++faults_.injected;
      if (random.OneIn(2)) co_return std::optional<request::WatchEvent>();
      if (random.OneIn(3))
        co_return base::Err(machinery::object::ResourceExpired("too old resource version (injected)"));
      co_return base::Err(base::Unavailable("watch broken (injected)"));
    }
    co_return event;
  }

 private:
  SimExecutor& executor_;
  Faults& faults_;
  std::unique_ptr<request::WatchStream> inner_;
};

class FaultyTransport final : public request::Transport {
 public:
  FaultyTransport(SimExecutor& executor, Faults& faults, request::Transport& inner)
      : executor_(executor), faults_(faults), inner_(inner) {}

  base::Task<base::Result<request::Response>> Do(base::Context ctx, request::Request r) override {
    auto& random = executor_.random();
    // Nothing is free: two controllers that work against each other until a watch catches up must let time pass.
    uint64_t delay = faults_.on && random.OneIn(3) ? random.Below(100) : 0;
    CO_TRY(co_await base::Sleep(executor_, ctx, (delay + 1) * 1ms));
    bool write = r.verb != request::Verb::kGet && r.verb != request::Verb::kList;
    if (faults_.on && random.OneIn(25)) {
      ++faults_.injected;
      if (r.verb == request::Verb::kUpdate && random.OneIn(2))
        co_return base::Err(machinery::object::Conflict({r.group, r.resource}, r.name, "injected"));
      co_return base::Err(base::Unavailable("request lost (injected)"));
    }
    bool lose = faults_.on && write && IsAmbiguityHarmless(r) && random.OneIn(40);
    auto response = co_await inner_.Do(ctx, std::move(r));
    if (faults_.on && random.OneIn(3)) CO_TRY(co_await base::Sleep(executor_, ctx, random.Below(100) * 1ms));
    if (!lose) co_return response;
    ++faults_.injected;
    co_return base::Err(base::Unavailable("answer lost (injected)"));
  }

  base::Task<base::Result<std::unique_ptr<request::WatchStream>>> Watch(base::Context ctx,
                                                                        request::Request r) override {
    if (faults_.on && executor_.random().OneIn(10)) {
      ++faults_.injected;
      co_return base::Err(base::Unavailable("connection refused (injected)"));
    }
    CO_TRY_ASSIGN(auto inner, co_await inner_.Watch(ctx, std::move(r)));
    co_return std::unique_ptr<request::WatchStream>(
        std::make_unique<FaultyStream>(executor_, faults_, std::move(inner)));
  }

 private:
  SimExecutor& executor_;
  Faults& faults_;
  request::Transport& inner_;
};

// A kubelet that runs nothing: it says that it lives, after a while a pod bound to its node is ready, and a deleted one
// is gone.
class SimKubelet {
 public:
  SimKubelet(SimExecutor& executor, client::Client& c, std::string node)
      : executor_(executor),
        client_(c),
        node_(node),
        pods_(executor, c, {.field_selector = "spec.nodeName=" + node}),
        controller_(executor, "kubelet", 2,
                    [this](base::Context ctx, client::Key key) { return Sync(std::move(ctx), std::move(key)); }) {
    controller_.For<Pod>(pods_);
  }
  base::Task<void> Run(base::Context ctx) {
    base::TaskScope scope(executor_, ctx);
    scope.Spawn(pods_.Run(scope.context()));
    scope.Spawn(controller_.Run(scope.context()));
    while ((co_await base::Sleep(executor_, ctx, (co_await Report(scope.context())) ? 10s : 1s)).ok()) {
    }
    co_await scope.Join();
  }

 private:
  // Ready once, and then the lease.
  base::Task<bool> Report(base::Context ctx) {
    auto node = co_await client_.Get<Node>(ctx, "", node_);
    if (!node) co_return false;
    auto* conditions = node->mutable_status()->mutable_conditions();
    auto ready = std::ranges::find_if(*conditions, [](const auto& c) { return c.type() == "Ready"; });
    if (ready == conditions->end() || ready->status() != "True") {
      auto* c = ready == conditions->end() ? conditions->Add() : &*ready;
      c->set_type("Ready");
      c->set_status("True");
      client::SetTime(*c->mutable_lastheartbeattime(), executor_.WallNow());
      if (!(co_await client_.UpdateStatus<Node>(ctx, std::move(*node)))) co_return false;
    }
    auto held = co_await client_.Get<Lease>(ctx, "kube-node-lease", node_);
    if (!held && !machinery::object::IsNotFound(held.error())) co_return false;
    Lease lease = held.value_or(Lease());
    lease.mutable_metadata()->set_namespace_("kube-node-lease");
    lease.mutable_metadata()->set_name(node_);
    client::SetMicroTime(*lease.mutable_spec()->mutable_renewtime(), executor_.WallNow());
    if (held) co_return (co_await client_.Update<Lease>(ctx, std::move(lease))).has_value();
    co_return (co_await client_.Create<Lease>(ctx, std::move(lease))).has_value();
  }

  base::Task<base::Result<client::Done>> Sync(base::Context ctx, client::Key key) {
    auto pod = pods_.Get(key);
    if (!pod) co_return client::Done{};
    CO_TRY(co_await base::Sleep(executor_, ctx, (20 + executor_.random().Below(1500)) * 1ms));
    const auto& m = pod->metadata();
    if (m.has_deletiontimestamp()) {
      auto gone =
          co_await client_.Delete<Pod>(ctx, m.namespace_(), m.name(), {.grace_period_seconds = 0, .uid = m.uid()});
      if (!gone.ok() && !machinery::object::IsNotFound(gone) && !machinery::object::IsConflict(gone))
        co_return base::Err(gone);
      co_return client::Done{};
    }
    if (pod->status().phase() == "Running" && controller_manager::IsReady(*pod)) co_return client::Done{};
    Pod running = *pod;
    auto* status = running.mutable_status();
    status->set_phase("Running");
    status->set_podip("10.0.0.1");
    status->clear_podips();
    status->add_podips()->set_ip("10.0.0.1");
    auto* conditions = status->mutable_conditions();
    auto known = std::ranges::find_if(*conditions, [](const auto& c) { return c.type() == "Ready"; });
    auto* ready = known == conditions->end() ? conditions->Add() : &*known;
    ready->set_type("Ready");
    ready->set_status("True");
    client::SetTime(*ready->mutable_lasttransitiontime(), executor_.WallNow());
    auto updated = co_await client_.UpdateStatus<Pod>(ctx, std::move(running));
    if (!updated && !machinery::object::IsNotFound(updated.error())) co_return base::Err(updated.error());
    co_return client::Done{};
  }
  SimExecutor& executor_;
  client::Client& client_;
  std::string node_;
  client::Informer<Pod> pods_;
  client::Controller controller_;
};

// A daemon: made, run, killed and made again.
class Process {
 public:
  using Body = std::function<base::Task<void>(base::Context)>;
  Process(SimExecutor& executor, std::function<Body()> make) : executor_(executor), make_(std::move(make)) {}
  ~Process() { CHECK(!scope_); }
  void Start() {
    scope_ = std::make_unique<base::TaskScope>(executor_, base::Context());
    body_ = make_();
    scope_->Spawn(body_(scope_->context()));
  }
  void Kill() { scope_->Cancel(); }
  bool stopped() const { return scope_->running() == 0; }
  void Clear() {
    scope_.reset();
    body_ = nullptr;
  }

 private:
  SimExecutor& executor_;
  std::function<Body()> make_;
  Body body_;
  std::unique_ptr<base::TaskScope> scope_;
};

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
  Cluster(uint64_t seed, bool verbose);
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
  void UserStep();
  void Restart();
  void StopProcess(Process& p);
  bool Converged();
  void LoseNode();
  std::string WhyNot();
  bool WaitsForTheDead(const Deployment& d) const;
  void OnPod(const client::Change<Pod>& c);
  void CheckSoon(const std::map<std::string, int32_t>& bounds, std::string uid, int32_t there, std::string who);
  void OnSet(const client::Change<ReplicaSet>& c);
  void OnDeployment(const client::Change<Deployment>& c);
  Deployment Wanted(const std::string& name);
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
  client::Client user_, manager_client_, scheduler_client_, kubelet_client_;
  base::MetricsRegistry metrics_;
  base::Context ctx_ = base::Context().WithCancel();
  std::unique_ptr<base::TaskScope> servers_;
  client::Informer<Pod> pods_;
  client::Informer<ReplicaSet> sets_;
  client::Informer<Deployment> deployments_;
  std::vector<std::unique_ptr<Process>> processes_;
  int nodes_;
  std::string dead_;  // the node that is lost, ""
  // What the witness knows.
  std::map<std::string, std::string> node_of_;                   // pod uid -> node
  std::map<std::string, std::map<std::string, int32_t>> sizes_;  // deployment uid -> replica set uid -> replicas
  std::map<std::string, std::set<std::string>> active_;          // replica set uid -> active pod uids
  std::map<std::string, int32_t> bound_;                         // deployment uid -> most since it last settled
  std::map<std::string, int32_t> set_bound_;                     // replica set uid -> most since it last settled
  int next_template_ = 1;
};

std::vector<controller_manager::ServedResource> Resources() {
  const std::vector<std::string> verbs = {"create", "delete", "deletecollection", "get",
                                          "list",   "patch",  "update",           "watch"};
  return {{client::ResourceOf<Pod>(), verbs},
          {client::ResourceOf<Deployment>(), verbs},
          {client::ResourceOf<ReplicaSet>(), verbs}};
}

Cluster::Cluster(uint64_t seed, bool verbose)
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
      kubelet_client_(faulty_, "kubelet"),
      servers_(std::make_unique<base::TaskScope>(executor_, ctx_)),
      pods_(executor_, user_),
      sets_(executor_, user_),
      deployments_(executor_, user_),
      nodes_(2 + static_cast<int>(executor_.random().Below(3))) {
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
  for (int i = 0; i < nodes_; ++i) {
    Node n;
    n.mutable_metadata()->set_name("node-" + std::to_string(i));
    auto& allocatable = *n.mutable_status()->mutable_allocatable();
    allocatable["cpu"].set_string("64");
    allocatable["memory"].set_string("64Gi");
    allocatable["pods"].set_string("110");
    auto made = Await(user_.Create<Node>(ctx_, n));
    CHECK_MSG(made.has_value(), made ? "" : made.error().message());
    if (made->status().allocatable().empty()) {
      *made->mutable_status() = n.status();
      CHECK(Await(user_.UpdateStatus<Node>(ctx_, *made)).has_value());
    }
  }
  servers_->Spawn(pods_.Run(servers_->context()));
  servers_->Spawn(sets_.Run(servers_->context()));
  servers_->Spawn(deployments_.Run(servers_->context()));

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
  processes_.push_back(std::make_unique<Process>(executor_, [this]() -> Process::Body {
    auto events = std::make_shared<client::EventRecorder>(executor_, scheduler_client_, "default-scheduler", "sim",
                                                          client::EventStyle::kSeries);
    auto s = std::make_shared<scheduler::Scheduler>(executor_, scheduler_client_, *events, executor_.random().Fork(),
                                                    metrics_);
    // The recorder is named so that it outlives the scheduler; its events are not sent here.
    return [events, s](base::Context ctx) { return s->Run(std::move(ctx)); };
  }));
  for (int i = 0; i < nodes_; ++i)
    processes_.push_back(std::make_unique<Process>(executor_, [this, i]() -> Process::Body {
      auto kubelet = std::make_shared<SimKubelet>(executor_, kubelet_client_, "node-" + std::to_string(i));
      return [kubelet](base::Context ctx) { return kubelet->Run(std::move(ctx)); };
    }));
  for (auto& p : processes_) p->Start();
}

// --- users ---

Deployment Cluster::Wanted(const std::string& name) {
  Deployment d;
  d.mutable_metadata()->set_namespace_("default");
  d.mutable_metadata()->set_name(name);
  auto* spec = d.mutable_spec();
  spec->set_replicas(static_cast<int>(executor_.random().Below(7)));
  (*spec->mutable_selector()->mutable_matchlabels())["app"] = name;
  (*spec->mutable_template_()->mutable_metadata()->mutable_labels())["app"] = name;
  auto* c = spec->mutable_template_()->mutable_spec()->add_containers();
  c->set_name("c");
  c->set_image("image:" + std::to_string(next_template_++));
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
  std::string name(1, static_cast<char>('a' + random.Below(3)));
  auto there = Await(user_.Get<Deployment>(ctx_, "default", name));
  if (!there) {
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

std::string Cluster::WhyNot() {
  std::set<std::string> uids;
  std::map<std::string, int32_t> wanted;  // replica set uid -> replicas
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
  for (const auto& pod : pods_.List()) {
    const auto* owner = Owner(pod->metadata());
    if (!owner || !wanted.contains(owner->uid())) return "pod " + pod->metadata().name() + " is an orphan";
    if (pod->metadata().has_deletiontimestamp() && pod->spec().nodename() == dead_) continue;
    if (pod->metadata().has_deletiontimestamp()) return "pod " + pod->metadata().name() + " is being deleted";
    if (pod->status().phase() != "Running") return "pod " + pod->metadata().name() + " does not run";
    --wanted[owner->uid()];
  }
  for (const auto& [uid, left] : wanted)
    if (left != 0) return "a replica set has a wrong number of pods";
  return "";
}

bool Cluster::Converged() { return WhyNot().empty(); }

// Power off. The others take over what ran there; nobody ends a pod whose node cannot say that it has ended.
void Cluster::LoseNode() {
  size_t index = executor_.random().Below(static_cast<uint64_t>(nodes_));
  dead_ = "node-" + std::to_string(index);
  auto& kubelet = *processes_[processes_.size() - static_cast<size_t>(nodes_) + index];
  Say("lose " + dead_);
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
    if (random.OneIn(4)) Restart();
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
  report_.simulated_seconds = std::chrono::duration<double>(executor_.Now().time_since_epoch()).count();
  return report_;
}
}  // namespace

Report Run(uint64_t seed, bool verbose) { return Cluster(seed, verbose).Run(); }

}  // namespace sim::cluster
