// Where this process spends its CPU time: call stacks sampled a hundred times in each second of it, on every thread,
// while somebody watches; nothing at other times. For daemons' debug pages. One profile at a time per process.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/executor.h"
#include "base/task.h"

namespace base {

struct CpuProfile {
  static constexpr int kHertz = 100;
  // Innermost frame first, each an address inside the instruction (a caller's: inside its call) -> how often.
  std::map<std::vector<uint64_t>, uint64_t> stacks;
  uint64_t lost = 0;  // samples for which there was no room
  Duration duration{};
};

// Code that is mapped into this process, for who looks addresses up later.
struct CodeMapping {
  uint64_t start, limit, offset;
  std::string file;
};
std::vector<CodeMapping> CodeMappings();

// kFailedPrecondition while another one runs.
Task<Result<CpuProfile>> TakeCpuProfile(Context ctx, Executor& executor, Duration duration);

}  // namespace base
