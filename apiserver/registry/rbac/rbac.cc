// Roles and bindings: nobody grants what he does not hold, unless he may escalate or bind.
#include "apiserver/auth/question.h"
#include "apiserver/auth/rules.h"
#include "apiserver/registry/registry.h"
#include "machinery/object/meta.h"

namespace apiserver::registry {

namespace object = machinery::object;
using machinery::schema::Kind;

namespace {

constexpr std::string_view kGroup = "rbac.authorization.k8s.io";

class RbacStrategy : public Strategy {
 public:
  using Strategy::Strategy;
  object::NameRule name_rule() const override { return object::NameIsPathSegment; }

 protected:
  // Whether the user may `verb` (escalate, bind) this role anyway.
  bool May(const Operation& op, const std::string& verb, const std::string& resource, const std::string& ns,
           const std::string& name) const {
    return auth::MayAlso(op.registry->facilities().authorizer, op.request,
                         {.verb = verb,
                          .group = std::string(kGroup),
                          .version = "*",
                          .resource = resource,
                          .namespace_name = ns,
                          .name = name});
  }
  base::Status Refuse(const Value& obj, const base::Status& why) const {
    if (why.ok()) return why;
    return object::Forbidden({std::string(kGroup), kind_.resource}, object::NameOf(obj), why.message());
  }
};

// Whether an update leaves all but what the garbage collector changes as it was. It must be able to delete roles that
// it could not grant.
bool OnlyCollecting(const Value& now, const Value& before) {
  Value a = now, b = before;
  for (Value* v : {&a, &b}) {
    for (const char* field : {"ownerReferences", "finalizers", "selfLink", "managedFields"})
      object::SetMeta(*v, field, nullptr);
    // These are the store's own: a client cannot change them.
    for (const char* field : {"resourceVersion", "uid", "creationTimestamp", "generation", "deletionTimestamp",
                              "deletionGracePeriodSeconds"})
      object::SetMeta(*v, field, nullptr);
  }
  return a == b;
}

bool Aggregates(const Value& role) {
  const Value& selectors = role.At("aggregationRule", "clusterRoleSelectors");
  return selectors.is_list() && !selectors.list().empty();
}

class RoleStrategy final : public RbacStrategy {
 public:
  using RbacStrategy::RbacStrategy;
  base::Task<base::Result<std::unique_ptr<Reservation>>> BeginCreate(Operation op, Value& role) const override {
    CO_TRY(Check(op, role, Aggregates(role)));
    co_return std::unique_ptr<Reservation>();
  }
  base::Task<base::Result<std::unique_ptr<Reservation>>> BeginUpdate(Operation op, Value& role,
                                                                     const Value& old) const override {
    if (!OnlyCollecting(role, old)) CO_TRY(Check(op, role, Aggregates(role) || Aggregates(old)));
    co_return std::unique_ptr<Reservation>();
  }

 private:
  base::Status Check(const Operation& op, const Value& role, bool aggregates) const {
    auto* resolver = op.registry->facilities().rules;
    if (!resolver) return base::Ok();
    const auto& who = op.request->identity;
    // Asked by the name in the request's path: a create has none.
    std::string ns(object::NamespaceOf(role));
    bool named = op.request->verb != machinery::request::Verb::kCreate;
    if (who.InGroup("system:masters") || May(op, "escalate", kind_.resource, ns, named ? op.request->name : ""))
      return base::Ok();
    auto rules = auth::RulesFromTree(role.At("rules"));
    TRY(Refuse(role, auth::CheckNoEscalation(*resolver, who, ns, rules)));
    if (!aggregates) return base::Ok();
    // What a role aggregates is not known beforehand, and a changed aggregation may widen others: it takes everything.
    rules = {{.verbs = {"*"}, .groups = {"*"}, .resources = {"*"}}, {.verbs = {"*"}, .paths = {"*"}}};
    if (auth::CheckNoEscalation(*resolver, who, ns, rules).ok()) return base::Ok();
    return Refuse(role, base::PermissionDenied("must have cluster-admin privileges to use the aggregationRule"));
  }
};

class BindingStrategy final : public RbacStrategy {
 public:
  using RbacStrategy::RbacStrategy;
  base::Task<base::Result<std::unique_ptr<Reservation>>> BeginCreate(Operation op, Value& binding) const override {
    CO_TRY(Check(op, binding));
    co_return std::unique_ptr<Reservation>();
  }
  base::Task<base::Result<std::unique_ptr<Reservation>>> BeginUpdate(Operation op, Value& binding,
                                                                     const Value& old) const override {
    if (!OnlyCollecting(binding, old)) CO_TRY(Check(op, binding));
    co_return std::unique_ptr<Reservation>();
  }

 private:
  base::Status Check(const Operation& op, const Value& binding) const {
    auto* resolver = op.registry->facilities().rules;
    if (!resolver) return base::Ok();
    std::string ns(object::NamespaceOf(binding));
    std::string kind(binding.At("roleRef", "kind").string_or()), name(binding.At("roleRef", "name").string_or());
    std::string resource = kind == "ClusterRole" ? "clusterroles" : "roles";
    if (op.request->identity.InGroup("system:masters") || May(op, "bind", resource, ns, name)) return base::Ok();
    auto rules = resolver->RulesOfRole(ns, kind, name);
    if (!rules) return object::NotFound({std::string(kGroup), resource}, name);
    return Refuse(binding, auth::CheckNoEscalation(*resolver, op.request->identity, ns, *rules));
  }
};

}  // namespace

std::unique_ptr<Strategy> NewRoleStrategy(const Kind& kind) { return std::make_unique<RoleStrategy>(kind); }
std::unique_ptr<Strategy> NewRoleBindingStrategy(const Kind& kind) { return std::make_unique<BindingStrategy>(kind); }

}  // namespace apiserver::registry
