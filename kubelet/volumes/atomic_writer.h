// A directory whose files change all at once: content lies in a timestamped directory, "..data" is a link to it, and
// the visible names are links through "..data"; a rename of the link swaps everything. Readers of any name see either
// the old or the new set, also across a crash. The layout is the original's (and what programs inside containers
// watch).
//
// Pure file work; call it on a blocking pool.
#pragma once

#include <string>

#include "base/status.h"
#include "kubelet/volumes/volume.h"

namespace kubelet::volumes {

// Makes `directory` hold exactly `payload`. Nothing is written when it does already. `group` >= 0: files and
// directories belong to it and are readable by it.
base::Status WritePayload(const std::string& directory, const Payload& payload, int64_t group, int64_t now_ns);

}  // namespace kubelet::volumes
