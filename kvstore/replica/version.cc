#include "kvstore/replica/version.h"

#include <cstdio>
#include <string>

namespace kvstore::replica {

int MajorMinor(std::string_view version) {
  int major = 2, minor = 0;
  std::sscanf(std::string(version).c_str(), "%d.%d", &major, &minor);
  return major * 1000 + minor;
}

}  // namespace kvstore::replica
