// What plug-ins share: refusing, and reading lists of a tree.
#pragma once

#include <string>
#include <string_view>

#include "apiserver/admission/admission.h"
#include "machinery/object/api_error.h"

namespace apiserver::admission {

// 403: `pods "x" is forbidden: why`.
base::Status Forbid(const Attributes& a, std::string_view why);

// Calls f with every entry of a list; does nothing when it is none.
template <class F>
void Each(const machinery::value::Value& list, F f) {
  if (list.is_list())
    for (const auto& v : list.list()) f(v);
}

}  // namespace apiserver::admission
