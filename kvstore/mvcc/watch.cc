#include "kvstore/mvcc/watch.h"

#include <algorithm>

namespace kvstore::mvcc {

using base::Err;
using base::Result;

namespace {
constexpr size_t kSyncBytes = 1 << 20;  // of history at a time
// Queued for clients: of all streams, and of one at most and at least.
constexpr size_t kMaxQueuedBytes = 64 << 20, kMaxOfOne = 4 << 20, kMinOfOne = 16 << 10;
constexpr size_t kItemBytes = 192;  // itself

size_t Weight(const Event& e, bool prev_kv) {
  return 128 + e.kv->size() + (prev_kv && e.prev_kv ? e.prev_kv->size() : 0);
}
bool Wanted(const WatchSpec& s, const Event& e) { return e.is_delete ? !s.no_delete : !s.no_put; }
}  // namespace

// ---- WatchStream

WatchStream::WatchStream(WatchHub& hub, std::function<void()> wake) : hub_(hub), wake_(std::move(wake)) {
  hub_.streams_.push_back(this);
}

WatchStream::~WatchStream() {
  for (auto& [id, w] : watchers_) hub_.Remove(w.get());
  hub_.Rest(*this);
  hub_.queued_bytes_ -= queued_bytes_;
  for (const WatchItem& item : queue_) hub_.queued_events_ -= item.events.size();
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

bool WatchStream::crowded() const { return queued_bytes_ > hub_.Allowance(); }

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
  if (!queue_.empty()) return;  // it does not even read what it has
  for (auto& [id, w] : watchers_) {
    bool idle = !std::exchange(w->heard, false);
    if (idle && w->spec.progress_notify && w->synced) Push({.watch_id = id, .revision = hub_.history_.revision()});
  }
}

void WatchStream::Push(WatchItem item) {
  bool was_empty = queue_.empty();
  item.bytes += kItemBytes;
  queued_bytes_ += item.bytes;
  hub_.queued_bytes_ += item.bytes;
  hub_.queued_events_ += item.events.size();
  queue_.push_back(std::move(item));
  if (was_empty && wake_) wake_();
}

std::optional<WatchItem> WatchStream::Next() {
  queued_bytes_ -= sending_bytes_;
  hub_.queued_bytes_ -= std::exchange(sending_bytes_, 0);
  hub_.MakeRunnable(*this);
  if (queue_.empty()) return std::nullopt;
  WatchItem item = std::move(queue_.front());
  queue_.pop_front();
  hub_.queued_events_ -= item.events.size();
  sending_bytes_ = item.bytes;
  return item;
}

// ---- WatchHub

// A share of what is left, so that streams that do not read leave room for those that do.
size_t WatchHub::Allowance() const {
  size_t left = kMaxQueuedBytes - std::min(kMaxQueuedBytes, queued_bytes_);
  return std::clamp(left / 4, kMinOfOne, kMaxOfOne);
}

void WatchHub::MakeRunnable(WatchStream& stream) {
  if (stream.runnable_ || stream.unsynced_.empty() || stream.crowded()) return;
  stream.runnable_ = runnable_.insert(runnable_.end(), &stream);
  if (on_work) on_work();
}

void WatchHub::Rest(WatchStream& stream) {
  if (stream.runnable_) runnable_.erase(*stream.runnable_);
  stream.runnable_.reset();
}

void WatchHub::Add(Watcher* w) {
  ++count_;
  prev_kv_count_ += w->spec.prev_kv;
  // A watcher that starts in the future needs no history either.
  if (w->next > history_.revision()) {
    MakeSynced(w);
  } else {
    MakeUnsynced(w);
  }
}

void WatchHub::Remove(Watcher* w) {
  --count_;
  prev_kv_count_ -= w->spec.prev_kv;
  Unlink(w);
}

void WatchHub::MakeSynced(Watcher* w) {
  w->synced = true;
  Watchers& peers = w->spec.range().single() ? by_key_[w->spec.key] : by_range_;
  w->place = peers.size();
  peers.push_back(w);
}

void WatchHub::MakeUnsynced(Watcher* w) {
  WatchStream& stream = *w->stream;
  w->synced = false;
  w->queued = stream.unsynced_.insert(stream.unsynced_.end(), w);
  ++unsynced_count_;
  MakeRunnable(stream);
}

// From the list that it is in.
void WatchHub::Unlink(Watcher* w) {
  if (!w->synced) {
    w->stream->unsynced_.erase(w->queued);
    --unsynced_count_;
    if (w->stream->unsynced_.empty()) Rest(*w->stream);
    return;
  }
  auto leave = [w](Watchers& peers) {
    peers.back()->place = w->place;
    peers[w->place] = peers.back();
    peers.pop_back();
  };
  if (!w->spec.range().single()) return leave(by_range_);
  auto it = by_key_.find(w->spec.key);
  leave(it->second);
  if (it->second.empty()) by_key_.erase(it);
}

void WatchHub::Restart(int64_t told) {
  for (WatchStream* stream : streams_) {
    for (auto& [id, w] : stream->watchers_) {
      if (!w->synced) continue;
      w->next = std::max(w->next, told + 1);
      Unlink(w.get());
      MakeUnsynced(w.get());
    }
  }
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
      Unlink(w);
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
  while (!runnable_.empty() && runnable_.front()->crowded()) Rest(*runnable_.front());
  if (runnable_.empty()) return false;
  WatchStream& stream = *runnable_.front();
  // Others have their turn before this stream, and in it this watcher, reads on.
  runnable_.splice(runnable_.end(), runnable_, runnable_.begin());
  Watcher* w = stream.unsynced_.front();
  stream.unsynced_.splice(stream.unsynced_.end(), stream.unsynced_, stream.unsynced_.begin());
  if (w->next < history_.compact_revision()) {
    int64_t id = w->id;
    stream.Drop(id);
    stream.ended_.insert(id);
    stream.Push({.watch_id = id,
                 .revision = history_.revision(),
                 .canceled = true,
                 .compact_revision = history_.compact_revision()});
    return true;
  }
  size_t room = std::min(kSyncBytes, Allowance());
  TRY_ASSIGN(History::Slice slice, history_.EventsFrom(w->spec.range(), w->next, room, w->spec.prev_kv));
  // One that waits for a later revision (and came here because history was replaced) goes on waiting for it.
  w->next = std::max(w->next, slice.next);
  std::erase_if(slice.events, [&](const EventPtr& e) { return !Wanted(w->spec, *e); });
  size_t bytes = 0;
  for (const EventPtr& e : slice.events) bytes += Weight(*e, w->spec.prev_kv);
  bool caught_up = w->next > history_.revision();
  if (caught_up) {
    Unlink(w);
    MakeSynced(w);
  }
  if (!slice.events.empty()) {
    w->heard = true;
    stream.Push({.watch_id = w->id,
                 .revision = history_.revision(),
                 .events = std::move(slice.events),
                 .prev_kv = w->spec.prev_kv,
                 .fragment = w->spec.fragment,
                 .bytes = bytes});
  }
  if (caught_up && stream.progress_wanted_) stream.RequestProgress();
  return true;
}

}  // namespace kvstore::mvcc
