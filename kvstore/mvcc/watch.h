// Watchers: who wants to know of which keys, and what they have been told. A watcher is synced (fed by each transaction
// as it is applied) or unsynced (reading history until it has caught up); one that cannot keep up becomes unsynced and
// costs nothing but its place in history. What all streams together have queued is bounded: the less of that is left,
// the less a single one may queue (WatchHub::Allowance).
//
// Promises per watcher: events in revision order, all events of a revision together, none twice, none left out from its
// start revision on; when history it still needs is compacted it is cancelled and told so. One strand.
#pragma once

#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"
#include "kvstore/mvcc/key_value.h"

namespace kvstore::mvcc {

// One change of one key, shared by all who are told.
struct Event {
  bool is_delete = false;
  Revision revision;
  std::string_view key;       // into `kv`
  base::SharedBytes kv;       // KeyValue bytes; a delete's has the key and its revision
  base::SharedBytes prev_kv;  // null: there was none (or it is compacted, or nobody asked)
  size_t bytes() const { return kv->size() + (prev_kv ? prev_kv->size() : 0); }
};
using EventPtr = std::shared_ptr<const Event>;

struct WatchSpec {
  std::string key;
  std::string end;
  int64_t start_revision = 0;  // 0 = from now on
  bool no_put = false;
  bool no_delete = false;
  bool prev_kv = false;
  bool progress_notify = false;
  bool fragment = false;
  KeyRange range() const { return {key, end}; }
};

// Something to tell a client.
struct WatchItem {
  int64_t watch_id = 0;
  int64_t revision = 0;  // for the header
  std::vector<EventPtr> events;
  bool created = false;
  bool canceled = false;
  int64_t compact_revision = 0;
  bool prev_kv = false;
  bool fragment = false;
  size_t bytes = 0;
};
inline constexpr int64_t kProgressWatchId = -1;

// History as the hub reads it; the Store.
class History {
 public:
  virtual ~History() = default;
  virtual int64_t revision() const = 0;
  virtual int64_t compact_revision() const = 0;
  // Events of the range from revision `from` on, in order, whole revisions, about `max_bytes` of them; sets `next` to
  // the revision to go on from (revision() + 1 when that was all).
  struct Slice {
    std::vector<EventPtr> events;
    int64_t next;
  };
  virtual base::Result<Slice> EventsFrom(const KeyRange& range, int64_t from, size_t max_bytes, bool prev_kv) const = 0;
};

class WatchHub;

// The watchers of one client stream and the queue of what it is to be told.
class WatchStream {
 public:
  // `wake` is called when Next has something and had nothing before.
  WatchStream(WatchHub& hub, std::function<void()> wake);
  ~WatchStream();
  WatchStream(const WatchStream&) = delete;

  // The watch's id; `wanted` <= 0 picks one. kAlreadyExists when it is taken. Its `created` item comes before all
  // others.
  base::Result<int64_t> Watch(WatchSpec spec, int64_t wanted = 0);
  // Tells so by a `canceled` item; false: there is none.
  bool Cancel(int64_t id);
  // Says so with kProgressWatchId once every watcher is synced; not at all without a watcher, or while one begins in
  // the future.
  void RequestProgress();
  // A word to every progress_notify watcher that has heard nothing since the last call.
  void NotifyIdle();
  // What the last call gave counts as queued until this one: it is on its way to the client meanwhile.
  std::optional<WatchItem> Next();
  size_t watchers() const { return watchers_.size(); }

 private:
  friend class WatchHub;
  struct Watcher {
    WatchStream* stream;
    int64_t id;
    WatchSpec spec;
    int64_t next;  // the first revision it has not been told of
    bool synced = false;
    bool heard = false;
    size_t batch = SIZE_MAX;               // WatchHub::Notify's scratch
    size_t place = 0;                      // synced: in the hub's list of its key, or of ranges
    std::list<Watcher*>::iterator queued;  // unsynced: in the stream's list
  };
  void Push(WatchItem item);
  void Drop(int64_t id);
  bool crowded() const;
  bool AllSynced() const { return unsynced_.empty(); }

  WatchHub& hub_;
  std::function<void()> wake_;
  std::map<int64_t, std::unique_ptr<Watcher>> watchers_;
  std::list<Watcher*> unsynced_;                               // in the order in which they read on
  std::optional<std::list<WatchStream*>::iterator> runnable_;  // in the hub's list
  std::set<int64_t> ended_;  // by a compaction; their ids are free again when the client cancels them too
  std::deque<WatchItem> queue_;
  size_t queued_bytes_ = 0;  // with what is on its way
  size_t sending_bytes_ = 0;
  int64_t next_id_ = 0;
  bool progress_wanted_ = false;
};

class WatchHub {
 public:
  explicit WatchHub(const History& history) : history_(history) {}
  // Called by the Store after each transaction that changed something.
  void Notify(int64_t revision, const std::vector<EventPtr>& events);
  bool has_watchers() const { return count_ > 0; }
  // History was replaced as a whole (a snapshot of another member): whoever had heard everything up to `told` reads on
  // from there.
  void Restart(int64_t told);
  bool wants_prev_kv() const { return prev_kv_count_ > 0; }
  // Lets one unsynced watcher read on; false when none is waiting whose stream has room.
  base::Result<bool> SyncStep();
  size_t unsynced() const { return unsynced_count_; }
  // Called whenever there is work for SyncStep.
  std::function<void()> on_work;
  size_t count() const { return count_; }
  // Of all streams, with what is on its way to the clients.
  size_t queued_bytes() const { return queued_bytes_; }
  // Of all streams; what is on its way is no longer among them.
  size_t queued_events() const { return queued_events_; }
  // A stream that has this much queued is told no more until it has read some of it.
  size_t Allowance() const;

 private:
  friend class WatchStream;
  using Watcher = WatchStream::Watcher;
  using Watchers = std::vector<Watcher*>;
  void Add(Watcher* w);
  void Remove(Watcher* w);
  void MakeSynced(Watcher* w);
  void MakeUnsynced(Watcher* w);
  void Unlink(Watcher* w);
  // If it has anything to do, and room for it.
  void MakeRunnable(WatchStream& stream);
  void Rest(WatchStream& stream);

  const History& history_;
  std::vector<WatchStream*> streams_;
  std::unordered_map<std::string, Watchers> by_key_;  // synced ones; looked up, never walked
  Watchers by_range_;
  std::list<WatchStream*> runnable_;  // with unsynced watchers and room for what they read
  size_t count_ = 0;
  size_t unsynced_count_ = 0;
  size_t prev_kv_count_ = 0;
  size_t queued_bytes_ = 0;
  size_t queued_events_ = 0;
};

}  // namespace kvstore::mvcc
