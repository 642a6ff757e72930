// The rules of single kinds: what a create or an update of a Pod, Service, Deployment ... may say, every error with
// path, value, reason and text as the original words it. Trees are of the storage version with defaults filled in.
//
// Every function includes the kind's ObjectMeta rules (ops::ValidateObjectMeta or its update). Kinds are found by name
// in validations.def; a kind without a line has only what holds for all and what its schema declares. Pure;
// thread-safe. Not their job: allocation (IPs, ports), admission, what the schema says about decoding.
#pragma once

#include <string>
#include <string_view>

#include "machinery/object/api_error.h"
#include "machinery/schema/type.h"
#include "machinery/value/value.h"

namespace apiserver::registry::validation {

using machinery::object::FieldErrors;
using machinery::value::Value;

using Check = FieldErrors (*)(const Value& object);
using CheckUpdate = FieldErrors (*)(const Value& object, const Value& old);

// nullptr where the kind has no rules of its own for that operation.
struct Rules {
  std::string_view group, kind;
  Check create = nullptr;
  CheckUpdate update = nullptr;
  CheckUpdate update_status = nullptr;
};
const Rules* FindRules(std::string_view group, std::string_view kind);
// The kind's rules, or what the schema declares for kinds without.
FieldErrors Validate(const machinery::schema::Kind& kind, const Value& object);
FieldErrors ValidateUpdate(const machinery::schema::Kind& kind, const Value& object, const Value& old);
FieldErrors ValidateStatusUpdate(const machinery::schema::Kind& kind, const Value& object, const Value& old);

// A pod, or the template of a kind that makes pods: where it stands ("" = the object itself is the pod).
struct PodAt {
  const Value* pod = nullptr;  // part of the object; null: the kind has none
  std::string path;
};
PodAt PodOf(const machinery::schema::Kind& kind, const Value& object);
// What a server that allows no privileged containers has against a pod or template; any kind may be asked about.
FieldErrors ValidateNotPrivileged(const machinery::schema::Kind& kind, const Value& object);

// Pods have more ways to change than create, update and status.
FieldErrors ValidatePod(const Value& pod);
FieldErrors ValidatePodUpdate(const Value& pod, const Value& old);
FieldErrors ValidatePodStatusUpdate(const Value& pod, const Value& old);
FieldErrors ValidatePodEphemeralContainersUpdate(const Value& pod, const Value& old);
FieldErrors ValidatePodResize(const Value& pod, const Value& old);
// What a Service's addresses and families say together, as it must hold before any is allocated; `old` is null on
// create. Part of the Service's own rules.
FieldErrors ValidateServiceClusterIps(const Value& service, const Value& old);
// autoscaling/v1 Scale as written through a scale subresource.
FieldErrors ValidateScale(const Value& scale);
// authentication/v1 TokenRequest.
FieldErrors ValidateTokenRequest(const Value& request);
// The profile (an appArmorProfile) that a container's AppArmor annotation means; null where it means none.
Value AppArmorProfileOf(std::string_view annotation);
FieldErrors ValidatePodLogOptions(const Value& options);
// Events written through events.k8s.io/v1; the tree is of core/v1 all the same. The table's rules are core/v1's.
FieldErrors ValidateEventOfEventsGroup(const Value& event);
FieldErrors ValidateEventOfEventsGroupUpdate(const Value& event, const Value& old);

}  // namespace apiserver::registry::validation
