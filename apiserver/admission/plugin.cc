#include "apiserver/admission/plugin.h"

#include "machinery/object/meta.h"

namespace apiserver::admission {

namespace object = machinery::object;

base::Status Forbid(const Attributes& a, std::string_view why) {
  std::string name = a.name;
  if (name.empty() && a.object) name = object::NameOf(*a.object);
  if (name.empty() && a.object) name = object::GenerateNameOf(*a.object);
  return object::Forbidden({a.group, a.resource}, name, why);
}

}  // namespace apiserver::admission
