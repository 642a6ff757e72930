#include "kubelet/volumes/mounts.h"

#include <algorithm>
#include <fstream>

namespace kubelet::volumes {

std::string MountPointOf(std::string_view line) {
  size_t at = 0;
  for (int field = 0; field < 4 && at != std::string_view::npos; ++field) at = line.find(' ', at + (field ? 1 : 0));
  if (at == std::string_view::npos) return "";
  std::string_view text = line.substr(at + 1);
  text = text.substr(0, text.find(' '));
  std::string out;
  auto octal = [&](size_t i) { return i < text.size() && text[i] >= '0' && text[i] <= '7'; };
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && octal(i + 1) && octal(i + 2) && octal(i + 3)) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::vector<std::string> MountsBelow(const std::string& directory) {
  std::vector<std::string> out;
  std::ifstream in("/proc/self/mountinfo");
  for (std::string line; std::getline(in, line);) {
    std::string point = MountPointOf(line);
    if (point == directory || point.starts_with(directory + "/")) out.push_back(std::move(point));
  }
  return out;
}

bool IsMountPoint(const std::string& path) {
  auto below = MountsBelow(path);
  return std::ranges::find(below, path) != below.end();
}

}  // namespace kubelet::volumes
