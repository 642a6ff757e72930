#include "kvstore/raft/trace.h"

#include <cstdarg>
#include <cstdio>

namespace kvstore::raft {
namespace {

std::string Print(const char* format, va_list args) {
  char line[1024];
  int n = std::vsnprintf(line, sizeof line, format, args);
  return n < 0 ? std::string() : std::string(line, std::min<size_t>(static_cast<size_t>(n), sizeof line - 1));
}

}  // namespace

#define KEELSON_TRACE(name)                          \
  void Tracer::name(const char* format, ...) const { \
    if (!sink_) return;                              \
    va_list args;                                    \
    va_start(args, format);                          \
    std::string line = Print(format, args);          \
    va_end(args);                                    \
    sink_(TraceLevel::k##name, line);                \
  }
KEELSON_TRACE(Debug)
KEELSON_TRACE(Info)
KEELSON_TRACE(Warning)
KEELSON_TRACE(Error)
#undef KEELSON_TRACE

}  // namespace kvstore::raft
