// The files of container logs: reading them back with the options of pods/log (lines/ knows the format), following, and
// rotating them. Reading blocks for a few blocks of a local file at a time. One strand.
#pragma once

#include <functional>
#include <string>

#include "base/sync.h"
#include "kubelet/lines/lines.h"
#include "kubelet/runtimes/runtime.h"

namespace kubelet {

// Sends the log piece by piece; `directory` is that of all logs, `path` a plain file below it. `running` says whether
// more may come (a followed log ends with its container).
base::Task<base::Status> ReadLog(base::Executor& executor, base::Context ctx, std::string directory, std::string path,
                                 lines::Options options, std::function<base::Task<base::Status>(std::string)> send,
                                 std::function<bool()> running);

// Rotates the log when it is longer than `max_bytes`, keeping `max_files` in all.
base::Task<base::Status> RotateLog(base::Context ctx, runtimes::Runtime& runtime, std::string container_id,
                                   std::string path, int64_t max_bytes, int max_files, int64_t now_ns);

}  // namespace kubelet
