#include "kvstore/mvcc/timeline.h"

#include <algorithm>

namespace kvstore::mvcc {

void Timeline::Sort() {
  // Nearly always it is in order already: that is how the log was written.
  if (!std::ranges::is_sorted(slots_, {}, &Slot::main)) std::ranges::sort(slots_, {}, &Slot::main);
}

Timeline::Slots::const_iterator Timeline::From(int64_t main) const {
  return std::ranges::lower_bound(slots_, main, {}, &Slot::main);
}

Timeline::Slots::iterator Timeline::Find(int64_t main, const Location& at) {
  auto it = std::ranges::lower_bound(slots_, main, {}, &Slot::main);
  while (it != slots_.end() && it->main == main && (it->segment != at.segment || it->offset != at.offset)) ++it;
  return it != slots_.end() && it->main == main ? it : slots_.end();
}

void Timeline::Moved(int64_t main, const Location& from, const Location& to) {
  if (auto it = Find(main, from); it != slots_.end()) *it = {main, to.segment, to.offset};
}

void Timeline::Forget(int64_t main, const Location& at) {
  if (auto it = Find(main, at); it != slots_.end()) slots_.erase(it);
}

void Timeline::ForgetBefore(int64_t main) { slots_.erase(slots_.begin(), From(main)); }

}  // namespace kvstore::mvcc
