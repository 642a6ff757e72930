// The watch cache: every object of a resource in memory, current, with a window of its past. Lists, gets and watches
// are served from it; the store sees one revision read for many of them.
//
// A Mirror keeps ONE list-then-watch of the whole /registry prefix and feeds a WatchCache per resource, so that any
// write anywhere moves every cache's revision forward. The list is of some way back, so that the watch fills the
// windows: a client goes on at an apiserver that has just started where it was at another. When the store's watch
// cannot be continued (compacted), everything is listed again and all watchers are closed; clients relist.
//
// One strand. Readers copy shared pointers; nothing they hold changes under them.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "apiserver/storage/interface.h"
#include "apiserver/storage/object.h"
#include "base/metrics.h"
#include "base/sync.h"

namespace apiserver::storage {

// One change as the cache saw it. `object` is the new state (for a deletion: the last state with the deletion's
// revision), `previous` the state before (null for a creation).
struct Change {
  uint64_t revision = 0;
  bool deleted = false;
  ObjectPtr object, previous;
  // Slot for encoded frames shared by the watchers that show this change alike; filled by registry/watch.
  struct Frame {
    const machinery::schema::Kind* version;
    uint8_t media, type;
    base::SharedBytes bytes;
  };
  mutable std::vector<Frame> frames;
  // `previous` with this change's revision: what watchers see whose selector the object has left. Made at most once.
  const ObjectPtr& Gone() const;
  mutable ObjectPtr gone;
};
using ChangePtr = std::shared_ptr<const Change>;

// What a reader wants to see. Label and field selectors are evaluated by `matches` (null: everything); the other
// members narrow down by index.
struct Filter {
  std::string namespace_name;  // "" = all
  std::string name;            // "" = all
  std::string node_name;       // pods on one node; "" = all
  std::function<bool(const Object&)> matches;
  bool Matches(const Object& o) const;
};

struct CacheLimits {
  size_t window = 2048;           // changes kept per resource
  size_t window_bytes = 8 << 20;  // message bytes kept alive only by the window
  size_t watcher_queue = 1000;    // undelivered changes; a slower watcher is closed
  // The same while a watcher still reads the state (or the past) that it asked for.
  size_t watcher_queue_at_start = 10'000;
};

class WatchCache;

// A registered reader of changes. Destroying it ends the watch.
class CacheWatcher {
 public:
  ~CacheWatcher();
  struct Item {
    enum class Type : uint8_t { kAdded, kModified, kDeleted, kBookmark } type;
    ChangePtr change;  // null for bookmarks and for objects of the initial state
    ObjectPtr object;  // what to show; null for bookmarks
    uint64_t revision = 0;
    bool initial_events_end = false;
  };
  // The next item; kAborted when the watcher was too slow or the cache was reloaded, kCancelled with the context.
  base::Task<base::Result<Item>> Next(base::Context ctx);
  // An item that is there already.
  std::optional<Item> TryNext();
  // From now on an item that comes while nothing is queued is offered to `sink` at once, in the turn it comes: a
  // thousand watchers need not be woken for one change. What it refuses (false) is queued for Next. It must not destroy
  // the watcher.
  void OfferTo(std::function<bool(const Item&)> sink) { sink_ = std::move(sink); }
  // From now on a bookmark comes about once a minute.
  void WantBookmarks() { bookmarks_ = true; }

 private:
  friend class WatchCache;
  CacheWatcher(WatchCache& cache, uint64_t id, Filter filter);
  void Offer(const ChangePtr& change);
  void Push(Item item);
  void End(base::Status why);
  WatchCache* cache_;
  uint64_t id_;
  Filter filter_;
  // What Offer may add to the queue: the state it began with counts for nothing.
  bool Full() const;
  bool bookmarks_ = false;
  std::deque<Item> queue_;
  size_t initial_ = 0;  // items at the front of the queue that were there at the beginning
  std::function<bool(const Item&)> sink_;
  base::Event ready_;
  base::Status ended_;
};

class WatchCache {
 public:
  WatchCache(base::Executor& executor, const Resource& resource, EncodingBudget& budget, CacheLimits limits);
  ~WatchCache();

  const Resource& resource() const { return resource_; }
  bool ready() const { return ready_; }
  // The revision the content is known to be current for.
  uint64_t revision() const { return revision_; }
  // Waits until revision() >= `revision`.
  base::Task<base::Status> WaitForRevision(base::Context ctx, uint64_t revision);
  base::Task<base::Status> WaitReady(base::Context ctx);

  ObjectPtr Get(std::string_view key) const;  // "ns/name"; null when absent
  // There is something at the key that does not decode: the store itself can say what.
  bool Unreadable(std::string_view key) const { return unreadable_.contains(key); }
  size_t size() const { return objects_.size(); }

  struct ListQuery {
    Filter filter;
    std::string start_key;  // key (below the prefix) to begin with; "" = the beginning
    size_t limit = 0;       // 0 = all
    uint64_t revision = 0;  // 0 = now; otherwise the state at this older revision
  };
  struct Page {
    std::vector<ObjectPtr> objects;  // in key order
    std::string next_key;            // where to go on; "" = this was the end
    size_t remaining = 0;            // keys left after this page, not filtered; 0 when unknown
    uint64_t revision = 0;
  };
  // kOutOfRange when the asked revision is older than the window.
  base::Result<Page> List(const ListQuery& query) const;
  // Every object, in key order, until `fn` returns false.
  void ForEach(const std::function<bool(const ObjectPtr&)>& fn) const;
  // The oldest revision a list or watch may ask for.
  uint64_t oldest_revision() const { return window_start_; }

  // Changes after `from`, those in the window first. kOutOfRange when `from` is older than the window.
  base::Result<std::unique_ptr<CacheWatcher>> Watch(Filter filter, uint64_t from);
  // The present state as kAdded items, then changes. `end_mark`: a bookmark marked initial_events_end closes the state.
  std::unique_ptr<CacheWatcher> WatchWithState(Filter filter, bool end_mark);

  // Called for each change, before watchers see it (allocators, informers inside the server).
  void AddObserver(std::function<void(const Change&)> observer);

  // --- for the Mirror ---
  void Reset(std::map<std::string, ObjectPtr, std::less<>> objects, uint64_t revision);
  void Apply(ChangePtr change);
  void SetUnreadable(std::string_view key, bool unreadable);
  void Advance(uint64_t revision);  // nothing of this resource changed up to here
  void OfferBookmarks();
  EncodingBudget& budget() { return budget_; }

 private:
  friend class CacheWatcher;
  void TrimWindow();
  void Enlist(CacheWatcher* w);
  void Delist(CacheWatcher* w);
  using Watchers = std::map<uint64_t, CacheWatcher*>;
  Watchers* PlaceOf(const Filter& filter, bool make);
  std::map<std::string, ObjectPtr> UndoneAt(uint64_t revision) const;

  base::Executor& executor_;
  const Resource& resource_;
  EncodingBudget& budget_;
  CacheLimits limits_;
  bool ready_ = false;
  uint64_t revision_ = 0;
  uint64_t window_start_ = 0;
  std::map<std::string, ObjectPtr, std::less<>> objects_;
  std::set<std::string, std::less<>> unreadable_;
  std::deque<ChangePtr> window_;
  size_t window_bytes_ = 0;
  base::Event advanced_;
  // Watchers by number, so that they are served in the order they came.
  Watchers all_, unindexed_;
  std::map<std::string, Watchers, std::less<>> by_namespace_, by_name_, by_node_;
  uint64_t next_watcher_ = 1;
  std::vector<std::function<void(const Change&)>> observers_;
};

class Mirror {
 public:
  Mirror(base::Executor& executor, Storage& storage, std::string root = "/registry/");
  ~Mirror();
  // Before Run.
  void Add(WatchCache& cache);
  // Lists, watches, lists again until the context ends. Ready when it knows all that was there when it first listed.
  base::Task<void> Run(base::Context ctx);
  base::Task<base::Status> WaitReady(base::Context ctx);
  bool ready() const { return ready_; }
  uint64_t revision() const { return revision_; }

  // A revision such that everything acknowledged before the call is at or below it. Calls made at the same time share
  // one read of the store.
  base::Task<base::Result<uint64_t>> LinearizableRevision(base::Context ctx);
  // Waits until all caches have reached the store's present revision; asks the store for progress when nothing comes.
  // kUnavailable when that takes too long (a store without progress answers): read the store instead.
  base::Task<base::Result<uint64_t>> WaitCurrent(base::Context ctx);
  // Tells the mirror what a write of ours put at (key, revision), so that its own event needs no decoding.
  void NoteWrite(const std::string& store_key, ObjectPtr object);

  // Objects of the store that do not decode are counted there, by resource; they are no part of lists and watches.
  void CountErrorsIn(base::MetricsRegistry& metrics);
  // Logs and counts one.
  void Report(const Resource& resource, std::string_view store_key, const base::Status& why);

  // Decodes what the store holds into an Object: envelope or JSON, defaults filled in, resourceVersion spliced.
  static base::Result<ObjectPtr> Decode(const Resource& resource, EncodingBudget& budget, const KeyValue& kv);

 private:
  struct Impl;
  base::Task<base::Status> Load(base::Context ctx);
  base::Task<base::Status> Follow(base::Context ctx);
  void Reached();
  base::Task<void> BecomeReady(base::Context ctx);
  base::Task<base::Status> CatchUp(base::Context ctx, uint64_t wanted);

  base::Executor& executor_;
  Storage& storage_;
  std::string root_;
  bool ready_ = false;
  uint64_t revision_ = 0;
  std::unique_ptr<Impl> impl_;
};

}  // namespace apiserver::storage
