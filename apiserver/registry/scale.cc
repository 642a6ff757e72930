#include "apiserver/registry/scale.h"

#include "apiserver/registry/registry.h"
#include "machinery/object/meta.h"
#include "machinery/ops/selector.h"

namespace apiserver::registry {

namespace object = machinery::object;
using machinery::value::Map;

namespace {

std::string SelectorText(const Value& selector) {
  if (!selector.is_map()) return {};
  // ReplicationController selects by a plain map.
  bool plain = selector.At("matchLabels").is_null() && selector.At("matchExpressions").is_null();
  if (plain) return machinery::ops::LabelSelector::FromMap(selector).ToString();
  auto parsed = machinery::ops::LabelSelector::FromObject(selector);
  return parsed ? parsed->ToString() : std::string();
}

base::Result<Value> Project(const Operation&, const Value& parent) {
  const Value& m = object::MetaOf(parent);
  Map meta;
  for (std::string_view f : {"name", "namespace", "uid", "resourceVersion", "creationTimestamp"})
    if (!m.At(f).is_null()) meta.Set(f, m.At(f));
  Map spec, status;
  if (int64_t n = parent.At("spec", "replicas").int_or()) spec.Set("replicas", n);
  status.Set("replicas", parent.At("status", "replicas").int_or());
  if (auto text = SelectorText(parent.At("spec", "selector")); !text.empty()) status.Set("selector", text);
  return Value(Map{{"kind", "Scale"},
                   {"apiVersion", "autoscaling/v1"},
                   {"metadata", std::move(meta)},
                   {"spec", std::move(spec)},
                   {"status", std::move(status)}});
}

FieldErrors CheckReplicas(const Value& scale) {
  int64_t n = scale.At("spec", "replicas").int_or();
  if (n >= 0) return {};
  return {object::Invalid("spec.replicas", Value(n), "must be greater than or equal to 0")};
}

base::Status MergeBack(const Operation&, Value& parent, const Value& scale) {
  if (auto errors = CheckReplicas(scale); !errors.empty())
    return object::InvalidObject({"autoscaling", "Scale"}, object::NameOf(scale), errors);
  std::string_view revision = object::ResourceVersionOf(scale);
  if (!revision.empty() && revision != object::ResourceVersionOf(parent)) object::SetResourceVersion(parent, revision);
  parent.Ensure("spec").Set("replicas", scale.At("spec", "replicas").int_or());
  return base::Ok();
}

}  // namespace

Subresource ScaleView(const machinery::schema::Kind& kind, Registry& registry) {
  Subresource s;
  s.project = Project;
  s.merge_back = MergeBack;
  s.projected_type = registry.schema().FindObject("autoscaling", "v1", "Scale");
  // unreachable from outside: the schema is compiled in
  CHECK_MSG(s.projected_type, "autoscaling/v1 Scale must be in the schema");
  s.prepare = [](const Operation&, Value& obj, const Value& old) {
    if (!(obj.At("spec", "replicas") == old.At("spec", "replicas")) && object::GenerationOf(old) > 0)
      object::SetGeneration(obj, object::GenerationOf(old) + 1);
  };
  return s;
}

}  // namespace apiserver::registry
