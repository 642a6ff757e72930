// The machine's mount table, as far as the kubelet asks it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kubelet::volumes {

// Mount points at or below a directory, in the kernel's order: a mount comes after what it is mounted on.
std::vector<std::string> MountsBelow(const std::string& directory);
bool IsMountPoint(const std::string& path);
// The mount point of one line of mountinfo, its escapes undone; "" when it has none.
std::string MountPointOf(std::string_view line);

}  // namespace kubelet::volumes
