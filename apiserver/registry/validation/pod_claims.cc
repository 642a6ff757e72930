// Resource claims of a pod, and the claims that its containers name.
#include <set>

#include "apiserver/registry/validation/check.h"
#include "base/strings.h"

namespace apiserver::registry::validation {
namespace {

FieldErrors ValidateClaimSource(const Value& claim, const std::string& path) {
  FieldErrors errors;
  const Value &name = claim.At("resourceClaimName"), &from = claim.At("resourceClaimTemplateName");
  auto bad = [&](const char* why) {
    errors.push_back(Invalid(path,
                             GoStruct(claim, {{"Name", "name", ""},
                                              {"ResourceClaimName", "resourceClaimName", Value()},
                                              {"ResourceClaimTemplateName", "resourceClaimTemplateName", Value()}}),
                             why));
  };
  if (name.is_string() && from.is_string())
    bad("at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified");
  if (!name.is_string() && !from.is_string())
    bad("must specify one of: `resourceClaimName`, `resourceClaimTemplateName`");
  for (const char* field : {"resourceClaimName", "resourceClaimTemplateName"})
    if (const Value& v = claim.At(field); v.is_string())
      AppendInvalid(errors, Child(path, field), v, object::IsDns1123Subdomain(v.as_string()));
  return errors;
}

// `known`: the names that the pod has claims under.
FieldErrors ValidateContainerClaims(const Value& claims, const std::set<std::string>& known, const std::string& path) {
  FieldErrors errors;
  std::set<std::string> whole, in_part, seen;
  for (size_t i = 0; i < Items(claims).size(); ++i) {
    const Value& claim = claims.At(i);
    std::string name = Text(claim.At("name")), request = Text(claim.At("request")), at = Index(path, i);
    if (name.empty()) {
      errors.push_back(Required(at));
      continue;
    }
    if (whole.contains(name)) {
      errors.push_back(Duplicate(at, name));
    } else {
      std::string key = request.empty() ? name : name + "/" + request;
      if (!request.empty()) AppendInvalid(errors, Child(at, "request"), request, object::IsDns1123Label(request));
      if (!seen.insert(key).second || (request.empty() && in_part.contains(name))) errors.push_back(Duplicate(at, key));
      (request.empty() ? whole : in_part).insert(name);
    }
    if (known.contains(name)) continue;
    FieldError e = FieldNotFound(at, name);
    e.detail = "must be one of the names in pod.spec.resourceClaims";
    e.detail += known.empty() ? " which is empty" : ": " + base::Join({known.begin(), known.end()}, ", ");
    errors.push_back(std::move(e));
  }
  return errors;
}

}  // namespace

FieldErrors ValidateResourceClaims(const Value& spec, const std::string& path) {
  FieldErrors errors;
  std::set<std::string> names;
  const List& claims = Items(spec.At("resourceClaims"));
  for (size_t i = 0; i < claims.size(); ++i) {
    std::string at = Index(Child(path, "resourceClaims"), i), name = Text(claims[i].At("name"));
    if (name.empty()) {
      errors.push_back(Required(Child(at, "name")));
    } else if (!names.insert(name).second) {
      errors.push_back(Duplicate(Child(at, "name"), name));
    } else {
      AppendInvalid(errors, Child(at, "name"), name, object::IsDns1123Label(name));
    }
    Append(errors, ValidateClaimSource(claims[i], at));
  }
  for (const char* list : {"containers", "initContainers"}) {
    const List& containers = Items(spec.At(list));
    for (size_t i = 0; i < containers.size(); ++i)
      Append(errors, ValidateContainerClaims(containers[i].At("resources", "claims"), names,
                                             Child(Index(Child(path, list), i), "resources", "claims")));
  }
  return errors;
}

}  // namespace apiserver::registry::validation
