// CRI over a unix socket, by the engine's own gRPC client: calls wait on the loop and hold no threads.
#pragma once

#include "kubelet/runtimes/runtime.h"

namespace kubelet::runtimes {

std::unique_ptr<Channel> NewSocketChannel(base::Loop& loop, const std::string& endpoint);

}  // namespace kubelet::runtimes
