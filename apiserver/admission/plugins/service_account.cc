// Pods get a service account and, unless they or it say otherwise, a volume with its token, the cluster's CA and their
// namespace at the usual place in every container.
#include "apiserver/admission/plugin.h"
#include "apiserver/auth/node_authorizer.h"
#include "apiserver/registry/registry.h"
#include "base/sync.h"
#include "machinery/object/go_text.h"
#include "machinery/object/meta.h"

namespace apiserver::admission {

namespace {

namespace object = machinery::object;
using machinery::value::List;
using machinery::value::Map;
using machinery::value::Value;

constexpr std::string_view kMountPath = "/var/run/secrets/kubernetes.io/serviceaccount";
constexpr std::string_view kVolumePrefix = "kube-api-access-";
constexpr std::string_view kMirror = "kubernetes.io/config.mirror";
constexpr std::string_view kEnforceMountable = "kubernetes.io/enforce-mountable-secrets";
// An hour and a mark: tokens asked for with exactly this life may be extended by the server.
constexpr int64_t kTokenSeconds = 3607;
constexpr int kAttempts = 10;
constexpr auto kPause = std::chrono::milliseconds(100);

bool HasToken(const Value& volume) {
  bool found = false;
  Each(volume.At("projected", "sources"), [&](const Value& s) { found |= s.At("serviceAccountToken").is_map(); });
  return found;
}

Value TokenVolume(const std::string& name) {
  Value token(
      Map{{"serviceAccountToken", Value(Map{{"expirationSeconds", Value(kTokenSeconds)}, {"path", Value("token")}})}});
  Value item(Map{{"key", Value("ca.crt")}, {"path", Value("ca.crt")}});
  Value ca(Map{{"configMap", Value(Map{{"name", Value("kube-root-ca.crt")}, {"items", Value(List{item})}})}});
  Value field(Map{{"apiVersion", Value("v1")}, {"fieldPath", Value("metadata.namespace")}});
  Value file(Map{{"path", Value("namespace")}, {"fieldRef", field}});
  Value down(Map{{"downwardAPI", Value(Map{{"items", Value(List{file})}})}});
  Value projected(Map{{"sources", Value(List{token, ca, down})}, {"defaultMode", Value(420)}});
  return Value(Map{{"name", Value(name)}, {"projected", projected}});
}

class ServiceAccount final : public Plugin {
 public:
  explicit ServiceAccount(const Environment& env) : registry_(*env.registry) {}
  bool Handles(Operation op) const override { return op == Operation::kCreate || op == Operation::kUpdate; }

  base::Task<base::Status> Admit(base::Context ctx, Attributes& a) override {
    if (!a.IsResource("", "pods") || !a.subresource.empty() || a.operation != Operation::kCreate) co_return base::Ok();
    Value& pod = *a.object;
    if (object::AnnotationsOf(pod).At(kMirror).is_string()) co_return Mirror(a);
    Value& spec = pod.Ensure("spec");
    if (spec.At("serviceAccountName").string_or().empty()) spec.Set("serviceAccountName", "default");
    spec.Set("serviceAccount", spec.At("serviceAccountName"));
    std::string name(spec.At("serviceAccountName").string_or());
    CO_TRY_ASSIGN(Value account, co_await Account(ctx, a, name));
    if (Automounts(spec, account)) Mount(spec);
    if (!spec.At("imagePullSecrets").is_list() || spec.At("imagePullSecrets").list().empty())
      if (const Value& secrets = account.At("imagePullSecrets"); secrets.is_list() && !secrets.list().empty())
        spec.Set("imagePullSecrets", secrets);
    co_return base::Ok();
  }

  base::Task<base::Status> Validate(base::Context ctx, const Attributes& a) override {
    if (!a.IsResource("", "pods") || !a.object) co_return base::Ok();
    bool create = a.subresource.empty() && a.operation == Operation::kCreate;
    bool ephemeral = a.subresource == "ephemeralcontainers" && a.operation == Operation::kUpdate;
    if (!create && !ephemeral) co_return base::Ok();
    const Value& pod = *a.object;
    if (create && object::AnnotationsOf(pod).At(kMirror).is_string()) co_return Mirror(a);
    std::string name(pod.At("spec", "serviceAccountName").string_or());
    if (name.empty())
      co_return Forbid(
          a, "no service account specified for pod " + a.namespace_name + "/" + std::string(object::NameOf(pod)));
    CO_TRY_ASSIGN(Value account, co_await Account(ctx, a, name));
    if (Enforces(account)) co_return ephemeral ? LimitEphemeral(a, account) : LimitSecrets(a, account);
    co_return base::Ok();
  }

 private:
  // The account may be a moment away: its controller runs when the namespace is new.
  base::Task<base::Result<Value>> Account(base::Context ctx, const Attributes& a, std::string name) {
    auto* store = registry_.FindStore("", "serviceaccounts");
    for (int attempt = 1;; ++attempt) {
      auto found = store ? store->Cached(a.namespace_name, name) : nullptr;
      if (found) co_return found->Tree();
      if (attempt == kAttempts || (attempt > 1 && name != "default")) break;
      CO_TRY(co_await base::Sleep(registry_.executor(), ctx, kPause));
    }
    co_return base::Err(Forbid(a, "error looking up service account " + a.namespace_name + "/" + name +
                                      ": serviceaccount " + object::GoQuote(name) + " not found"));
  }

  static bool Automounts(const Value& spec, const Value& account) {
    if (spec.At("automountServiceAccountToken").is_bool()) return spec.At("automountServiceAccountToken").as_bool();
    return account.At("automountServiceAccountToken").bool_or(true);
  }

  void Mount(Value& spec) {
    std::string volume;
    Each(spec.At("volumes"), [&](const Value& v) {
      if (volume.empty() && v.At("name").string_or().starts_with(kVolumePrefix)) volume = v.At("name").string_or();
    });
    bool made = volume.empty();
    if (made) volume = std::string(kVolumePrefix) + registry_.random().NameSuffix(5);
    bool used = false;
    for (std::string_view kind : {"initContainers", "containers"}) {
      if (!spec.At(kind).is_list()) continue;
      for (Value& container : spec.Ensure(kind).list()) used |= MountIn(container, volume);
    }
    if (!made || !used) return;
    Value& volumes = spec.Ensure("volumes");
    if (!volumes.is_list()) volumes = Value(List{});
    volumes.list().push_back(TokenVolume(volume));
  }

  static bool MountIn(Value& container, const std::string& volume) {
    bool has = false;
    Each(container.At("volumeMounts"), [&](const Value& m) { has |= m.At("mountPath").string_or() == kMountPath; });
    if (has) return false;
    Value& mounts = container.Ensure("volumeMounts");
    if (!mounts.is_list()) mounts = Value(List{});
    mounts.list().push_back(
        Value(Map{{"name", Value(volume)}, {"readOnly", Value(true)}, {"mountPath", Value(kMountPath)}}));
    return true;
  }

  static base::Status Mirror(const Attributes& a) {
    const Value& spec = a.object->At("spec");
    if (!spec.At("serviceAccountName").string_or().empty())
      return Forbid(a, "a mirror pod may not reference service accounts");
    for (const auto& reference : auth::ReferencesOf(*a.object))
      if (reference.starts_with("secrets/")) return Forbid(a, "a mirror pod may not reference secrets");
    bool token = false;
    Each(spec.At("volumes"), [&](const Value& v) { token |= HasToken(v); });
    if (token) return Forbid(a, "a mirror pod may not use ServiceAccountToken volume projections");
    return base::Ok();
  }

  // As Go reads a bool.
  static bool Enforces(const Value& account) {
    std::string_view value = object::AnnotationOf(account, kEnforceMountable);
    for (std::string_view yes : {"1", "t", "T", "true", "TRUE", "True"})
      if (value == yes) return true;
    return false;
  }

  static bool Lists(const Value& account, std::string_view field, std::string_view secret) {
    bool found = false;
    Each(account.At(field), [&](const Value& v) { found |= v.At("name").string_or() == secret; });
    return found;
  }

  // The environment of one list of containers; `what` names their kind.
  static base::Status LimitEnvironment(const Attributes& a, const Value& account, std::string_view list,
                                       const std::string& what) {
    base::Status bad;
    Each(a.object->At("spec", list), [&](const Value& container) {
      std::string whose = what + " " + std::string(container.At("name").string_or()) + " with ";
      auto check = [&](const Value& reference, const std::string& how) {
        std::string_view secret = reference.At("name").string_or();
        if (!reference.is_map() || Lists(account, "secrets", secret) || !bad.ok()) return;
        bad = Forbid(a, whose + how + " referencing secret.secretName=\"" + std::string(secret) +
                            "\" is not allowed because service account " + std::string(object::NameOf(account)) +
                            " does not reference that secret");
      };
      Each(container.At("env"), [&](const Value& env) {
        check(env.At("valueFrom", "secretKeyRef"), "envVar " + std::string(env.At("name").string_or()));
      });
      Each(container.At("envFrom"), [&](const Value& from) { check(from.At("secretRef"), "envFrom"); });
    });
    return bad;
  }

  static base::Status LimitEphemeral(const Attributes& a, const Value& account) {
    return LimitEnvironment(a, account, "ephemeralContainers", "ephemeral container");
  }

  static base::Status LimitSecrets(const Attributes& a, const Value& account) {
    const std::string name(object::NameOf(account));
    base::Status bad;
    Each(a.object->At("spec", "volumes"), [&](const Value& v) {
      std::string_view secret = v.At("secret", "secretName").string_or();
      if (!v.At("secret").is_map() || Lists(account, "secrets", secret) || !bad.ok()) return;
      bad = Forbid(a, "volume with secret.secretName=\"" + std::string(secret) +
                          "\" is not allowed because service account " + name + " does not reference that secret");
    });
    TRY(bad);
    TRY(LimitEnvironment(a, account, "initContainers", "init container"));
    TRY(LimitEnvironment(a, account, "containers", "container"));
    size_t i = 0;
    Each(a.object->At("spec", "imagePullSecrets"), [&](const Value& v) {
      std::string at = "imagePullSecrets[" + std::to_string(i++) + "]";
      std::string_view secret = v.At("name").string_or();
      if (Lists(account, "imagePullSecrets", secret) || !bad.ok()) return;
      bad = Forbid(a, at + ".name=\"" + std::string(secret) + "\" is not allowed because service account " + name +
                          " does not reference that imagePullSecret");
    });
    return bad;
  }

  registry::Registry& registry_;
};

}  // namespace

std::unique_ptr<Plugin> NewServiceAccount(const Environment& env) { return std::make_unique<ServiceAccount>(env); }

}  // namespace apiserver::admission
