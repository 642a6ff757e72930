#include "kvstore/replica/dying_files.h"

#include <algorithm>

namespace kvstore::replica {

namespace {
// Takes the journal about a millisecond.
constexpr uint64_t kStepBytes = 4 << 20;
}  // namespace

void DyingFiles::Add(std::shared_ptr<base::File> file) {
  if (file) waiting_.push_back(std::move(file));
}

std::function<void()> DyingFiles::Next() {
  if (!shrinking_ || !shrinking_->file) {
    shrinking_.reset();
    auto unread = [](const auto& file) { return file.use_count() == 1; };
    auto it = std::find_if(waiting_.begin(), waiting_.end(), unread);
    if (it == waiting_.end()) return {};
    shrinking_ = std::make_shared<Shrinking>(Shrinking{std::move(*it)});
    waiting_.erase(it);
  }
  return [s = shrinking_] { s->Step(); };
}

void DyingFiles::Shrinking::Step() {
  auto size = file->Size();
  uint64_t left = size && *size > kStepBytes ? *size - kStepBytes : 0;
  // One that cannot be shortened is closed, and its space comes back at once.
  if (!file->Truncate(left).ok() || left == 0) file.reset();
}

}  // namespace kvstore::replica
