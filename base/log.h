// The structured log: a message and key/value fields, as klog writes it (text) or as one JSON object a line.
//
//   base::LogInfo("Started container", {{"pod", key}, {"container", name}});
//   base::LogError("Failed to sync pod", status, {{"pod", key}});
//   base::LogV(4, "Cache hit", {{"key", k}});       // only with -v >= 4
//
// No secret goes into a log: give names, not contents. Thread-safe. SetupLogging is called once by base/daemon; before
// that lines go to stderr as text.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace base {

// One field's value, ready to print. Strings are quoted by the writer.
class LogValue {
 public:
  LogValue(std::string_view s) : text_(s), quoted_(true) {}
  LogValue(const std::string& s) : text_(s), quoted_(true) {}
  LogValue(const char* s) : text_(s), quoted_(true) {}
  LogValue(bool b) : text_(b ? "true" : "false") {}
  LogValue(double d);
  template <class I>
    requires std::is_integral_v<I>
  LogValue(I i) : text_(std::to_string(i)) {}
  LogValue(const Status& s) : text_(s.ToString()), quoted_(true) {}
  LogValue(const std::vector<std::string>& list);  // ["a","b"]
  const std::string& text() const { return text_; }
  bool quoted() const { return quoted_; }

 private:
  std::string text_;
  bool quoted_ = false;
};
struct LogField {
  std::string_view key;
  LogValue value;
};
using LogFields = std::initializer_list<LogField>;

enum class LogLevel { kDebug, kInfo, kWarning, kError, kFatal };
enum class LogFormat {
  kText,
  kJson,
  kEtcdJson,     // level, ts, caller, msg as etcd's zap lines
  kEtcdConsole,  // the same between tabs, the fields as JSON behind them
};

// When a log file is put aside, and what becomes of those put aside (rotating_file.h).
struct LogRotation {
  int max_megabytes = 100;
  int max_days = 0;     // 0: however old
  int max_backups = 0;  // 0: however many
  bool local_time = false;
  bool compress = false;
};

inline constexpr std::string_view kLogToStderr = "stderr", kLogToStdout = "stdout", kLogToJournal = "systemd/journal";

struct LogOptions {
  LogFormat format = LogFormat::kText;
  int verbosity = 0;                    // -v
  LogLevel minimum = LogLevel::kInfo;   // etcd's --log-level
  std::vector<std::string> outputs;     // each one of the three words or a file; none = stderr
  std::optional<LogRotation> rotation;  // of the files
};
Status SetupLogging(const LogOptions& options);

// `verbosity` only shows in JSON ("v"). // tidy: parameters: the place of the call comes in by default values
void Log(LogLevel level, std::string_view message, LogFields fields, const char* file = __builtin_FILE(),
         int line = __builtin_LINE(), int verbosity = 0);
inline void LogInfo(std::string_view m, LogFields f = {}, const char* file = __builtin_FILE(),
                    int line = __builtin_LINE()) {
  Log(LogLevel::kInfo, m, f, file, line);
}
inline void LogWarning(std::string_view m, LogFields f = {}, const char* file = __builtin_FILE(),
                       int line = __builtin_LINE()) {
  Log(LogLevel::kWarning, m, f, file, line);
}
// The field "err" is added.
void LogError(std::string_view message, const Status& error, LogFields fields = {}, const char* file = __builtin_FILE(),
              int line = __builtin_LINE());
// Writes, flushes and exits with status 1: for a daemon that cannot go on.
[[noreturn]] void LogFatal(std::string_view message, const Status& error, LogFields fields = {},
                           const char* file = __builtin_FILE(), int line = __builtin_LINE());

extern std::atomic<int> log_verbosity;
inline bool LogEnabled(int v) { return v <= log_verbosity.load(std::memory_order_relaxed); }
inline void LogV(int v, std::string_view m, LogFields f = {}, const char* file = __builtin_FILE(),
                 int line = __builtin_LINE()) {
  if (LogEnabled(v)) Log(LogLevel::kInfo, m, f, file, line, v);
}

}  // namespace base
