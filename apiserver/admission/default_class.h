// The default among classes (StorageClass, IngressClass), as an annotation marks it.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "apiserver/registry/registry.h"

namespace apiserver::admission {

// The name of the newest class that one of the annotations marks as default; among equals the first by name. "" = none.
std::string DefaultClass(registry::Registry& registry, std::string_view group, std::string_view resource,
                         std::initializer_list<std::string_view> annotations);

}  // namespace apiserver::admission
