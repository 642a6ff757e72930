// APIServices name a group version ("v1.apps", "v1."); those that would send requests to a server of their own are
// refused: aggregation is not supported yet.
#include "apiserver/registry/registry.h"
#include "machinery/object/meta.h"

namespace apiserver::registry {

namespace object = machinery::object;
using machinery::schema::Kind;

namespace {

class ApiServiceStrategy final : public Strategy {
 public:
  using Strategy::Strategy;
  object::NameRule name_rule() const override { return object::NameIsPathSegment; }
  FieldErrors Validate(const Operation& op, const Value& service) const override {
    auto errors = Strategy::Validate(op, service);
    Check(service, errors);
    return errors;
  }
  FieldErrors ValidateUpdate(const Operation& op, const Value& service, const Value& old) const override {
    auto errors = Strategy::ValidateUpdate(op, service, old);
    Check(service, errors);
    return errors;
  }

 private:
  static void Check(const Value& service, FieldErrors& errors) {
    std::string version(service.At("spec", "version").string_or()), group(service.At("spec", "group").string_or());
    std::string wanted = version + "." + group;
    if (object::NameOf(service) != wanted)
      errors.push_back(object::Invalid("metadata.name", Value(object::NameOf(service)),
                                       "must be `spec.version+\".\"+spec.group`: \"" + wanted + "\""));
    if (service.At("spec", "service").is_map())
      errors.push_back(
          object::FieldForbidden("spec.service", "aggregated API servers are not supported yet by keelson"));
  }
};

}  // namespace

std::unique_ptr<Strategy> NewApiServiceStrategy(const Kind& kind) { return std::make_unique<ApiServiceStrategy>(kind); }

}  // namespace apiserver::registry
