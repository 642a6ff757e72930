#include "apiserver/registry/validation/validation.h"

#include "apiserver/registry/validation/check.h"
#include "apiserver/registry/validation/kinds.h"

namespace apiserver::registry::validation {
namespace {

constexpr Rules kRules[] = {
#define X(group, kind, create, update, update_status) {group, kind, create, update, update_status},
#include "apiserver/registry/validation/validations.def"
#undef X
};

}  // namespace

const Rules* FindRules(std::string_view group, std::string_view kind) {
  for (const Rules& r : kRules)
    if (r.group == group && r.kind == kind) return &r;
  return nullptr;
}

FieldErrors Validate(const machinery::schema::Kind& kind, const Value& object) {
  const Rules* rules = FindRules(kind.group, kind.kind);
  if (rules && rules->create) return rules->create(object);
  FieldErrors errors = Meta(object, kind.namespaced);
  Append(errors, ops::ValidateBySchema(*kind.type, object));
  return errors;
}

FieldErrors ValidateUpdate(const machinery::schema::Kind& kind, const Value& object, const Value& old) {
  const Rules* rules = FindRules(kind.group, kind.kind);
  if (rules && rules->update) return rules->update(object, old);
  FieldErrors errors = MetaUpdate(object, old);
  Append(errors, ops::ValidateBySchema(*kind.type, object, &old));
  return errors;
}

FieldErrors ValidateStatusUpdate(const machinery::schema::Kind& kind, const Value& object, const Value& old) {
  const Rules* rules = FindRules(kind.group, kind.kind);
  if (rules && rules->update_status) return rules->update_status(object, old);
  return MetaUpdate(object, old);
}

FieldErrors ValidateMetaOnlyStatusUpdate(const Value& object, const Value& old) { return MetaUpdate(object, old); }

}  // namespace apiserver::registry::validation
