// base/precompiled.h and what nearly every file of the API's typed clients reads: their templates are half of such a
// file's time in the compiler.
#pragma once

#include "base/precompiled.h"
#include "machinery/client/client.h"
#include "machinery/client/controller.h"
#include "machinery/client/informer.h"
#include "proto/k8s/core/v1/node.pb.h"
#include "proto/k8s/core/v1/pod.pb.h"
