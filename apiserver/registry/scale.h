// The scale subresource: autoscaling/v1 Scale projected from a parent's replicas and selector, and written back. Works
// for every kind whose schema lists "scale" and that keeps spec.replicas, status.replicas and spec.selector.
#pragma once

#include "apiserver/registry/strategy.h"

namespace apiserver::registry {

Subresource ScaleView(const machinery::schema::Kind& kind, Registry& registry);

}  // namespace apiserver::registry
