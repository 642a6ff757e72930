// What other parts of the server ask about pods. Pure.
#pragma once

#include <string_view>

#include "machinery/value/value.h"

namespace apiserver::registry {

// "Guaranteed", "Burstable" or "BestEffort", from the containers' cpu and memory.
std::string_view QosClassOf(const machinery::value::Value& pod);

}  // namespace apiserver::registry
