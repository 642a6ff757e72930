// How many words of warning one answer carries: as the original's (pkg/endpoints/filters/warning.go), each text once,
// up to 4,096 characters in all; where there would be more, each is cut to 256 and what is still too much is left out.
#pragma once

#include <string>
#include <vector>

namespace apiserver::chain {

std::vector<std::string> FitWarnings(std::vector<std::string> warnings);

}  // namespace apiserver::chain
