// What nearly every file of the kubelet reads (CMakeLists.txt, keelson_precompile). The runtime's messages stand before
// everything else: their enumerators bear the names of signals, which <signal.h> makes macros of.
#pragma once

#include "proto/cri/runtime.pb.h"
//
#include "machinery/client/precompiled.h"
