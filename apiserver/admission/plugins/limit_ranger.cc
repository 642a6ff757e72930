// LimitRanges: containers of a new pod get the namespace's default requests and limits; what a container, a pod or a
// claim asks for must lie between minimum and maximum, and its limit not too far above its request.
#include <algorithm>
#include <cstdio>
#include <map>

#include "apiserver/admission/plugin.h"
#include "apiserver/registry/registry.h"
#include "base/strings.h"
#include "machinery/object/meta.h"
#include "machinery/object/quantity.h"

namespace apiserver::admission {

namespace {

namespace object = machinery::object;
using machinery::value::Value;
using object::Quantity;
using Amounts = std::map<std::string, Quantity>;

constexpr std::string_view kAnnotation = "kubernetes.io/limit-ranger";
constexpr int64_t kMaxMilliValue = INT64_MAX / 1000;

Amounts AmountsOf(const Value& list) {
  Amounts out;
  if (!list.is_map()) return out;
  for (const auto& e : list.map())
    if (auto q = Quantity::Parse(e.value.string_or())) out[e.key] = *q;
  return out;
}

const Quantity* Find(const Amounts& amounts, const std::string& name) {
  auto it = amounts.find(name);
  return it == amounts.end() ? nullptr : &it->second;
}

// --- defaults ---

// Fills into `target` what it lacks; gives the names of what was filled in.
std::vector<std::string> Fill(Value& resources, std::string_view which, const Value& defaults) {
  std::vector<std::string> set;
  if (!defaults.is_map()) return set;
  for (const auto& e : defaults.map()) {
    if (!resources.At(which, e.key).is_null()) continue;
    resources.Ensure(which).Set(e.key, e.value);
    set.push_back(e.key);
  }
  std::sort(set.begin(), set.end());
  return set;
}

void FillContainers(Value& pod, std::string_view list, std::string_view word, const Value& limits,
                    const Value& requests, std::vector<std::string>& notes) {
  if (!pod.At("spec", list).is_list()) return;
  for (Value& container : pod.Ensure("spec").Ensure(list).list()) {
    Value& resources = container.Ensure("resources");
    std::string name(container.At("name").string_or());
    auto set_limits = Fill(resources, "limits", limits), set_requests = Fill(resources, "requests", requests);
    auto note = [&](const std::vector<std::string>& set, const char* what) {
      if (!set.empty()) notes.push_back(base::Join(set, ", ") + " " + what + " for " + std::string(word) + " " + name);
    };
    note(set_requests, "request");
    note(set_limits, "limit");
  }
}

void FillPod(Value& pod, const Value& range) {
  Value limits{machinery::value::Map{}}, requests{machinery::value::Map{}};
  Each(range.At("spec", "limits"), [&](const Value& item) {
    if (item.At("type").string_or() != "Container") return;
    for (auto [from, into] : {std::pair{&item.At("default"), &limits}, {&item.At("defaultRequest"), &requests}})
      if (from->is_map())
        for (const auto& e : from->map()) into->Set(e.key, e.value);
  });
  std::vector<std::string> notes;
  FillContainers(pod, "containers", "container", limits, requests, notes);
  FillContainers(pod, "initContainers", "init container", limits, requests, notes);
  if (!notes.empty()) object::SetAnnotation(pod, kAnnotation, "LimitRanger plugin set: " + base::Join(notes, "; "));
}

// --- checks ---

// Numbers of the same precision: thousandths where none of them overflows.
struct Compared {
  int64_t request, limit, enforced;
};
Compared Together(const Quantity* request, const Quantity* limit, const Quantity& enforced) {
  Quantity none;
  const Quantity &r = request ? *request : none, &l = limit ? *limit : none;
  if (std::max({r.Value(), l.Value(), enforced.Value()}) > kMaxMilliValue)
    return {r.Value(), l.Value(), enforced.Value()};
  return {r.MilliValue(), l.MilliValue(), enforced.MilliValue()};
}

class Checks {
 public:
  Checks(std::string type, Amounts requests, Amounts limits)
      : type_(std::move(type)), requests_(std::move(requests)), limits_(std::move(limits)) {}

  void Minimum(const Value& list) {
    for (const auto& [name, enforced] : AmountsOf(list)) {
      const Quantity *request = Find(requests_, name), *limit = Find(limits_, name);
      auto n = Together(request, limit, enforced);
      std::string begin = "minimum " + name + " usage per " + type_ + " is " + enforced.ToString();
      if (!request)
        errors.push_back(begin + ".  No request is specified");
      else if (n.request < n.enforced)
        errors.push_back(begin + ", but request is " + request->ToString());
      else if (limit && n.limit < n.enforced)
        errors.push_back(begin + ", but limit is " + limit->ToString());
    }
  }
  void Maximum(const Value& list) {
    for (const auto& [name, enforced] : AmountsOf(list)) {
      const Quantity *request = Find(requests_, name), *limit = Find(limits_, name);
      auto n = Together(request, limit, enforced);
      std::string begin = "maximum " + name + " usage per " + type_ + " is " + enforced.ToString();
      if (!limit)
        errors.push_back(begin + ".  No limit is specified");
      else if (n.limit > n.enforced)
        errors.push_back(begin + ", but limit is " + limit->ToString());
      else if (request && n.request > n.enforced)
        errors.push_back(begin + ", but request is " + request->ToString());
    }
  }
  // Claims know no limits.
  void MaximumRequest(const Value& list) {
    for (const auto& [name, enforced] : AmountsOf(list)) {
      const Quantity* request = Find(requests_, name);
      auto n = Together(request, nullptr, enforced);
      std::string begin = "maximum " + name + " usage per " + type_ + " is " + enforced.ToString();
      if (!request)
        errors.push_back(begin + ".  No request is specified");
      else if (n.request > n.enforced)
        errors.push_back(begin + ", but request is " + request->ToString());
    }
  }
  void Ratio(const Value& list) {
    for (const auto& [name, enforced] : AmountsOf(list)) {
      const Quantity *request = Find(requests_, name), *limit = Find(limits_, name);
      auto n = Together(request, limit, enforced);
      std::string begin = name + " max limit to request ratio per " + type_ + " is " + enforced.ToString();
      if (!request || n.request == 0) {
        errors.push_back(begin + ", but no request is specified or request is 0");
      } else if (!limit || n.limit == 0) {
        errors.push_back(begin + ", but no limit is specified or limit is 0");
      } else if (double ratio = static_cast<double>(n.limit) / static_cast<double>(n.request);
                 ratio > enforced.AsDouble()) {
        char text[64];
        std::snprintf(text, sizeof text, "%f", ratio);
        errors.push_back(begin + ", but provided ratio is " + text);
      }
    }
  }
  std::vector<std::string> errors;

 private:
  std::string type_;
  Amounts requests_, limits_;
};

void Add(Amounts& sum, const Amounts& more) {
  for (const auto& [name, q] : more) sum[name] += q;
}
void Raise(Amounts& to, const Amounts& other) {
  for (const auto& [name, q] : other)
    if (auto [it, fresh] = to.emplace(name, q); !fresh && q > it->second) it->second = q;
}

// What the whole pod asks for: its containers together, or the init container that needs more beside the restartable
// ones that run by then; what the pod states itself wins.
Amounts OfPod(const Value& pod, std::string_view which) {
  Amounts sum, restartable, init;
  Each(pod.At("spec", "containers"), [&](const Value& c) { Add(sum, AmountsOf(c.At("resources", which))); });
  Each(pod.At("spec", "initContainers"), [&](const Value& c) {
    Amounts own = AmountsOf(c.At("resources", which));
    if (c.At("restartPolicy").string_or() == "Always") {
      Add(sum, own);
      Add(restartable, own);
      own = restartable;
    } else {
      Add(own, restartable);
    }
    Raise(init, own);
  });
  Raise(sum, init);
  for (const auto& [name, q] : AmountsOf(pod.At("spec", "resources", which)))
    if (name == "cpu" || name == "memory") sum[name] = q;
  return sum;
}

void CheckAll(Checks checks, const Value& item, std::vector<std::string>& errors) {
  checks.Minimum(item.At("min"));
  checks.Maximum(item.At("max"));
  checks.Ratio(item.At("maxLimitRequestRatio"));
  errors.insert(errors.end(), checks.errors.begin(), checks.errors.end());
}

std::vector<std::string> CheckPod(const Value& pod, const Value& range) {
  std::vector<std::string> errors;
  Each(range.At("spec", "limits"), [&](const Value& item) {
    std::string type(item.At("type").string_or());
    if (type == "Container")
      for (std::string_view list : {"containers", "initContainers"})
        Each(pod.At("spec", list), [&](const Value& c) {
          CheckAll({type, AmountsOf(c.At("resources", "requests")), AmountsOf(c.At("resources", "limits"))}, item,
                   errors);
        });
    if (type == "Pod") CheckAll({type, OfPod(pod, "requests"), OfPod(pod, "limits")}, item, errors);
  });
  return errors;
}

std::vector<std::string> CheckClaim(const Value& claim, const Value& range) {
  std::vector<std::string> errors;
  Each(range.At("spec", "limits"), [&](const Value& item) {
    if (item.At("type").string_or() != "PersistentVolumeClaim") return;
    Checks checks("PersistentVolumeClaim", AmountsOf(claim.At("spec", "resources", "requests")), {});
    checks.Minimum(item.At("min"));
    checks.MaximumRequest(item.At("max"));
    errors.insert(errors.end(), checks.errors.begin(), checks.errors.end());
  });
  return errors;
}

class LimitRanger final : public Plugin {
 public:
  explicit LimitRanger(const Environment& env) : registry_(*env.registry) {}
  bool Handles(Operation op) const override { return op == Operation::kCreate || op == Operation::kUpdate; }

  base::Task<base::Status> Admit(base::Context, Attributes& a) override {
    if (Concerned(a) && a.IsResource("", "pods"))
      for (const Value& range : RangesOf(a.namespace_name)) FillPod(*a.object, range);
    co_return base::Ok();
  }

  base::Task<base::Status> Validate(base::Context, const Attributes& a) override {
    if (!Concerned(a)) co_return base::Ok();
    for (const Value& range : RangesOf(a.namespace_name)) {
      auto errors = a.resource == "pods" ? CheckPod(*a.object, range) : CheckClaim(*a.object, range);
      // What is said twice is said once.
      std::vector<std::string> once;
      for (auto& e : errors)
        if (std::find(once.begin(), once.end(), e) == once.end()) once.push_back(std::move(e));
      if (!once.empty()) co_return Forbid(a, once.size() == 1 ? once[0] : "[" + base::Join(once, ", ") + "]");
    }
    co_return base::Ok();
  }

 private:
  // A pod's containers cannot change but through resize.
  static bool Concerned(const Attributes& a) {
    if (a.old_object && object::IsDeleting(*a.old_object)) return false;
    if (a.IsResource("", "pods"))
      return a.operation == Operation::kCreate ? a.subresource.empty() : a.subresource == "resize";
    return a.IsResource("", "persistentvolumeclaims") && a.subresource.empty();
  }

  std::vector<Value> RangesOf(const std::string& ns) const {
    std::vector<Value> out;
    auto* store = registry_.FindStore("", "limitranges");
    if (!store || store->cache().size() == 0) return out;
    store->cache().ForEach([&](const storage::ObjectPtr& o) {
      if (o->namespace_name() == ns) out.push_back(o->Tree());
      return true;
    });
    return out;
  }

  registry::Registry& registry_;
};

}  // namespace

std::unique_ptr<Plugin> NewLimitRanger(const Environment& env) { return std::make_unique<LimitRanger>(env); }

}  // namespace apiserver::admission
