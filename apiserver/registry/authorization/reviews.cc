// Access reviews: may somebody (or the asker) do something; what may the asker do in a namespace. Answered from the
// server's own authorizer, never stored.
#include "apiserver/auth/question.h"
#include "apiserver/auth/rules.h"
#include "apiserver/registry/registry.h"
#include "base/strings.h"
#include "machinery/object/meta.h"

namespace apiserver::registry {

namespace object = machinery::object;
using machinery::request::Identity;
using machinery::schema::Kind;
using machinery::value::List;
using machinery::value::Map;

namespace {

// As the original prints the internal form of the attributes in errors.
Value GoPath(const Value& attributes) {
  return Value(
      Map{{"Path", Value(attributes.At("path").string_or())}, {"Verb", Value(attributes.At("verb").string_or())}});
}

FieldErrors CheckSpec(const Value& spec) {
  FieldErrors errors;
  bool resource = spec.At("resourceAttributes").is_map(), path = spec.At("nonResourceAttributes").is_map();
  if (resource && path)
    errors.push_back(object::Invalid("spec.nonResourceAttributes", GoPath(spec.At("nonResourceAttributes")),
                                     "cannot be specified in combination with resourceAttributes"));
  if (!resource && !path)
    errors.push_back(object::Invalid("spec.resourceAttributes", spec.At("nonResourceAttributes"),
                                     "exactly one of nonResourceAttributes or resourceAttributes must be specified"));
  return errors;
}

Identity UserOf(const Value& spec) {
  Identity who;
  who.name = spec.At("user").string_or();
  who.uid = spec.At("uid").string_or();
  who.groups = object::StringsOf(spec.At("groups"));
  if (const Value& extra = spec.At("extra"); extra.is_map())
    for (const auto& e : extra.map()) who.extra[e.key] = object::StringsOf(e.value);
  return who;
}

// Requirements of a review as the text that a request would carry.
std::string SelectorText(const Value& selector, std::string_view key_field) {
  if (auto raw = selector.At("rawSelector").string_or(); !raw.empty()) return std::string(raw);
  std::string out;
  const Value& list = selector.At("requirements");
  if (!list.is_list()) return out;
  for (const Value& r : list.list()) {
    auto values = object::StringsOf(r.At("values"));
    std::string_view op = r.At("operator").string_or();
    if ((op != "In" && op != "NotIn") || values.size() != 1) continue;
    out += (out.empty() ? "" : ",") + std::string(r.At(key_field).string_or()) + (op == "In" ? "=" : "!=") + values[0];
  }
  return out;
}

auth::Attributes AttributesOf(Identity who, const Value& spec) {
  auth::Attributes a{.identity = std::move(who)};
  const Value& resource = spec.At("resourceAttributes");
  a.resource_request = resource.is_map();
  if (!a.resource_request) {
    a.verb = spec.At("nonResourceAttributes", "verb").string_or();
    a.path = spec.At("nonResourceAttributes", "path").string_or();
    return a;
  }
  a.verb = resource.At("verb").string_or();
  a.group = resource.At("group").string_or();
  a.version = resource.At("version").string_or();
  a.resource = resource.At("resource").string_or();
  a.subresource = resource.At("subresource").string_or();
  a.namespace_name = resource.At("namespace").string_or();
  a.name = resource.At("name").string_or();
  a.field_selector = SelectorText(resource.At("fieldSelector"), "key");
  a.label_selector = SelectorText(resource.At("labelSelector"), "key");
  return a;
}

class AccessReview : public Strategy {
 public:
  enum class About { kAnybody, kSelf, kLocal };
  AccessReview(const Kind& kind, About about) : Strategy(kind), about_(about) {}
  bool CreateOnly() const override { return true; }
  FieldErrors Validate(const Operation&, const Value&) const override { return {}; }

  base::Task<base::Result<Value>> Answer(Operation op, Value review) const override {
    const Value& spec = review.At("spec");
    auto errors = CheckSpec(spec);
    if (about_ != About::kSelf && spec.At("user").string_or().empty() && object::StringsOf(spec.At("groups")).empty())
      errors.push_back(object::Invalid("spec.user", Value(spec.At("user").string_or()),
                                       "at least one of user or group must be specified"));
    // The original names no kind here.
    if (!errors.empty()) co_return base::Err(object::InvalidObject({"authorization.k8s.io", ""}, "", errors));
    if (about_ == About::kLocal) {
      std::string ns(spec.At("resourceAttributes", "namespace").string_or());
      if (ns != op.request->namespace_name)
        co_return base::Err(object::BadRequest("spec.resourceAttributes.namespace must match namespace: " +
                                               op.request->namespace_name));
    }
    auto verdict = auth::Ask(op.registry->facilities().authorizer,
                             AttributesOf(about_ == About::kSelf ? op.request->identity : UserOf(spec), spec));
    Map status{{"allowed", Value(verdict.decision == auth::Decision::kAllow)}};
    if (verdict.decision == auth::Decision::kDeny) status.Set("denied", Value(true));
    if (!verdict.reason.empty()) status.Set("reason", verdict.reason);
    if (!verdict.error.empty()) status.Set("evaluationError", verdict.error);
    review.Set("status", Value(std::move(status)));
    co_return review;
  }

 private:
  About about_;
};

class RulesReview final : public Strategy {
 public:
  using Strategy::Strategy;
  bool CreateOnly() const override { return true; }
  FieldErrors Validate(const Operation&, const Value&) const override { return {}; }

  base::Task<base::Result<Value>> Answer(Operation op, Value review) const override {
    std::string ns(review.At("spec", "namespace").string_or());
    if (ns.empty()) co_return base::Err(object::BadRequest("no namespace on request"));
    List resources, paths;
    std::vector<std::string> errors;
    auto* resolver = op.registry->facilities().rules;
    std::vector<auth::PolicyRule> rules;
    if (op.request->identity.InGroup("system:masters") || !resolver)
      rules = {{.verbs = {"*"}, .groups = {"*"}, .resources = {"*"}}, {.verbs = {"*"}, .paths = {"*"}}};
    if (resolver) {
      auto bound = resolver->RulesFor(op.request->identity, ns, &errors);
      rules.insert(rules.end(), bound.begin(), bound.end());
    }
    for (const auto& rule : rules) (rule.paths.empty() ? resources : paths).push_back(rule.ToTree());
    Map status{{"resourceRules", Value(std::move(resources))},
               {"nonResourceRules", Value(std::move(paths))},
               {"incomplete", Value(!errors.empty())}};
    if (!errors.empty()) status.Set("evaluationError", base::Join(errors, ", "));
    review.Set("spec", Value(Map{}));
    review.Set("status", Value(std::move(status)));
    co_return review;
  }
};

}  // namespace

std::unique_ptr<Strategy> NewSubjectAccessReviewStrategy(const Kind& kind) {
  return std::make_unique<AccessReview>(kind, AccessReview::About::kAnybody);
}
std::unique_ptr<Strategy> NewSelfSubjectAccessReviewStrategy(const Kind& kind) {
  return std::make_unique<AccessReview>(kind, AccessReview::About::kSelf);
}
std::unique_ptr<Strategy> NewLocalSubjectAccessReviewStrategy(const Kind& kind) {
  return std::make_unique<AccessReview>(kind, AccessReview::About::kLocal);
}
std::unique_ptr<Strategy> NewSelfSubjectRulesReviewStrategy(const Kind& kind) {
  return std::make_unique<RulesReview>(kind);
}

}  // namespace apiserver::registry
