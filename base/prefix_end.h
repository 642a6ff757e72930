// Where the keys that begin with a prefix end, as etcd's ranges want to be told. Pure; any thread.
#pragma once

#include <string>

namespace base {

// The first key behind all that begin with `prefix`; "\0" (everything from the beginning on) when there is none.
std::string PrefixEnd(std::string prefix);

}  // namespace base
