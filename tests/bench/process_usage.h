// What a measured process has cost so far, from the kernel's own books: for the load generators, whose own cost does
// not count.
#pragma once

#include <time.h>
#include <unistd.h>

#include <fstream>
#include <string>

namespace bench {

// User and system CPU in microseconds; 0 for no process. The clock, unlike /proc, is not in ticks of 10 ms.
inline double CpuMicros(int pid) {
  clockid_t clock;
  timespec t{};
  if (pid == 0 || clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) != 0) return 0;
  return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) / 1e3;
}

inline double RssBytes(int pid) {
  if (pid == 0) return 0;
  std::ifstream in("/proc/" + std::to_string(pid) + "/statm");
  double size = 0, resident = 0;
  in >> size >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}

}  // namespace bench
