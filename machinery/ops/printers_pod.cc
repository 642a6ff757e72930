#include <optional>

#include "machinery/object/meta.h"
#include "machinery/object/time.h"
#include "machinery/ops/printers.h"
#include "machinery/ops/table.h"

namespace machinery::ops::printers {
namespace {

using value::Value;

constexpr const char* kNone = "<none>";

template <class F>
void ForEach(const Value& list, F f) {
  if (!list.is_list()) return;
  for (const Value& v : list.list()) f(v);
}

size_t Size(const Value& list) { return list.is_list() ? list.list().size() : 0; }

// A sidecar: an init container that is restarted and so runs beside the others.
bool IsSidecar(const Value& pod, std::string_view name) {
  const Value& list = pod.At("spec", "initContainers");
  if (!list.is_list()) return false;
  for (const Value& c : list.list())
    if (c.At("name").string_or() == name) return c.At("restartPolicy").string_or() == "Always";
  return false;
}

std::string EndOf(const Value& terminated) {
  if (std::string_view reason = terminated.At("reason").string_or(); !reason.empty()) return std::string(reason);
  if (int64_t signal = terminated.At("signal").int_or(); signal != 0) return "Signal:" + std::to_string(signal);
  return "ExitCode:" + std::to_string(terminated.At("exitCode").int_or());
}

// Everything the Ready, Status and Restarts cells say; one walk over the statuses fills all three.
struct Summary {
  std::string reason;
  int64_t restarts = 0, ready = 0, total = 0;
  std::optional<object::Time> last_restart;
};

struct Restarts {
  int64_t count = 0;
  std::optional<object::Time> last;

  void Add(const Value& status) {
    count += status.At("restartCount").int_or();
    std::string_view finished = status.At("lastState", "terminated", "finishedAt").string_or();
    if (finished.empty()) return;
    auto t = object::ParseTime(finished);
    if (t && (!last || last->seconds < t->seconds)) last = *t;
  }
};

class Summarizer {
 public:
  explicit Summarizer(const Value& pod) : pod_(pod), status_(pod.At("status")) {}

  Summary Run() {
    s_.total = static_cast<int64_t>(Size(pod_.At("spec", "containers")));
    ForEach(pod_.At("spec", "initContainers"), [&](const Value& c) {
      if (c.At("restartPolicy").string_or() == "Always") ++s_.total;
    });
    phase_ = status_.At("phase").string_or();
    s_.reason = status_.At("reason").string_or(phase_);
    if (s_.reason.empty()) s_.reason = phase_;
    if (Condition(status_.At("conditions"), "PodScheduled").At("reason").string_or() == "SchedulingGated")
      s_.reason = "SchedulingGated";
    bool initializing = InitContainers();
    bool initialized = Condition(status_.At("conditions"), "Initialized").At("status").string_or() == "True";
    if (!initializing || initialized) {
      restarts_ = sidecar_restarts_;
      MainContainers();
    }
    Deletion();
    s_.restarts = restarts_.count;
    s_.last_restart = restarts_.last;
    return std::move(s_);
  }

 private:
  // True while the pod is held up by an init container; the reason then says by which.
  bool InitContainers() {
    const Value& list = status_.At("initContainerStatuses");
    for (size_t i = 0; i < Size(list); ++i) {
      const Value& c = list.list()[i];
      restarts_.Add(c);
      bool sidecar = IsSidecar(pod_, c.At("name").string_or());
      if (sidecar) sidecar_restarts_.Add(c);
      const Value& terminated = c.At("state", "terminated");
      if (terminated.is_map() && terminated.At("exitCode").int_or() == 0) continue;
      if (sidecar && c.At("started").bool_or()) {
        if (c.At("ready").bool_or()) ++s_.ready;
        continue;
      }
      std::string_view waiting = c.At("state", "waiting", "reason").string_or();
      if (terminated.is_map()) {
        s_.reason = "Init:" + EndOf(terminated);
      } else if (!waiting.empty() && waiting != "PodInitializing") {
        s_.reason = "Init:" + std::string(waiting);
      } else {
        s_.reason = "Init:" + std::to_string(i) + "/" + std::to_string(Size(pod_.At("spec", "initContainers")));
      }
      return true;
    }
    return false;
  }

  void MainContainers() {
    const Value& list = status_.At("containerStatuses");
    bool running = false;
    std::string error;
    for (size_t i = Size(list); i-- > 0;) {
      const Value& c = list.list()[i];
      restarts_.Add(c);
      std::string_view waiting = c.At("state", "waiting", "reason").string_or();
      const Value& terminated = c.At("state", "terminated");
      if (!waiting.empty()) {
        s_.reason = waiting;
      } else if (terminated.is_map()) {
        s_.reason = EndOf(terminated);
        if (terminated.At("exitCode").int_or() != 0) error = s_.reason;
      } else if (c.At("ready").bool_or() && c.At("state", "running").is_map()) {
        running = true;
        ++s_.ready;
      }
    }
    if (s_.reason != "Completed") return;
    bool pod_ready = Condition(status_.At("conditions"), "Ready").At("status").string_or() == "True";
    if (running && pod_ready) {
      s_.reason = "Running";
    } else if (!error.empty()) {
      s_.reason = error;
    } else if (running) {
      s_.reason = "NotReady";
    }
  }

  void Deletion() {
    if (!object::IsDeleting(pod_)) return;
    if (status_.At("reason").string_or() == "NodeLost") {
      s_.reason = "Unknown";
    } else if (phase_ != "Succeeded" && phase_ != "Failed") {
      s_.reason = "Terminating";
    }
  }

  const Value& pod_;
  const Value& status_;
  std::string_view phase_;
  Summary s_;
  Restarts restarts_, sidecar_restarts_;
};

}  // namespace

Value PodReady(const Value& o, base::WallTime) {
  Summary s = Summarizer(o).Run();
  return Value(std::to_string(s.ready) + "/" + std::to_string(s.total));
}

Value PodStatus(const Value& o, base::WallTime) { return Value(Summarizer(o).Run().reason); }

Value PodRestarts(const Value& o, base::WallTime now) {
  Summary s = Summarizer(o).Run();
  std::string text = std::to_string(s.restarts);
  if (s.restarts != 0 && s.last_restart) text += " (" + Age(object::FormatTime(s.last_restart->seconds), now) + " ago)";
  return Value(std::move(text));
}

Value PodIp(const Value& o, base::WallTime) {
  const Value& ips = o.At("status", "podIPs");
  std::string_view ip = Size(ips) > 0 ? ips.At(size_t{0}).At("ip").string_or() : "";
  return Value(ip.empty() ? std::string_view(kNone) : ip);
}

Value PodReadinessGates(const Value& o, base::WallTime) {
  const Value& gates = o.At("spec", "readinessGates");
  if (Size(gates) == 0) return Value(kNone);
  int met = 0;
  ForEach(gates, [&](const Value& gate) {
    const Value& c = Condition(o.At("status", "conditions"), gate.At("conditionType").string_or());
    if (c.At("status").string_or() == "True") ++met;
  });
  return Value(std::to_string(met) + "/" + std::to_string(Size(gates)));
}

Value PodCertificateRequestState(const Value& o, base::WallTime) {
  std::string_view state = "Pending";
  ForEach(o.At("status", "conditions"), [&](const Value& c) {
    std::string_view type = c.At("type").string_or();
    if (type == "Issued" || type == "Denied" || type == "Failed") state = type;
  });
  return Value(state);
}

Value PodGroupPolicy(const Value& o, base::WallTime) {
  return Value(o.At("spec", "schedulingPolicy", "gang").is_null() ? "Basic" : "Gang");
}

Value PodGroupStatus(const Value& o, base::WallTime) {
  const Value& conditions = o.At("status", "conditions");
  if (const Value& target = Condition(conditions, "DisruptionTarget"); target.is_map())
    return Value(target.At("reason").string_or());
  const Value& scheduled = Condition(conditions, "PodGroupScheduled");
  if (!scheduled.is_map()) return Value("Pending");
  return Value(scheduled.At("status").string_or() == "True" ? "Scheduled" : "Unschedulable");
}

}  // namespace machinery::ops::printers
