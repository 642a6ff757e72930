// Container logs in the runtime's file format ("<time> stdout F text"): reading them back with the options of
// pods/log, following, and rotating them. Reading blocks for a few blocks of a local file at a time. One strand.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/sync.h"
#include "kubelet/runtimes/runtime.h"

namespace kubelet {

struct LogOptions {
  bool follow = false, timestamps = false;
  std::optional<int64_t> tail_lines, limit_bytes;
  int64_t since_ns = 0;
  std::string stream;  // "", "All", "Stdout", "Stderr"
};

// Sends the log piece by piece. `running` says whether more may come (a followed log ends with its container).
base::Task<base::Status> ReadLog(base::Executor& executor, base::Context ctx, std::string path, LogOptions options,
                                 std::function<base::Task<base::Status>(std::string)> send,
                                 std::function<bool()> running);

// One line of the file as the client gets it; nullopt when the options leave it out.
std::optional<std::string> FormatLogLine(std::string_view line, const LogOptions& options);
// Where the last `lines` lines of a text file begin.
int64_t TailOffset(int fd, int64_t lines);

// Rotates the log when it is longer than `max_bytes`, keeping `max_files` in all.
base::Task<base::Status> RotateLog(base::Context ctx, runtimes::Runtime& runtime, std::string container_id,
                                   std::string path, int64_t max_bytes, int max_files, int64_t now_ns);

}  // namespace kubelet
