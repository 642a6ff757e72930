#include "kvstore/service/client_versions.h"

namespace kvstore::service {

namespace {

bool IsVersion(std::string_view text) {
  int numbers = 0;
  for (;;) {
    size_t digits = 0;
    while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') ++digits;
    if (digits == 0 || digits > 3) return false;
    ++numbers;
    text.remove_prefix(digits);
    if (text.empty()) return numbers == 2 || numbers == 3;
    if (text[0] != '.') return false;
    text.remove_prefix(1);
  }
}

}  // namespace

std::string_view ClientVersions::Label(std::string_view said) {
  if (auto known = known_.find(said); known != known_.end()) return *known;
  if (known_.size() >= kMost || !IsVersion(said)) return kOther;
  return *known_.emplace(said).first;
}

}  // namespace kvstore::service
