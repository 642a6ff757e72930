// The files of container logs: reading them back with the options of pods/log (lines/ knows the format), following, and
// rotating them. Reading blocks for a few blocks of a local file at a time. One strand.
#pragma once

#include <functional>
#include <string>

#include "base/sync.h"
#include "kubelet/host/host.h"
#include "kubelet/lines/lines.h"
#include "kubelet/runtimes/runtime.h"

namespace kubelet {

// Sends the log piece by piece; `directory` is that of all logs, `path` a plain file below it. `running` says whether
// more may come (a followed log ends with its container).
base::Task<base::Status> ReadLog(base::Executor& executor, base::Context ctx, std::string directory, std::string path,
                                 lines::Options options, std::function<base::Task<base::Status>(std::string)> send,
                                 std::function<bool()> running);

// The log of one container.
struct Log {
  std::string container_id, path;
};
struct Rotation {
  int64_t max_bytes = 0;  // longer ones are rotated
  int max_files = 0;      // kept in all
  int64_t now_ns = 0;
};
base::Task<base::Status> RotateLog(base::Context ctx, Host& host, runtimes::Runtime& runtime, Log log, Rotation how);

}  // namespace kubelet
