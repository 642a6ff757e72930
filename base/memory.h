// What the allocator keeps of memory that was freed. It returns the end of its heap by itself; what one long-lived
// piece holds down stays resident after a burst, for ever. Linux with glibc.
#pragma once

#include <cstddef>

namespace base {

// Gives freed pages back to the system when more than `slack` bytes are resident beyond what is in use. Costs a walk
// over the free pieces, and only where it pays a system call for each large one. Thread-safe; true when it gave back.
bool ReturnFreedMemory(size_t slack);

}  // namespace base
