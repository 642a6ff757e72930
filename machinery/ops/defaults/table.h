// Defaults that depend on other fields, as functions of one message: what a field's own default in the schema cannot
// say. They run before the schema's unconditional defaults of the same message and of everything below it, so a
// function that needs such a default reads it as "absent means ...". Pure; thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "machinery/value/value.h"

namespace machinery::ops::defaults {

struct Context {
  std::string now;  // RFC 3339, whole seconds; empty: fields that default to the present stay absent
};

struct TypeDefault {
  std::string_view type;  // full message name, "k8s.io.api.core.v1.ServiceSpec"
  void (*apply)(value::Value& self, const Context& context);
};

// All rows, of every group (defaults.def).
const std::vector<TypeDefault>& All();

// Helpers of the functions.
inline bool Absent(const value::Value& v, std::string_view field) { return v.At(field).is_null(); }
inline bool NoText(const value::Value& v, std::string_view field) { return v.At(field).string_or().empty(); }
bool NoEntries(const value::Value& v, std::string_view field);  // absent or an empty list or map
void SetIfAbsent(value::Value& v, std::string_view field, value::Value otherwise);
// Calls f(item) for each item of the list `field`.
template <class F>
void ForEach(value::Value& v, std::string_view field, F f) {
  if (!v.At(field).is_list()) return;
  for (value::Value& item : v.Ensure(field).list()) f(item);
}

// Completes the requests and limits that a pod's spec states for all its containers.
void PodLevelResources(value::Value& spec);

// "Always" when an image's tag is latest or it has neither tag nor digest, else "IfNotPresent".
std::string_view PullPolicyOf(std::string_view image);

}  // namespace machinery::ops::defaults
