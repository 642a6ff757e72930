// Node selectors: a pod's nodeSelector and node affinity terms against a node's labels and name (v1 NodeSelector).
// Pure.
#pragma once

#include "scheduler/pod_info.h"

namespace k8s::io::api::core::v1 {
class NodeSelector;
class NodeSelectorTerm;
}  // namespace k8s::io::api::core::v1

namespace scheduler {

// One term: all of its expressions and fields. An empty term matches nothing.
bool Matches(const k8s::io::api::core::v1::NodeSelectorTerm& term, const Node& node);
// Any term.
bool Matches(const k8s::io::api::core::v1::NodeSelector& selector, const Node& node);
// nodeSelector and requiredDuringSchedulingIgnoredDuringExecution together.
bool RequiredAffinityMatches(const Pod& pod, const Node& node);

}  // namespace scheduler
