// Growing delays per key, as client-go's flowcontrol.Backoff counts them: the first failure waits `initial`, each
// further one twice as long up to `longest`; a key that stayed away for twice the longest delay starts anew. One
// strand.
#pragma once

#include <algorithm>
#include <map>
#include <string>

#include "base/executor.h"

namespace kubelet {

class Backoff {
 public:
  Backoff(base::Duration initial, base::Duration longest) : initial_(initial), longest_(longest) {}

  base::Duration Get(const std::string& key) const {
    auto it = entries_.find(key);
    return it == entries_.end() ? base::Duration(0) : it->second.delay;
  }
  // Times are wall-clock nanoseconds. True while `event` (when it failed) is younger than the key's delay.
  bool InBackoffSince(const std::string& key, int64_t event_ns, int64_t now_ns) const {
    auto it = entries_.find(key);
    if (it == entries_.end() || Expired(event_ns, it->second)) return false;
    return now_ns - event_ns < it->second.delay.count();
  }
  // The same counted from the last Next.
  bool InBackoff(const std::string& key, int64_t now_ns) const {
    auto it = entries_.find(key);
    if (it == entries_.end() || Expired(now_ns, it->second)) return false;
    return now_ns - it->second.updated_ns < it->second.delay.count();
  }
  void Next(const std::string& key, int64_t event_ns, int64_t now_ns) {
    auto [it, fresh] = entries_.try_emplace(key);
    Entry& e = it->second;
    e.delay = fresh || Expired(event_ns, e) ? initial_ : std::min(e.delay * 2, longest_);
    e.updated_ns = now_ns;
  }
  // Forgets keys that were left alone long enough; call now and then.
  void Collect(int64_t now_ns) {
    std::erase_if(entries_, [&](const auto& e) { return Expired(now_ns, e.second); });
  }

 private:
  struct Entry {
    base::Duration delay{};
    int64_t updated_ns = 0;
  };
  bool Expired(int64_t event_ns, const Entry& e) const { return event_ns - e.updated_ns > 2 * longest_.count(); }
  base::Duration initial_, longest_;
  std::map<std::string, Entry> entries_;
};

}  // namespace kubelet
