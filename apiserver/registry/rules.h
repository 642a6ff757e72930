// Checks that hold for every kind: ObjectMeta and what the schema itself demands (required, closed sets, immutable
// fields). What only one kind knows is in its strategy. Pure.
#pragma once

#include "apiserver/registry/strategy.h"

namespace apiserver::registry {

FieldErrors CheckNewObject(const Strategy& strategy, const Registry& registry, const Value& object);
FieldErrors CheckChangedObject(const Strategy& strategy, const Registry& registry, const Value& object,
                               const Value& old);

}  // namespace apiserver::registry
