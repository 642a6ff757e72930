// Fields of a pod that follow from other fields of it when it is written. Pure.
#pragma once

#include <string>
#include <vector>

#include "machinery/value/value.h"

namespace apiserver::registry {

// AppArmor annotations become the fields that replaced them; what to tell the writer of each that should be a field.
std::vector<std::string> AppArmorFromAnnotations(machinery::value::Value& pod);

// matchLabelKeys and mismatchLabelKeys of affinity terms and spread constraints become requirements of their selectors,
// with the values that the pod's labels have when it is made.
void MatchOwnLabels(machinery::value::Value& pod);

// A status written by someone who does not know observedGeneration keeps it, of the pod and of each condition.
void KeepObservedGenerations(machinery::value::Value& pod, const machinery::value::Value& old);

}  // namespace apiserver::registry
