#include "apiserver/chain/warnings.h"

#include <algorithm>
#include <set>
#include <string_view>

namespace apiserver::chain {

namespace {

constexpr size_t kTotal = 4096, kItem = 256;

bool Begins(char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }
size_t Characters(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), Begins));
}

// The first kItem characters.
void Cut(std::string& text) {
  size_t seen = 0;
  for (size_t i = 0; i < text.size(); ++i)
    if (Begins(text[i]) && ++seen > kItem) return text.resize(i);
}

}  // namespace

std::vector<std::string> FitWarnings(std::vector<std::string> warnings) {
  std::set<std::string, std::less<>> seen;
  std::erase_if(warnings, [&](const std::string& w) { return w.empty() || !seen.insert(w).second; });
  size_t written = 0;
  for (const auto& w : warnings) written += Characters(w);
  if (written <= kTotal) return warnings;
  written = 0;
  std::erase_if(warnings, [&](std::string& w) {
    if (written >= kTotal) return true;
    Cut(w);
    written += Characters(w);
    return false;
  });
  return warnings;
}

}  // namespace apiserver::chain
