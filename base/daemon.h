// What every daemon's main() does first and last: the main loop, signals, the limit of open files, and telling the
// supervisor. Owned by main(); its thread is the main loop's strand.
//
//   int main(int argc, char** argv) {
//     ... flags, SetupLogging ...
//     base::Daemon daemon;
//     return daemon.Run([&](base::Daemon& d) { return Serve(d, options); });   // Task<Status>
//   }
//
// SIGTERM and SIGINT end context(): the task finishes its work and returns. A second one exits at once with status 1.
// SIGHUP and SIGPIPE do nothing. Child processes start with the ordinary dispositions.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/loop.h"
#include "base/metrics.h"

namespace base {

class Daemon {
 public:
  Daemon();
  ~Daemon();
  Daemon(const Daemon&) = delete;

  Loop& loop() { return loop_; }
  MetricsRegistry& metrics() { return metrics_; }
  // Ends with the first SIGTERM or SIGINT.
  const Context& context() const { return context_; }
  // The first of them that came; 0: none.
  int signal() const;
  // As if a signal had come; from the main loop.
  void Shutdown();

  // Runs `serve` on the main loop until it returns. The exit code: 0 for OK, else 1 after a log line.
  int Run(const std::function<Task<Status>(Daemon&)>& serve);

 private:
  Task<void> WatchSignals(Context ctx);

  Loop loop_;
  MetricsRegistry metrics_;
  Context context_;
  int signal_fd_ = -1;
};

// Tells the supervisor (systemd's notify protocol: $NOTIFY_SOCKET): "READY=1", "STOPPING=1", "STATUS=...". Does nothing
// where nobody listens.
void NotifySupervisor(std::string_view message);

// Raises the soft limit of open files to the hard one; returns what holds afterwards.
uint64_t RaiseOpenFilesLimit();

}  // namespace base
