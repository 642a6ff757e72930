// Service accounts, and their tokens: serviceaccounts/token signs a token that dies with the account and, when asked,
// with a pod, secret or node.
#include "apiserver/auth/tokens.h"
#include "apiserver/registry/registry.h"
#include "machinery/object/meta.h"
#include "machinery/object/time.h"

namespace apiserver::registry {

namespace object = machinery::object;
using machinery::schema::Kind;
using machinery::value::List;
using machinery::value::Map;

namespace {

using Claims = auth::TokenIssuer::Claims;

// Pods that were mounted before tokens were bound to them read their file once; tokens asked for with this very life
// are made to last a year and say when they should have been renewed.
constexpr int64_t kProjectedSeconds = 3607;
constexpr int64_t kExtendedSeconds = 365 * 24 * 3600;
constexpr int64_t kDefaultSeconds = 3600;

int64_t Seconds(const Operation& op) {
  return std::chrono::floor<std::chrono::seconds>(op.registry->executor().WallNow()).time_since_epoch().count();
}

base::Task<base::Result<Value>> Lookup(const Operation& op, std::string resource, std::string ns, std::string name) {
  Store* store = op.registry->FindStore("", resource);
  if (!store) co_return base::Err(object::NotFound({"", resource}, name));
  ObjectPtr found = store->Cached(ns, name);
  if (!found) {
    CO_TRY_ASSIGN(found, co_await store->Fresh(op.ctx, ns, name));
  }
  if (!found) co_return base::Err(object::NotFound({"", resource}, name));
  co_return found->Tree();
}

FieldErrors CheckLife(const Value& spec) {
  constexpr int64_t kLeast = 600, kMost = int64_t{1} << 32;
  FieldErrors errors;
  const Value& seconds = spec.At("expirationSeconds");
  if (seconds.int_or() < kLeast)
    errors.push_back(
        object::Invalid("spec.expirationSeconds", seconds, "may not specify a duration less than 10 minutes"));
  if (seconds.int_or() > kMost)
    errors.push_back(
        object::Invalid("spec.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds"));
  return errors;
}

// The object that the token shall be bound to, checked; and for a pod the node it runs on.
base::Task<base::Status> Bind(const Operation& op, const Value& reference, const std::string& account, Claims& claims) {
  std::string kind(reference.At("kind").string_or()), name(reference.At("name").string_or());
  std::string uid(reference.At("uid").string_or());
  const std::string& ns = claims.namespace_name;
  bool core = reference.At("apiVersion").string_or() == "v1";
  if (!core || (kind != "Pod" && kind != "Secret" && kind != "Node"))
    co_return object::BadRequest("cannot bind token for serviceaccount \"" + account + "\" to object with type " +
                                 std::string(reference.At("apiVersion").string_or()) + ", Kind=" + kind);
  std::string resource = kind == "Pod" ? "pods" : kind == "Secret" ? "secrets" : "nodes";
  CO_TRY_ASSIGN(Value target, co_await Lookup(op, resource, kind == "Node" ? "" : ns, name));
  if (!uid.empty() && uid != object::UidOf(target))
    co_return object::Conflict({"", kind}, name,
                               "the UID in the bound object reference (" + uid +
                                   ") does not match the UID in record. The object might have been deleted and then "
                                   "recreated");
  auth::TokenIssuer::Bound bound{kind, name, std::string(object::UidOf(target))};
  if (kind == "Node") {
    claims.node = bound;
    co_return base::Ok();
  }
  if (kind == "Pod") {
    std::string theirs(target.At("spec", "serviceAccountName").string_or());
    if (theirs != account)
      co_return object::BadRequest("cannot bind token for serviceaccount \"" + account +
                                   "\" to pod running with different serviceaccount name.");
    std::string node(target.At("spec", "nodeName").string_or());
    if (!node.empty()) {
      // A node that is gone is named without a uid.
      auto found = co_await Lookup(op, "nodes", "", node);
      claims.node = {"Node", node, found ? std::string(object::UidOf(*found)) : ""};
    }
  }
  claims.bound = std::move(bound);
  co_return base::Ok();
}

base::Task<base::Result<SubresourceAnswer>> Issue(Operation op, Value request) {
  const Facilities& f = op.registry->facilities();
  const std::string ns = op.request->namespace_name, name = op.request->name;
  CO_TRY_ASSIGN(Value account, co_await Lookup(op, "serviceaccounts", ns, name));
  if (!f.issuer) co_return base::Err(object::InternalError("this server signs no service account tokens"));
  const auto& options = f.issuer->options();
  Value& spec = request.Ensure("spec");
  if (object::StringsOf(spec.At("audiences")).empty())
    spec.Set("audiences", Value(List(options.audiences.begin(), options.audiences.end())));
  if (!spec.At("expirationSeconds").is_int()) spec.Set("expirationSeconds", Value(kDefaultSeconds));
  for (auto [field, own, what] : {std::tuple{"name", name, "name"}, std::tuple{"namespace", ns, "namespace"}}) {
    auto given = object::MetaOf(request).At(field).string_or();
    if (!given.empty() && given != own)
      co_return base::Err(object::BadRequest(std::string("the service account ") + what +
                                             " in the token request does not match the one in the path"));
  }
  auto errors = CheckLife(spec);
  if (!errors.empty())
    co_return base::Err(object::InvalidObject({"authentication.k8s.io", "TokenRequest"}, "", errors));

  Claims claims;
  claims.namespace_name = ns;
  claims.account = name;
  claims.account_uid = object::UidOf(account);
  claims.audiences = object::StringsOf(spec.At("audiences"));
  claims.now = Seconds(op);
  claims.id = op.registry->NewUid();
  int64_t life = spec.At("expirationSeconds").as_int();
  if (options.max_expiration_seconds > 0 && life > options.max_expiration_seconds)
    life = options.max_expiration_seconds;
  claims.expiration_seconds = life;
  if (spec.At("boundObjectRef").is_map()) CO_TRY(co_await Bind(op, spec.At("boundObjectRef"), name, claims));
  bool projected =
      claims.bound && claims.bound->kind == "Pod" && life == kProjectedSeconds && claims.audiences == options.audiences;
  if (options.extend_expiration && projected) {
    claims.expiration_seconds = kExtendedSeconds;
    claims.warn_after_seconds = kProjectedSeconds;
  }
  auto sign = f.issuer->Signer(claims);
  base::Result<std::string> token;
  if (f.signing_pool)
    token = co_await base::RunBlocking(*f.signing_pool, op.registry->executor(), std::move(sign));
  else
    token = sign();
  if (!token)
    co_return base::Err(object::InternalError("failed to generate token: " + std::string(token.error().message())));

  spec.Set("expirationSeconds", Value(life));
  object::SetName(request, name);
  object::SetNamespace(request, ns);
  object::SetUid(request, op.registry->NewUid());
  object::SetMeta(request, "creationTimestamp", object::FormatTime(claims.now));
  request.Set("status", Value(Map{{"token", Value(*token)},
                                  {"expirationTimestamp", Value(object::FormatTime(claims.now + life))}}));
  SubresourceAnswer answer;
  answer.object = std::move(request);
  object::SetKind(answer.object, "authentication.k8s.io/v1", "TokenRequest");
  answer.type = op.registry->schema().FindObject("authentication.k8s.io", "v1", "TokenRequest");
  co_return answer;
}

class ServiceAccountStrategy final : public Strategy {
 public:
  using Strategy::Strategy;
  void PrepareForCreate(const Operation& op, Value& account) const override {
    KeepSecretNames(account);
    Strategy::PrepareForCreate(op, account);
  }
  void PrepareForUpdate(const Operation& op, Value& account, const Value& old) const override {
    KeepSecretNames(account);
    Strategy::PrepareForUpdate(op, account, old);
  }
  std::map<std::string, Subresource> Subresources(Registry& registry) const override {
    auto out = Strategy::Subresources(registry);
    Subresource token;
    token.act = Issue;
    token.action_type = registry.schema().FindObject("authentication.k8s.io", "v1", "TokenRequest");
    out["token"] = std::move(token);
    return out;
  }

 private:
  // Secrets are of the account's own namespace; only their names mean anything.
  static void KeepSecretNames(Value& account) {
    if (!account.At("secrets").is_list()) return;
    for (Value& secret : account.Ensure("secrets").list()) {
      const Value name = secret.At("name");
      secret = name.string_or().empty() ? Value(Map{}) : Value(Map{{"name", name}});
    }
  }
};

}  // namespace

std::unique_ptr<Strategy> NewServiceAccountStrategy(const Kind& kind) {
  return std::make_unique<ServiceAccountStrategy>(kind);
}

}  // namespace apiserver::registry
