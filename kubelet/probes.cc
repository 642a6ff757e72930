#include "kubelet/probes.h"

#include <algorithm>

namespace kubelet {

// One running container under observation.
struct Probes::Container {
  PodPtr pod;
  std::string uid, name, id, pod_ip;
  api::Container spec;
  base::MonoTime seen;
  int64_t started_at = 0;
  bool sidecar = false;
  Result startup = Result::kUnknown, liveness = Result::kSuccess, readiness = Result::kFailure;
  bool has_startup = false, has_readiness = false;
  base::Context ctx;  // ends all of its probes
  base::Context liveness_ctx;
  bool started() const { return !has_startup || startup == Result::kSuccess; }
};

Probes::Probes(Parts parts, base::Context ctx)
    : parts_(std::move(parts)), scope_(parts_.executor, ctx), began_(parts_.executor.Now()) {
  if (parts_.metrics)
    total_ = &parts_.metrics->AddCounter(
        "prober_probe_total", "Cumulative number of a liveness, readiness or startup probe for a container by result.",
        {"probe_type", "result", "container", "pod", "namespace", "pod_uid"});
}

Probes::~Probes() = default;

base::Task<void> Probes::Stop() { co_await scope_.CancelAndJoin(); }

const char* Probes::Name(Kind kind) {
  switch (kind) {
    case Kind::kStartup:
      return "Startup";
    case Kind::kLiveness:
      return "Liveness";
    case Kind::kReadiness:
      return "Readiness";
  }
  return "";
}

const Probes::Container* Probes::Find(const std::string& id) const {
  auto it = containers_.find(id);
  return it == containers_.end() ? nullptr : it->second.get();
}

namespace {

// What the API knew of this very container before.
const api::ContainerStatus* Before(const api::Pod& pod, const std::string& id) {
  for (const auto* list : {&pod.status().containerstatuses(), &pod.status().initcontainerstatuses()})
    for (const auto& s : *list)
      if (s.containerid().ends_with("//" + id)) return &s;
  return nullptr;
}

}  // namespace

void Probes::Update(PodPtr pod, const ObservedPod& observed) {
  const std::string& uid = RuntimeUid(*pod);
  std::set<std::string> running;
  for (const auto& o : observed.containers) {
    if (o.state != ContainerState::kRunning) continue;
    ContainerPtr spec = FindContainer(*pod, o.name);
    if (!spec || IsEphemeralContainer(*pod, o.name)) continue;
    bool init = IsInitContainer(*pod, o.name);
    if (init && !IsSidecar(*spec)) continue;
    running.insert(o.id);
    std::string ip = pod->spec().hostnetwork() ? pod->status().hostip() : "";
    if (ip.empty() && !observed.sandboxes.empty() && !observed.sandboxes.front().ips.empty())
      ip = observed.sandboxes.front().ips.front();
    auto& slot = containers_[o.id];
    if (slot) {
      slot->pod = pod;
      if (!ip.empty()) slot->pod_ip = ip;
      continue;
    }
    slot = std::make_shared<Container>();
    Container& c = *slot;
    c.pod = pod;
    c.uid = uid;
    c.name = o.name;
    c.id = o.id;
    c.pod_ip = ip.empty() ? "127.0.0.1" : ip;
    c.spec = *spec;
    c.seen = parts_.executor.Now();
    c.started_at = o.started_at;
    c.sidecar = init;
    c.has_startup = spec->has_startupprobe();
    c.has_readiness = spec->has_readinessprobe();
    c.ctx = scope_.context().WithCancel();
    c.liveness_ctx = c.ctx.WithCancel();
    // A container that ran and was ready before this kubelet started stays so until a probe says otherwise.
    if (const auto* before = Before(*pod, o.id)) {
      if (before->started()) c.startup = Result::kSuccess;
      if (before->ready()) c.readiness = Result::kSuccess;
    }
    if (spec->has_startupprobe()) StartProbe(slot, Kind::kStartup, spec->startupprobe());
    if (spec->has_livenessprobe()) StartProbe(slot, Kind::kLiveness, spec->livenessprobe());
    if (spec->has_readinessprobe()) StartProbe(slot, Kind::kReadiness, spec->readinessprobe());
  }
  std::erase_if(containers_, [&](auto& e) {
    if (e.second->uid != uid || running.contains(e.first)) return false;
    e.second->ctx.Cancel();
    return true;
  });
}

void Probes::Remove(const std::string& uid) {
  std::erase_if(containers_, [&](auto& e) {
    if (e.second->uid != uid) return false;
    e.second->ctx.Cancel();
    return true;
  });
}

void Probes::StopLiveness(const std::string& uid) {
  for (auto& [id, c] : containers_)
    if (c->uid == uid) c->liveness_ctx.Cancel();
}

plan::ProbeView Probes::View(const std::string& uid, const api::Pod& pod, const ObservedPod& observed) const {
  plan::ProbeView out;
  for (const auto& o : observed.containers) {
    if (o.state != ContainerState::kRunning) continue;
    const Container* c = Find(o.id);
    if (!c) {
      ContainerPtr spec = FindContainer(pod, o.name);
      if (spec && !spec->has_startupprobe()) out.started.insert(o.id);
      continue;
    }
    if (c->liveness == Result::kFailure) out.liveness_failed.insert(o.id);
    if (c->startup == Result::kFailure) out.startup_failed.insert(o.id);
    if (c->started()) out.started.insert(o.id);
  }
  return out;
}

std::set<std::string> Probes::Ready(const api::Pod& pod, const ObservedPod& observed) const {
  std::set<std::string> out;
  for (const auto& o : observed.containers) {
    if (o.state != ContainerState::kRunning) continue;
    const Container* c = Find(o.id);
    ContainerPtr spec = FindContainer(pod, o.name);
    if (!c) {
      if (spec && !spec->has_startupprobe() && !spec->has_readinessprobe()) out.insert(o.id);
      continue;
    }
    if (c->started() && (!c->has_readiness || c->readiness == Result::kSuccess)) out.insert(o.id);
  }
  return out;
}

void Probes::StartProbe(std::shared_ptr<Container> container, Kind kind, const api::Probe& probe) {
  scope_.Spawn(Run(std::move(container), kind, probe));
}

void Probes::Show(const Container& c, Kind kind, const checks::Outcome& o) {
  if (total_)
    total_
        ->With({Name(kind),
                o.verdict == checks::Verdict::kSuccess   ? "successful"
                : o.verdict == checks::Verdict::kFailure ? "failed"
                                                         : "unknown",
                c.name, c.pod->metadata().name(), c.pod->metadata().namespace_(), c.uid})
        .Add();
  if (o.verdict != checks::Verdict::kSuccess) {
    std::string what =
        std::string(Name(kind)) + " probe " +
        (o.verdict == checks::Verdict::kUnknown ? "errored and resulted in unknown state: " : "failed: ") + o.output;
    parts_.events.Pod(*c.pod, c.name, "Warning", "Unhealthy", what);
  }
  if (o.warning)
    parts_.events.Pod(*c.pod, c.name, "Warning", "ProbeWarning",
                      std::string(Name(kind)) + " probe warning: " + o.output);
}

base::Task<void> Probes::Run(std::shared_ptr<Container> c, Kind kind, api::Probe probe) {
  base::Context ctx = kind == Kind::kReadiness ? c->ctx : c->liveness_ctx;
  const auto period = std::chrono::seconds(std::max(1, probe.periodseconds() ? probe.periodseconds() : 10));
  const int failures_needed =
      kind == Kind::kStartup || probe.failurethreshold() > 0 ? std::max(1, probe.failurethreshold()) : 3;
  const int successes_needed = std::max(1, probe.successthreshold());
  // Right after a start of the kubelet all pods come at once: spread them over their period.
  if (parts_.executor.Now() - began_ < period) {
    auto spread = base::Duration(
        static_cast<int64_t>(parts_.random.Unit() * static_cast<double>(base::Duration(period).count())));
    if (spread > std::chrono::milliseconds(50) && c->started_at + 2'000'000'000 < WallNanos(parts_.executor.clock()))
      if (!(co_await base::Sleep(parts_.executor, ctx, spread)).ok()) co_return;
  }
  checks::Verdict last = checks::Verdict::kUnknown;
  int run = 0;
  bool held = false;
  while (ctx.status().ok()) {
    int64_t age_s = (WallNanos(parts_.executor.clock()) - c->started_at) / 1'000'000'000;
    bool due = age_s >= probe.initialdelayseconds() && !held;
    if (kind == Kind::kStartup && c->startup == Result::kSuccess) co_return;
    if (kind != Kind::kStartup && !c->started()) due = false;
    if (due) {
      checks::Outcome o = co_await Once(ctx, c, probe);
      if (!ctx.status().ok()) co_return;
      Show(*c, kind, o);
      // A check that could not be made changes nothing.
      if (o.verdict != checks::Verdict::kUnknown) {
        run = o.verdict == last ? run + 1 : 1;
        last = o.verdict;
        bool enough = run >= (last == checks::Verdict::kSuccess ? successes_needed : failures_needed);
        if (enough) Turn(*c, kind, last == checks::Verdict::kSuccess ? Result::kSuccess : Result::kFailure);
        // After the verdict that ends a container there is nothing more to ask of it.
        if (enough && last == checks::Verdict::kFailure && kind != Kind::kReadiness) held = true;
      }
    }
    // Until it may be asked, look often: a container shall not wait a whole period for its first probe.
    base::Duration wait = period;
    if (!due && !held && kind != Kind::kStartup && !c->started())
      wait = std::min<base::Duration>(period, std::chrono::seconds(1));
    if (!(co_await base::Sleep(parts_.executor, ctx, wait)).ok()) co_return;
  }
}

base::Task<checks::Outcome> Probes::Once(base::Context ctx, std::shared_ptr<Container> c, const api::Probe& probe) {
  base::Duration timeout = std::chrono::seconds(std::max(1, probe.timeoutseconds()));
  const auto& h = probe.handler();
  checks::Outcome out;
  for (int attempt = 0; attempt < 3; ++attempt) {
    if (h.has_exec()) {
      std::vector<std::string> command(h.exec().command().begin(), h.exec().command().end());
      out = co_await checks::Exec(ctx, parts_.runtime, c->id, std::move(command), timeout);
    } else if (h.has_httpget()) {
      auto target = checks::TargetOf(h.httpget(), c->spec, c->pod_ip);
      if (target)
        out = co_await parts_.network.HttpGet(ctx, std::move(*target), timeout);
      else
        out = {checks::Verdict::kUnknown, std::string(target.error().message())};
    } else if (h.has_tcpsocket()) {
      std::string host = h.tcpsocket().host().empty() ? c->pod_ip : h.tcpsocket().host();
      auto port = checks::PortOf(h.tcpsocket().port(), c->spec);
      if (port)
        out = co_await parts_.network.TcpConnect(ctx, std::move(host), *port, timeout);
      else
        out = {checks::Verdict::kUnknown, std::string(port.error().message())};
    } else if (h.has_grpc()) {
      out = co_await parts_.network.GrpcHealth(ctx, c->pod_ip, h.grpc().port(), h.grpc().service(), timeout);
    } else {
      co_return checks::Outcome{checks::Verdict::kSuccess, ""};
    }
    if (out.verdict != checks::Verdict::kUnknown) break;
  }
  co_return out;
}

void Probes::Turn(Container& c, Kind kind, Result result) {
  Result& slot = kind == Kind::kStartup ? c.startup : kind == Kind::kLiveness ? c.liveness : c.readiness;
  if (slot == result) return;
  slot = result;
  if (on_change) on_change(c.uid);
}

}  // namespace kubelet
