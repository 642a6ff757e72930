#include "kvstore/mvcc/watch.h"

#include <algorithm>

namespace kvstore::mvcc {

using base::Err;
using base::Result;

namespace {
constexpr size_t kSyncBytes = 1 << 20;

size_t Weight(const Event& e, bool prev_kv) {
  return 16 + e.kv->size() + (prev_kv && e.prev_kv ? e.prev_kv->size() : 0);
}
bool Wanted(const WatchSpec& s, const Event& e) { return e.is_delete ? !s.no_delete : !s.no_put; }
}  // namespace

// ---- WatchStream

WatchStream::WatchStream(WatchHub& hub, std::function<void()> wake) : hub_(hub), wake_(std::move(wake)) {
  hub_.streams_.push_back(this);
}

WatchStream::~WatchStream() {
  for (auto& [id, w] : watchers_) hub_.Remove(w.get());
  std::erase(hub_.streams_, this);
}

Result<int64_t> WatchStream::Watch(WatchSpec spec, int64_t wanted) {
  int64_t id = wanted;
  if (wanted > 0) {
    if (watchers_.contains(id) || ended_.contains(id))
      return Err(base::AlreadyExists("duplicate watch ID provided on the WatchStream"));
  } else {
    while (watchers_.contains(next_id_) || ended_.contains(next_id_)) ++next_id_;
    id = next_id_++;
  }
  auto w = std::make_unique<Watcher>();
  w->stream = this;
  w->id = id;
  w->next = spec.start_revision > 0 ? spec.start_revision : hub_.history_.revision() + 1;
  w->spec = std::move(spec);
  Watcher* raw = w.get();
  watchers_.emplace(id, std::move(w));
  Push({.watch_id = id, .revision = hub_.history_.revision(), .created = true});
  hub_.Add(raw);
  return id;
}

bool WatchStream::Cancel(int64_t id) {
  if (watchers_.contains(id)) {
    Drop(id);
  } else if (ended_.erase(id) == 0) {
    return false;
  }
  Push({.watch_id = id, .revision = hub_.history_.revision(), .canceled = true});
  return true;
}

void WatchStream::Drop(int64_t id) {
  auto it = watchers_.find(id);
  hub_.Remove(it->second.get());
  watchers_.erase(it);
}

bool WatchStream::AllSynced() const {
  return std::all_of(watchers_.begin(), watchers_.end(), [](const auto& w) { return w.second->synced; });
}

void WatchStream::RequestProgress() {
  // A client that goes on from what it is told must not end up before a watch's beginning.
  bool early = std::any_of(watchers_.begin(), watchers_.end(), [this](const auto& w) {
    return w.second->spec.start_revision > hub_.history_.revision() + 1;
  });
  if (watchers_.empty() || early) return;
  if (!AllSynced()) {
    progress_wanted_ = true;
    return;
  }
  progress_wanted_ = false;
  Push({.watch_id = kProgressWatchId, .revision = hub_.history_.revision()});
}

void WatchStream::NotifyIdle() {
  for (auto& [id, w] : watchers_) {
    bool idle = !std::exchange(w->heard, false);
    if (idle && w->spec.progress_notify && w->synced) Push({.watch_id = id, .revision = hub_.history_.revision()});
  }
}

void WatchStream::Push(WatchItem item) {
  bool was_empty = queue_.empty();
  queued_bytes_ += item.bytes;
  queue_.push_back(std::move(item));
  if (was_empty && wake_) wake_();
}

std::optional<WatchItem> WatchStream::Next() {
  if (queue_.empty()) return std::nullopt;
  bool was_crowded = crowded();
  WatchItem item = std::move(queue_.front());
  queue_.pop_front();
  queued_bytes_ -= item.bytes;
  if (was_crowded && !crowded()) hub_.Wake();
  return item;
}

// ---- WatchHub

void WatchHub::Wake() {
  if (!unsynced_.empty() && on_work) on_work();
}

void WatchHub::Add(Watcher* w) {
  ++count_;
  prev_kv_count_ += w->spec.prev_kv;
  // A watcher that starts in the future needs no history either.
  if (w->next > history_.revision()) {
    MakeSynced(w);
  } else {
    w->synced = false;
    unsynced_.push_back(w);
    Wake();
  }
}

void WatchHub::MakeSynced(Watcher* w) {
  w->synced = true;
  if (w->spec.range().single()) {
    by_key_[w->spec.key].push_back(w);
  } else {
    by_range_.push_back(w);
  }
}

void WatchHub::Remove(Watcher* w) {
  --count_;
  prev_kv_count_ -= w->spec.prev_kv;
  if (!w->synced) {
    unsynced_.remove(w);
  } else if (w->spec.range().single()) {
    auto it = by_key_.find(w->spec.key);
    std::erase(it->second, w);
    if (it->second.empty()) by_key_.erase(it);
  } else {
    std::erase(by_range_, w);
  }
}

void WatchHub::MakeUnsynced(Watcher* w) {
  Remove(w);
  ++count_;
  prev_kv_count_ += w->spec.prev_kv;
  w->synced = false;
  unsynced_.push_back(w);
}

void WatchHub::Restart(int64_t told) {
  for (WatchStream* stream : streams_) {
    for (auto& [id, w] : stream->watchers_) {
      if (!w->synced) continue;
      w->next = std::max(w->next, told + 1);
      MakeUnsynced(w.get());
    }
  }
  Wake();
}

void WatchHub::Notify(int64_t revision, const std::vector<EventPtr>& events) {
  if (by_key_.empty() && by_range_.empty()) return;
  struct Batch {
    Watcher* watcher;
    std::vector<EventPtr> events;
    size_t bytes = 0;
  };
  std::vector<Batch> batches;
  auto tell = [&](Watcher* w, const EventPtr& e) {
    if (revision < w->next || !Wanted(w->spec, *e)) return;
    if (w->batch == SIZE_MAX) {
      w->batch = batches.size();
      batches.push_back({w, {}, 0});
    }
    Batch& b = batches[w->batch];
    b.events.push_back(e);
    b.bytes += Weight(*e, w->spec.prev_kv);
  };
  for (const EventPtr& e : events) {
    if (auto it = by_key_.find(std::string(e->key)); it != by_key_.end()) {
      for (Watcher* w : it->second) tell(w, e);
    }
    for (Watcher* w : by_range_) {
      if (w->spec.range().Contains(e->key)) tell(w, e);
    }
  }
  for (Batch& b : batches) {
    Watcher* w = b.watcher;
    w->batch = SIZE_MAX;
    if (w->stream->crowded()) {
      w->next = revision;
      MakeUnsynced(w);
      continue;
    }
    w->next = revision + 1;
    w->heard = true;
    w->stream->Push({.watch_id = w->id,
                     .revision = revision,
                     .events = std::move(b.events),
                     .prev_kv = w->spec.prev_kv,
                     .fragment = w->spec.fragment,
                     .bytes = b.bytes});
  }
}

Result<bool> WatchHub::SyncStep() {
  auto it = std::find_if(unsynced_.begin(), unsynced_.end(), [](Watcher* w) { return !w->stream->crowded(); });
  if (it == unsynced_.end()) return false;
  Watcher* w = *it;
  if (w->next < history_.compact_revision()) {
    WatchStream* stream = w->stream;
    int64_t id = w->id;
    stream->Drop(id);
    stream->ended_.insert(id);
    stream->Push({.watch_id = id,
                  .revision = history_.revision(),
                  .canceled = true,
                  .compact_revision = history_.compact_revision()});
    return true;
  }
  TRY_ASSIGN(History::Slice slice, history_.EventsFrom(w->spec.range(), w->next, kSyncBytes, w->spec.prev_kv));
  // One that waits for a later revision (and came here because history was replaced) goes on waiting for it.
  w->next = std::max(w->next, slice.next);
  std::erase_if(slice.events, [&](const EventPtr& e) { return !Wanted(w->spec, *e); });
  size_t bytes = 0;
  for (const EventPtr& e : slice.events) bytes += Weight(*e, w->spec.prev_kv);
  // The next watcher has its turn before this one reads on.
  unsynced_.erase(it);
  bool caught_up = w->next > history_.revision();
  if (caught_up) {
    MakeSynced(w);
  } else {
    unsynced_.push_back(w);
  }
  if (!slice.events.empty()) {
    w->heard = true;
    w->stream->Push({.watch_id = w->id,
                     .revision = history_.revision(),
                     .events = std::move(slice.events),
                     .prev_kv = w->spec.prev_kv,
                     .fragment = w->spec.fragment,
                     .bytes = bytes});
  }
  if (caught_up && w->stream->progress_wanted_) w->stream->RequestProgress();
  return true;
}

}  // namespace kvstore::mvcc
