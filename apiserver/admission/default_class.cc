#include "apiserver/admission/default_class.h"

#include "machinery/object/meta.h"

namespace apiserver::admission {

namespace object = machinery::object;
using machinery::value::Value;

std::string DefaultClass(registry::Registry& registry, std::string_view group, std::string_view resource,
                         std::initializer_list<std::string_view> annotations) {
  std::string name, made;
  auto* store = registry.FindStore(group, resource);
  if (!store) return name;
  store->cache().ForEach([&](const auto& o) {
    Value tree = o->Tree();
    bool marked = false;
    for (auto annotation : annotations) marked |= object::AnnotationOf(tree, annotation) == "true";
    std::string at(object::CreationTimestampOf(tree));
    if (marked && (name.empty() || at > made)) {
      name = o->name();
      made = at;
    }
    return true;
  });
  return name;
}

}  // namespace apiserver::admission
