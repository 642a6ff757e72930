// CRI over a unix socket with grpc++, without generated stubs: calls are bytes, completions are posted to the executor.
#pragma once

#include "kubelet/runtimes/runtime.h"

namespace kubelet::runtimes {

std::unique_ptr<Channel> NewGrpcChannel(base::Executor& executor, const std::string& endpoint);

}  // namespace kubelet::runtimes
