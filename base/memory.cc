#include "base/memory.h"

#include <malloc.h>
#include <unistd.h>

#include <cstdio>

namespace base {

namespace {

size_t ResidentBytes() {
  FILE* f = std::fopen("/proc/self/statm", "re");
  if (f == nullptr) return 0;
  unsigned long size = 0, resident = 0;
  int read = std::fscanf(f, "%lu %lu", &size, &resident);
  std::fclose(f);
  return read == 2 ? resident * static_cast<size_t>(::sysconf(_SC_PAGESIZE)) : 0;
}

}  // namespace

bool ReturnFreedMemory(size_t slack) {
  struct mallinfo2 info = ::mallinfo2();
  // Free pieces that have been given back still count as free: what is resident decides.
  if (info.fordblks <= slack || ResidentBytes() <= info.uordblks + info.hblkhd + slack) return false;
  return ::malloc_trim(0) == 1;
}

}  // namespace base
