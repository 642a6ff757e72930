// A log file that is put aside when it is full, as lumberjack (etcd's choice) does it: `etcd.log` becomes
// `etcd-2026-11-23T07-24-00.000.log`, beside it; of those the old ones and the many go, and the others may be packed
// with gzip. Owned by a log sink; one thread at a time. Packing and removing happen on a thread of its own, which a
// writer never waits for.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/log.h"
#include "base/status.h"

namespace base {

class RotatingFile {
 public:
  using Clock = std::function<int64_t()>;  // milliseconds since 1970; none = the machine's
  // Goes on behind what the file holds; directories are made.
  static Result<std::unique_ptr<RotatingFile>> Open(std::string path, LogRotation rotation, Clock now_ms = {});
  ~RotatingFile();  // waits for what is being packed
  RotatingFile(const RotatingFile&) = delete;
  // A piece longer than a whole file is an error, and lost.
  Status Write(std::string_view bytes);

 private:
  RotatingFile(std::string path, LogRotation rotation, Clock now_ms);
  uint64_t Limit() const;
  Status OpenCurrent();
  Status Rotate();

  const std::string path_;
  const LogRotation rotation_;
  const Clock now_ms_;
  int fd_ = -1;
  uint64_t size_ = 0;
  class Tidier;
  std::unique_ptr<Tidier> tidier_;  // null where everything stays as it is
};

// The name under which `path` is put aside at that time. Pure but for the time zone.
std::string BackupName(const std::string& path, int64_t now_ms, bool local_time);

}  // namespace base
