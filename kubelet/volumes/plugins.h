// The accessors of the plug-ins that volumes.def lists.
#pragma once

#include "kubelet/volumes/volume.h"

namespace kubelet::volumes {

#define VOLUME(name) const Plugin& name##Plugin();
#include "kubelet/volumes/volumes.def"
#undef VOLUME

}  // namespace kubelet::volumes
