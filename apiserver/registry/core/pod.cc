// Pods: graceful deletion, QoS class, binding to a node, eviction under disruption budgets, and the narrow ways in
// which a pod may change.
#include "apiserver/registry/core/pod.h"

#include <algorithm>

#include "apiserver/registry/core/pod_fields.h"
#include "apiserver/registry/registry.h"
#include "apiserver/registry/validation/validation.h"
#include "machinery/object/meta.h"
#include "machinery/object/quantity.h"
#include "machinery/object/time.h"
#include "machinery/ops/selector.h"

namespace apiserver::registry {

namespace object = machinery::object;
using machinery::schema::Kind;
using machinery::value::List;
using machinery::value::Map;

namespace {

constexpr int kMaxDisruptedPods = 2000;

std::string Now(const Operation& op) {
  auto now = std::chrono::floor<std::chrono::seconds>(op.registry->executor().WallNow());
  return object::FormatTime(now.time_since_epoch().count());
}

Value Success(int code) {
  return Map{{"kind", "Status"}, {"apiVersion", "v1"}, {"metadata", Map{}}, {"status", "Success"}, {"code", code}};
}

// Sets a condition; its transition time moves when the status does.
void SetCondition(Value& pod, Map condition, const std::string& now) {
  Value& conditions = pod.Ensure("status").Ensure("conditions");
  if (!conditions.is_list()) conditions = Value(List{});
  const std::string type = condition.Find("type")->as_string();
  for (auto& c : conditions.list()) {
    if (c.At("type").string_or() != type) continue;
    bool same = c.At("status") == *condition.Find("status");
    condition.Set("lastTransitionTime", same ? c.At("lastTransitionTime") : Value(now));
    c = Value(std::move(condition));
    return;
  }
  condition.Set("lastTransitionTime", now);
  conditions.list().emplace_back(std::move(condition));
}

// --- binding ---

FieldErrors CheckBinding(const Value& binding) {
  FieldErrors errors;
  std::string kind(binding.At("target", "kind").string_or());
  if (!kind.empty() && kind != "Node") errors.push_back(object::NotSupported("target.kind", kind, {"Node", "<empty>"}));
  if (binding.At("target", "name").string_or().empty()) errors.push_back(object::Required("target.name"));
  return errors;
}

// Why a pod cannot be bound to a node ("" = it can).
std::string WhyNotBindable(const Value& pod) {
  std::string name(object::NameOf(pod)), node(pod.At("spec", "nodeName").string_or());
  if (object::IsDeleting(pod)) return "pod " + name + " is being deleted, cannot be assigned to a host";
  if (!node.empty()) return "pod " + name + " is already assigned to node \"" + node + "\"";
  const Value& gates = pod.At("spec", "schedulingGates");
  if (gates.is_list() && !gates.list().empty())
    return "pod " + name + " has non-empty .spec.schedulingGates, cannot be assigned to a host";
  return {};
}

base::Task<base::Result<Value>> Bind(Operation op, std::string ns, std::string name, Value binding) {
  if (auto errors = CheckBinding(binding); !errors.empty())
    co_return base::Err(object::Unclassified(object::Aggregate(errors)));
  Store* pods = op.registry->FindStore("", "pods");
  auto change = [&](Value& pod) -> base::Status {
    std::string uid(object::UidOf(binding)), have(object::UidOf(pod));
    if (!uid.empty() && uid != have)
      return object::Conflict({"", "pods/binding"}, name,
                              "Precondition failed: UID in precondition: " + uid + ", UID in object meta: " + have);
    if (auto why = WhyNotBindable(pod); !why.empty()) return object::Conflict({"", "pods/binding"}, name, why);
    pod.Ensure("spec").Set("nodeName", binding.At("target", "name"));
    for (std::string_view field : {"annotations", "labels"})
      if (const Value& extra = object::MetaOf(binding).At(field); extra.is_map())
        for (const auto& e : extra.map()) pod.Ensure("metadata").Ensure(field).Set(e.key, e.value);
    SetCondition(pod, Map{{"type", "PodScheduled"}, {"status", "True"}}, Now(op));
    pod.Ensure("status").Remove("nominatedNodeName");
    return base::Ok();
  };
  if (!op.dry_run) CO_TRY(co_await pods->Modify(op.ctx, ns, name, change));
  co_return Success(201);
}

// --- eviction ---

base::Status BudgetSaysNo(std::string message) {
  object::ApiError e;
  e.code = 429;
  e.reason = "TooManyRequests";
  e.has_details = true;
  e.causes.push_back({"DisruptionBudget", std::move(message), ""});
  return base::Status(base::Code::kResourceExhausted,
                      "Cannot evict pod as it would violate the pod's disruption budget.",
                      std::make_shared<const object::ApiError>(std::move(e)));
}

bool Ready(const Value& pod) {
  const Value& conditions = pod.At("status", "conditions");
  if (!conditions.is_list()) return false;
  for (const auto& c : conditions.list())
    if (c.At("type").string_or() == "Ready") return c.At("status").string_or() == "True";
  return false;
}

// Takes one disruption from the budget, so that others see it before the controller has counted again.
base::Status TakeDisruption(Value& budget, const std::string& pod, const std::string& now) {
  const Value& status = budget.At("status");
  std::string name(object::NameOf(budget));
  if (status.At("observedGeneration").int_or() < object::GenerationOf(budget)) {
    auto s = object::TooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", 10);
    return s;
  }
  int64_t allowed = status.At("disruptionsAllowed").int_or();
  if (allowed < 0)
    return object::Forbidden({"policy", "poddisruptionbudgets"}, name, "pdb disruptions allowed is negative");
  const Value& disrupted = status.At("disruptedPods");
  if (disrupted.is_map() && disrupted.map().size() > kMaxDisruptedPods)
    return object::Forbidden({"policy", "poddisruptionbudgets"}, name,
                             "DisruptedPods map too big - too many evictions not confirmed by PDB controller");
  if (allowed == 0)
    return BudgetSaysNo("The disruption budget " + name + " needs " +
                        std::to_string(status.At("desiredHealthy").int_or()) + " healthy pods and has " +
                        std::to_string(status.At("currentHealthy").int_or()) + " currently");
  Value& s = budget.Ensure("status");
  s.Set("disruptionsAllowed", allowed - 1);
  s.Ensure("disruptedPods").Set(pod, now);
  return base::Ok();
}

base::Task<base::Status> AskBudgets(Operation op, const std::string& ns, const Value& pod) {
  std::string phase(pod.At("status", "phase").string_or());
  // What is over, going or not running yet holds up nobody.
  if (phase == "Succeeded" || phase == "Failed" || phase == "Pending" || object::IsDeleting(pod)) co_return base::Ok();
  Store* budgets = op.registry->FindStore("policy", "poddisruptionbudgets");
  if (!budgets) co_return base::Ok();
  std::vector<std::string> matching;
  budgets->cache().ForEach([&](const ObjectPtr& o) {
    if (o->namespace_name() != ns) return true;
    Value budget = o->Tree();
    auto selector = machinery::ops::LabelSelector::FromObject(budget.At("spec", "selector"));
    if (selector && selector->Matches(object::LabelsOf(pod))) matching.emplace_back(o->name());
    return true;
  });
  if (matching.size() > 1)
    co_return object::Unclassified(
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.");
  if (matching.empty()) co_return base::Ok();
  ObjectPtr budget = budgets->Cached(ns, matching[0]);
  if (budget && !Ready(pod)) {
    Value b = budget->Tree();
    bool always = b.At("spec", "unhealthyPodEvictionPolicy").string_or() == "AlwaysAllow";
    bool healthy_enough = b.At("status", "currentHealthy").int_or() >= b.At("status", "desiredHealthy").int_or() &&
                          b.At("status", "desiredHealthy").int_or() > 0;
    if (always || healthy_enough) co_return base::Ok();
  }
  if (op.dry_run) {
    if (!budget) co_return base::Ok();
    Value b = budget->Tree();
    co_return TakeDisruption(b, std::string(object::NameOf(pod)), Now(op));
  }
  auto done = co_await budgets->Modify(
      op.ctx, ns, matching[0], [&](Value& b) { return TakeDisruption(b, std::string(object::NameOf(pod)), Now(op)); });
  co_return done ? base::Ok() : done.error();
}

base::Task<base::Result<Value>> Evict(Operation op, std::string ns, std::string name, Value eviction) {
  std::string given(object::NameOf(eviction));
  if (!given.empty() && given != name)
    co_return base::Err(object::BadRequest("name in URL does not match name in Eviction object"));
  Store* pods = op.registry->FindStore("", "pods");
  CO_TRY_ASSIGN(ObjectPtr pod, co_await pods->Fresh(op.ctx, ns, name));
  if (!pod) co_return base::Err(object::NotFound({"", "pods"}, name));
  CO_TRY(co_await AskBudgets(op, ns, pod->Tree()));
  Request r;
  r.verb = machinery::request::Verb::kDelete;
  r.group = "";
  r.version = "v1";
  r.resource = "pods";
  r.namespace_name = ns;
  r.name = name;
  r.identity = op.request->identity;
  r.user_agent = op.request->user_agent;
  const Value& o = eviction.At("deleteOptions");
  if (const Value& v = o.At("gracePeriodSeconds"); !v.is_null()) r.options.grace_period_seconds = v.int_or();
  if (const Value& v = o.At("propagationPolicy"); !v.is_null()) r.options.propagation_policy = v.string_or();
  if (const Value& v = o.At("preconditions", "uid"); !v.is_null()) r.options.precondition_uid = v.string_or();
  if (const Value& v = o.At("preconditions", "resourceVersion"); !v.is_null())
    r.options.precondition_resource_version = v.string_or();
  if (op.dry_run || (o.At("dryRun").is_list() && !o.At("dryRun").list().empty())) r.options.dry_run = {"All"};
  CO_TRY(co_await pods->Delete(op.ctx, pods->strategy().kind(), r));
  co_return Success(201);
}

// --- the strategy ---

class PodStrategy final : public Strategy {
 public:
  using Strategy::Strategy;

  void PrepareForCreate(const Operation& op, Value& pod) const override {
    object::SetGeneration(pod, 1);
    Map status{{"phase", "Pending"}, {"qosClass", std::string(QosClassOf(pod))}};
    pod.Set("status", Value(std::move(status)));
    const Value& gates = pod.At("spec", "schedulingGates");
    if (gates.is_list() && !gates.list().empty())
      SetCondition(pod,
                   Map{{"type", "PodScheduled"},
                       {"status", "False"},
                       {"reason", "SchedulingGated"},
                       {"message", "Scheduling is blocked due to non-empty scheduling gates"}},
                   Now(op));
    MatchOwnLabels(pod);
    // Said here and not with the other warnings: afterwards the field is there.
    for (std::string& warning : AppArmorFromAnnotations(pod))
      if (op.warnings) op.warnings->push_back(std::move(warning));
  }
  FieldErrors Validate(const Operation&, const Value& pod) const override { return validation::ValidatePod(pod); }
  FieldErrors ValidateUpdate(const Operation&, const Value& pod, const Value& old) const override {
    return validation::ValidatePodUpdate(pod, old);
  }
  std::optional<int64_t> GracePeriod(const Value& pod, std::optional<int64_t> requested) const override {
    int64_t period = requested.value_or(pod.At("spec", "terminationGracePeriodSeconds").int_or());
    std::string_view phase = pod.At("status", "phase").string_or();
    if (pod.At("spec", "nodeName").string_or().empty() || phase == "Failed" || phase == "Succeeded") period = 0;
    return period < 0 ? 1 : period;
  }
  std::vector<storage::SelectableField> SelectableFields() const override {
    std::vector<storage::SelectableField> out;
    for (std::string_view path :
         {"spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork",
          "status.phase", "status.podIP", "status.nominatedNodeName"})
      out.push_back(FieldOf(*kind_.type, path));
    return out;
  }
  std::map<std::string, Subresource> Subresources(Registry& registry) const override {
    auto out = Strategy::Subresources(registry);
    const auto& schema = registry.schema();
    Subresource& status = out["status"];
    auto inherited = status.prepare;
    status.prepare = [inherited](const Operation& op, Value& pod, const Value& old) {
      inherited(op, pod, old);
      if (pod.At("status", "qosClass").string_or().empty() && !old.At("status", "qosClass").is_null())
        pod.Ensure("status").Set("qosClass", old.At("status", "qosClass"));
      KeepObservedGenerations(pod, old);
    };
    status.validate = [](const Operation&, const Value& pod, const Value& old) {
      return validation::ValidatePodStatusUpdate(pod, old);
    };
    out["ephemeralcontainers"] = SpecView("ephemeralContainers", validation::ValidatePodEphemeralContainersUpdate);
    Subresource& resize = out["resize"];
    resize.prepare = PrepareResize;
    resize.validate = ValidateResize;
    Subresource& binding = out["binding"];
    binding.action_type = schema.FindObject("", "v1", "Binding");
    binding.act = [](Operation op, Value body) { return ActBind(std::move(op), std::move(body)); };
    Subresource& eviction = out["eviction"];
    eviction.action_type = schema.FindObject("policy", "v1", "Eviction");
    eviction.act = [](Operation op, Value body) { return ActEvict(std::move(op), std::move(body)); };
    return out;
  }

 private:
  using UpdateCheck = FieldErrors (*)(const Value& pod, const Value& old);
  // Only one list of the spec changes; a change is a new generation.
  static Subresource SpecView(std::string_view field, UpdateCheck check) {
    Subresource s;
    s.prepare = [field](const Operation&, Value& pod, const Value& old) {
      Value changed = pod.At("spec", field);
      Value next = WithMeta(old, pod);
      if (!(changed == old.At("spec", field))) object::SetGeneration(next, object::GenerationOf(old) + 1);
      if (changed.is_null())
        next.Ensure("spec").Remove(field);
      else
        next.Ensure("spec").Set(field, std::move(changed));
      pod = std::move(next);
    };
    s.validate = [check](const Operation&, const Value& pod, const Value& old) { return check(pod, old); };
    return s;
  }

  // `old` with the metadata that a write to one of its views may bring (resourceVersion and the like).
  static Value WithMeta(const Value& old, const Value& pod) {
    Value next = old;
    next.Set("metadata", pod.At("metadata"));
    for (std::string_view field : {"labels", "annotations", "finalizers", "ownerReferences"})
      object::SetMeta(next, field, object::MetaOf(old).At(field));
    return next;
  }

  // Containers as they were but for what resizing changes. Where they are not the same ones, the new list stays as it
  // came: validation says what is wrong with it.
  static Value ResizedContainers(const Value& now, const Value& before) {
    if (!now.is_list() || !before.is_list()) return now;
    Value out = before;
    for (size_t i = 0; i < now.list().size(); ++i) {
      const Value& container = now.list()[i];
      if (!(container.At("name") == before.list()[i].At("name"))) return now;
      for (std::string_view field : {"resources", "resizePolicy"}) {
        Value& kept = out.list()[i];
        if (container.At(field).is_null())
          kept.Remove(field);
        else
          kept.Set(field, container.At(field));
      }
    }
    return out;
  }

  static void PrepareResize(const Operation&, Value& pod, const Value& old) {
    auto count = [](const Value& p, std::string_view list) {
      return p.At("spec", list).is_list() ? p.At("spec", list).list().size() : 0;
    };
    for (std::string_view list : {"containers", "initContainers"})
      if (count(pod, list) != count(old, list)) return;
    Value next = WithMeta(old, pod);
    Value& spec = next.Ensure("spec");
    for (std::string_view list : {"containers", "initContainers"})
      if (count(pod, list) > 0) spec.Set(list, ResizedContainers(pod.At("spec", list), old.At("spec", list)));
    if (pod.At("spec", "resources").is_null())
      spec.Remove("resources");
    else
      spec.Set("resources", pod.At("spec", "resources"));
    if (!(next.At("spec") == old.At("spec"))) object::SetGeneration(next, object::GenerationOf(old) + 1);
    pod = std::move(next);
  }

  static FieldErrors ValidateResize(const Operation&, const Value& pod, const Value& old) {
    FieldErrors errors = validation::ValidatePodResize(pod, old);
    std::string was(old.At("status", "qosClass").string_or());
    if (was.empty()) was = QosClassOf(old);
    if (was != QosClassOf(pod))
      errors.push_back(object::Invalid("spec", pod.At("status", "qosClass"),
                                       "Pod QOS Class may not change as a result of resizing"));
    return errors;
  }

  static base::Task<base::Result<SubresourceAnswer>> ActBind(Operation op, Value body) {
    CO_TRY_ASSIGN(Value answer, co_await Bind(op, op.request->namespace_name, op.request->name, std::move(body)));
    co_return SubresourceAnswer{201, std::move(answer), op.registry->schema().FindObject("", "v1", "Status")};
  }
  static base::Task<base::Result<SubresourceAnswer>> ActEvict(Operation op, Value body) {
    CO_TRY_ASSIGN(Value answer, co_await Evict(op, op.request->namespace_name, op.request->name, std::move(body)));
    co_return SubresourceAnswer{201, std::move(answer), op.registry->schema().FindObject("", "v1", "Status")};
  }
};

// The old resource "bindings": the same act with the pod's name in the body.
class BindingStrategy final : public Strategy {
 public:
  using Strategy::Strategy;
  bool CreateOnly() const override { return true; }
  FieldErrors Validate(const Operation&, const Value&) const override { return {}; }
  base::Task<base::Result<Value>> Answer(Operation op, Value binding) const override {
    std::string name(object::NameOf(binding));
    co_return co_await Bind(op, op.request->namespace_name, name, std::move(binding));
  }
};

}  // namespace

std::string_view QosClassOf(const Value& pod) {
  bool any = false, guaranteed = true;
  auto consider = [&](const Value& c) {
    for (std::string_view resource : {"cpu", "memory"}) {
      auto amount = [&](std::string_view which) {
        auto q = object::Quantity::Parse(c.At("resources", which, resource).string_or("0"));
        return q ? *q : object::Quantity();
      };
      auto request = amount("requests"), limit = amount("limits");
      if (!request.IsZero() || !limit.IsZero()) any = true;
      if (limit.IsZero() || !(request.IsZero() || request == limit)) guaranteed = false;
    }
  };
  // What the pod states for all its containers together counts alone.
  const Value& spec = pod.At("spec");
  auto has = [&](std::string_view which) {
    const Value& amounts = spec.At("resources", which);
    return amounts.is_map() && !amounts.map().empty();
  };
  if (has("requests") || has("limits")) {
    consider(spec);
  } else {
    for (std::string_view list : {"containers", "initContainers"})
      if (spec.At(list).is_list())
        for (const auto& c : spec.At(list).list()) consider(c);
  }
  if (!any) return "BestEffort";
  return guaranteed ? "Guaranteed" : "Burstable";
}

std::unique_ptr<Strategy> NewPodStrategy(const Kind& kind) { return std::make_unique<PodStrategy>(kind); }
std::unique_ptr<Strategy> NewBindingStrategy(const Kind& kind) { return std::make_unique<BindingStrategy>(kind); }

}  // namespace apiserver::registry
