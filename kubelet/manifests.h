// Between pods as text and pods as messages: manifests read (YAML or JSON, defaulted as the API would), pods printed as
// JSON. Builds the schema for the moment of use and lets it go: both are rare, and the kubelet stays small. Pure.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "kubelet/model/types.h"

namespace kubelet {

base::Result<api::Pod> ParseManifest(const std::string& text);
// A v1 PodList.
std::string PodListJson(const std::vector<PodPtr>& pods);

}  // namespace kubelet
