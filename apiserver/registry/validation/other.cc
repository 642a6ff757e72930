// Small kinds: PriorityClass, Lease, RuntimeClass, CertificateSigningRequest, access reviews, TokenRequest.
#include <algorithm>

#include "apiserver/registry/validation/check.h"
#include "apiserver/registry/validation/kinds.h"
#include "base/bytes.h"
#include "base/strings.h"

namespace apiserver::registry::validation {
namespace {

using object::GoQuote;

// --- PriorityClass ---

constexpr const char* kSystemPrefix = "system-";
constexpr int64_t kHighestUserPriority = 1000000000;

std::string WhyNoSystemClass(std::string_view name, const Value& object) {
  struct Known {
    std::string_view name;
    int64_t value;
  };
  constexpr Known kKnown[] = {{"system-node-critical", 2000001000}, {"system-cluster-critical", 2000000000}};
  for (const Known& k : kKnown) {
    if (name != k.name) continue;
    if (object.At("value").int_or() != k.value)
      return "value of " + std::string(name) + " PriorityClass must be " + std::to_string(k.value);
    if (object.At("globalDefault").bool_or())
      return "globalDefault of " + std::string(name) + " PriorityClass must be false";
    return "";
  }
  return std::string(name) + " is not a known system priority class";
}

// --- Lease ---

FieldErrors ValidateLeaseSpec(const Value& spec, const std::string& path) {
  FieldErrors errors;
  const Value &duration = spec.At("leaseDurationSeconds"), &strategy = spec.At("strategy");
  if (duration.is_int() && duration.as_int() <= 0)
    errors.push_back(Invalid(Child(path, "leaseDurationSeconds"), duration, "must be greater than 0"));
  Append(errors, NotNegative(spec.At("leaseTransitions"), Child(path, "leaseTransitions")));
  if (strategy.is_string()) {
    std::string at = Child(path, "strategy", "strategy"), name = Text(strategy);
    if (name.find('/') != std::string::npos) {
      AppendInvalid(errors, at, name, object::IsQualifiedName(name));
    } else if (name != "OldestEmulationVersion") {
      errors.push_back(NotSupported(at, name, {"OldestEmulationVersion"}));
    }
  }
  if (!NoText(spec.At("preferredHolder")) && NoText(strategy))
    errors.push_back(FieldForbidden(Child(path, "preferredHolder"), "may only be specified if `strategy` is defined"));
  return errors;
}

// --- CertificateSigningRequest ---

const Names kUsages = {"any",
                       "cert sign",
                       "client auth",
                       "code signing",
                       "content commitment",
                       "crl sign",
                       "data encipherment",
                       "decipher only",
                       "digital signature",
                       "email protection",
                       "encipher only",
                       "ipsec end system",
                       "ipsec tunnel",
                       "ipsec user",
                       "key agreement",
                       "key encipherment",
                       "microsoft sgc",
                       "netscape sgc",
                       "ocsp signing",
                       "s/mime",
                       "server auth",
                       "signing",
                       "timestamping"};
constexpr size_t kMaxDomain = 253, kMaxLabel = 63;

FieldErrors ValidateSignerName(const Value& v, const std::string& path) {
  if (NoText(v)) return {Required(path)};
  std::string name = Text(v);
  auto parts = base::Split(name, '/');
  if (parts.size() != 2)
    return {Invalid(path, name, "must be a fully qualified domain and path of the form 'example.com/signer-name'")};
  FieldErrors errors;
  auto labels = [&](const std::string& part, object::Reasons (*check)(std::string_view)) {
    for (const std::string& label : base::Split(part, '.')) {
      auto reasons = check(label);
      for (const std::string& r : reasons)
        errors.push_back(Invalid(path, part, "validating label " + GoQuote(label) + ": " + r));
      if (!reasons.empty()) break;
    }
  };
  if (parts[0].size() > kMaxDomain) errors.push_back(object::TooLong(path, kMaxDomain));
  labels(parts[0], object::IsDns1123Label);
  if (parts[0].find('.') == std::string::npos)
    errors.push_back(Invalid(path, parts[0], "should be a domain with at least two segments separated by dots"));
  labels(parts[1], object::IsDns1123Subdomain);
  constexpr size_t kMaxName = kMaxDomain + 1 + kMaxDomain + 1 + kMaxLabel;
  if (name.size() > kMaxName) errors.push_back(object::TooLong(path, kMaxName));
  return errors;
}

// Whether base64 text holds a PEM block of a certificate request. What is inside is the signer's to judge.
bool LooksLikeRequest(std::string_view base64) {
  auto text = base::Base64Decode(base64);
  return text && text->find("-----BEGIN CERTIFICATE REQUEST-----") != std::string::npos;
}

FieldErrors ValidateRequestSpec(const Value& spec, const std::string& path) {
  constexpr int64_t kLeastSeconds = 600;
  FieldErrors errors;
  if (!LooksLikeRequest(Text(spec.At("request"))))
    errors.push_back(
        Invalid(Child(path, "request"), Text(spec.At("request")), "PEM block type must be CERTIFICATE REQUEST"));
  const List& usages = Items(spec.At("usages"));
  std::string at = Child(path, "usages");
  if (usages.empty()) errors.push_back(Required(at));
  for (size_t i = 0; i < usages.size(); ++i)
    if (!Contains(kUsages, Text(usages[i]))) errors.push_back(NotSupported(Index(at, i), usages[i], kUsages));
  std::set<std::string> seen;
  for (size_t i = 0; i < usages.size(); ++i)
    if (!seen.insert(Text(usages[i])).second) errors.push_back(Duplicate(Index(at, i), usages[i]));
  if (Text(spec.At("signerName")) == "kubernetes.io/legacy-unknown") {
    errors.push_back(Invalid(Child(path, "signerName"), spec.At("signerName"),
                             "the legacy signerName is not allowed via this API version"));
  } else {
    Append(errors, ValidateSignerName(spec.At("signerName"), Child(path, "signerName")));
  }
  if (const Value& seconds = spec.At("expirationSeconds"); seconds.is_int() && seconds.as_int() < kLeastSeconds)
    errors.push_back(Invalid(Child(path, "expirationSeconds"), seconds,
                             "may not specify a duration less than 600 seconds (10 minutes)"));
  return errors;
}

// --- access reviews ---

FieldErrors ValidateSelectorAttributes(const Value& selector, const std::string& path) {
  if (!selector.is_map()) return {};
  FieldErrors errors;
  const Value &raw = selector.At("rawSelector"), &requirements = selector.At("requirements");
  if (!NoText(raw) && Size(requirements) > 0)
    errors.push_back(Invalid(Child(path, "rawSelector"), raw, "may not specified at the same time as requirements"));
  if (NoText(raw) && Size(requirements) == 0)
    errors.push_back(Required(Child(path, "requirements"),
                              "when " + path + " is specified, requirements or rawSelector is required"));
  for (size_t i = 0; i < Items(requirements).size(); ++i)
    if (NoText(requirements.At(i).At("key")))
      errors.push_back(Required(Child(Index(Child(path, "requirements"), i), "key"), "must be specified"));
  return errors;
}

Value NonResource(const Value& attributes) {
  return GoStruct(attributes, {{"Path", "path", ""}, {"Verb", "verb", ""}});
}

FieldErrors ValidateReviewSpec(const Value& spec, bool names_user) {
  FieldErrors errors;
  const Value &resource = spec.At("resourceAttributes"), &other = spec.At("nonResourceAttributes");
  if (resource.is_map() && other.is_map())
    errors.push_back(Invalid("spec.nonResourceAttributes", NonResource(other),
                             "cannot be specified in combination with resourceAttributes"));
  if (!resource.is_map() && !other.is_map())
    errors.push_back(Invalid("spec.resourceAttributes", Value(),
                             "exactly one of nonResourceAttributes or resourceAttributes must be specified"));
  if (names_user && NoText(spec.At("user")) && Size(spec.At("groups")) == 0)
    errors.push_back(Invalid("spec.user", "", "at least one of user or group must be specified"));
  for (const char* field : {"fieldSelector", "labelSelector"})
    Append(errors, ValidateSelectorAttributes(resource.At(field), Child("spec.resourceAttributes", field)));
  return errors;
}

FieldErrors ValidateNoMeta(const Value& object, bool but_namespace) {
  Value meta = object::MetaOf(object);
  if (!meta.is_map()) return {};
  meta.Remove("managedFields");
  if (but_namespace) meta.Remove("namespace");
  if (SemanticEqual(meta, Value())) return {};
  return {Invalid("metadata", object::MetaOf(object),
                  but_namespace ? "must be empty except for namespace" : "must be empty")};
}

}  // namespace

FieldErrors ValidatePriorityClass(const Value& object) {
  FieldErrors errors = Meta(object, false);
  std::string_view name = object::NameOf(object);
  if (name.starts_with(kSystemPrefix)) {
    if (std::string why = WhyNoSystemClass(name, object); !why.empty())
      errors.push_back(
          FieldForbidden("metadata.name",
                         "priority class names with 'system-' prefix are reserved for system use only. error: " + why));
  } else if (object.At("value").int_or() > kHighestUserPriority) {
    errors.push_back(FieldForbidden(
        "value", "maximum allowed value of a user defined priority is " + std::to_string(kHighestUserPriority)));
  }
  if (const Value& policy = object.At("preemptionPolicy"); policy.is_string())
    Append(errors, OneOf("preemptionPolicy", policy, {"PreemptLowerPriority", "Never"}));
  return errors;
}
FieldErrors ValidatePriorityClassUpdate(const Value& object, const Value& old) {
  FieldErrors errors = MetaUpdate(object, old);
  if (object.At("value").int_or() != old.At("value").int_or())
    errors.push_back(FieldForbidden("value", "may not be changed in an update."));
  Append(errors, ops::ValidateImmutable(object.At("preemptionPolicy"), old.At("preemptionPolicy"), "preemptionPolicy"));
  return errors;
}

FieldErrors ValidateLease(const Value& object) {
  FieldErrors errors = Meta(object, true);
  Append(errors, ValidateLeaseSpec(object.At("spec"), "spec"));
  return errors;
}
FieldErrors ValidateLeaseUpdate(const Value& object, const Value& old) {
  FieldErrors errors = MetaUpdate(object, old);
  Append(errors, ValidateLeaseSpec(object.At("spec"), "spec"));
  return errors;
}

FieldErrors ValidateRuntimeClass(const Value& object) {
  FieldErrors errors = Meta(object, false);
  std::string handler = Text(object.At("handler"));
  if (handler.empty()) {
    errors.push_back(Required("handler"));
  } else {
    AppendInvalid(errors, "handler", handler, object::NameIsDnsLabel(handler, false));
  }
  if (const Value& overhead = object.At("overhead"); overhead.is_map()) {
    Map limits;
    limits.Append("limits", overhead.At("podFixed"));
    Append(errors, ValidateContainerResources(Value(std::move(limits)), "overhead"));
  }
  const Value& scheduling = object.At("scheduling");
  Append(errors, ops::ValidateLabels(scheduling.At("nodeSelector"), "scheduling.nodeSelector"));
  const List& tolerations = Items(scheduling.At("tolerations"));
  Append(errors, ValidateTolerations(scheduling.At("tolerations"), "scheduling.tolerations"));
  for (size_t i = 0; i < tolerations.size(); ++i) {
    auto same = [&](const Value& t) {
      for (const char* field : {"key", "operator", "value", "effect"})
        if (Text(t.At(field)) != Text(tolerations[i].At(field))) return false;
      return true;
    };
    if (std::any_of(tolerations.begin(), tolerations.begin() + static_cast<std::ptrdiff_t>(i), same))
      errors.push_back(Duplicate(Index("scheduling.tolerations", i), tolerations[i]));
  }
  return errors;
}
FieldErrors ValidateRuntimeClassUpdate(const Value& object, const Value& old) {
  FieldErrors errors = ValidateRuntimeClass(object);
  Append(errors, MetaUpdate(object, old));
  Append(errors, ops::ValidateImmutable(object.At("handler"), old.At("handler"), "handler"));
  return errors;
}

FieldErrors ValidateSigningRequest(const Value& object) {
  FieldErrors errors = Meta(object, false);
  Append(errors, ValidateRequestSpec(object.At("spec"), "spec"));
  return errors;
}
FieldErrors ValidateSigningRequestUpdate(const Value& object, const Value& old) { return MetaUpdate(object, old); }

FieldErrors ValidateSubjectAccessReview(const Value& object) {
  FieldErrors errors = ValidateReviewSpec(object.At("spec"), true);
  Append(errors, ValidateNoMeta(object, false));
  return errors;
}
FieldErrors ValidateSelfSubjectAccessReview(const Value& object) {
  FieldErrors errors = ValidateReviewSpec(object.At("spec"), false);
  Append(errors, ValidateNoMeta(object, false));
  return errors;
}
FieldErrors ValidateLocalSubjectAccessReview(const Value& object) {
  FieldErrors errors = ValidateReviewSpec(object.At("spec"), true);
  Append(errors, ValidateNoMeta(object, true));
  const Value &resource = object.At("spec", "resourceAttributes"), &other = object.At("spec", "nonResourceAttributes");
  if (resource.is_map() && Text(resource.At("namespace")) != object::NamespaceOf(object))
    errors.push_back(
        Invalid("spec.resourceAttributes.namespace", Text(resource.At("namespace")), "must match metadata.namespace"));
  if (other.is_map())
    errors.push_back(Invalid("spec.nonResourceAttributes", NonResource(other), "disallowed on this kind of request"));
  return errors;
}

FieldErrors ValidateTokenRequest(const Value& request) {
  constexpr int64_t kLeast = 600, kMost = int64_t{1} << 32;
  FieldErrors errors;
  int64_t seconds = request.At("spec", "expirationSeconds").int_or();
  const std::string path = "spec.expirationSeconds";
  if (seconds < kLeast) errors.push_back(Invalid(path, seconds, "may not specify a duration less than 10 minutes"));
  if (seconds > kMost) errors.push_back(Invalid(path, seconds, "may not specify a duration larger than 2^32 seconds"));
  return errors;
}

}  // namespace apiserver::registry::validation
