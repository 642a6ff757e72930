// What a core says about its own decisions, in the words that etcd's operators (and the text stories) know. Owned by
// whoever made the core; called on its strand.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace kvstore::raft {

enum class TraceLevel : uint8_t { kDebug, kInfo, kWarning, kError };

class Tracer {
 public:
  using Sink = std::function<void(TraceLevel, const std::string&)>;

  Tracer() = default;
  explicit Tracer(Sink sink) : sink_(std::move(sink)) {}

  // Arguments that are costly to make belong behind this.
  bool on() const { return static_cast<bool>(sink_); }
  void Debug(const char* format, ...) const __attribute__((format(printf, 2, 3)));
  void Info(const char* format, ...) const __attribute__((format(printf, 2, 3)));
  void Warning(const char* format, ...) const __attribute__((format(printf, 2, 3)));
  void Error(const char* format, ...) const __attribute__((format(printf, 2, 3)));

 private:
  Sink sink_;
};

}  // namespace kvstore::raft
