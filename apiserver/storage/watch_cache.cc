#include "apiserver/storage/watch_cache.h"

#include <algorithm>

namespace apiserver::storage {

bool Filter::Matches(const Object& o) const {
  if (!namespace_name.empty() && o.namespace_name() != namespace_name) return false;
  if (!name.empty() && o.name() != name) return false;
  if (!node_name.empty()) {
    int i = o.resource().node_name_field;
    if (i < 0 || o.field(i) != node_name) return false;
  }
  return !matches || matches(o);
}

const ObjectPtr& Change::Gone() const {
  if (!gone) gone = previous->WithRevision(revision);
  return gone;
}

// --- CacheWatcher ---

CacheWatcher::CacheWatcher(WatchCache& cache, uint64_t id, Filter filter)
    : cache_(&cache), id_(id), filter_(std::move(filter)), ready_(cache.executor_) {}

CacheWatcher::~CacheWatcher() {
  if (cache_) cache_->Delist(this);
}

void CacheWatcher::End(base::Status why) {
  if (!cache_) return;
  cache_->Delist(this);
  cache_ = nullptr;
  ended_ = std::move(why);
  ready_.NotifyAll();
}

void CacheWatcher::Push(Item item) {
  if (sink_ && queue_.empty() && sink_(item)) return;
  queue_.push_back(std::move(item));
  ready_.NotifyAll();
}

void CacheWatcher::Offer(const ChangePtr& c) {
  bool now = !c->deleted && filter_.Matches(*c->object);
  bool before = c->previous && filter_.Matches(*c->previous);
  if (!now && !before) return;
  using Type = Item::Type;
  Item item{now ? (before ? Type::kModified : Type::kAdded) : Type::kDeleted, c, nullptr, c->revision};
  item.object = now || c->deleted ? c->object : c->Gone();
  Push(std::move(item));
  if (Full()) {
    queue_.clear();
    End(base::Aborted("the watcher did not keep up"));
  }
}

bool CacheWatcher::Full() const {
  if (!cache_) return false;
  const CacheLimits& l = cache_->limits_;
  return queue_.size() - initial_ > (initial_ > 0 ? l.watcher_queue_at_start : l.watcher_queue);
}

std::optional<CacheWatcher::Item> CacheWatcher::TryNext() {
  if (queue_.empty()) return std::nullopt;
  if (initial_ > 0) --initial_;
  Item item = std::move(queue_.front());
  queue_.pop_front();
  return item;
}

base::Task<base::Result<CacheWatcher::Item>> CacheWatcher::Next(base::Context ctx) {
  while (queue_.empty()) {
    if (!ended_.ok()) co_return base::Err(ended_);
    CO_TRY(co_await ready_.Wait(ctx));
  }
  co_return std::move(*TryNext());
}

// --- WatchCache ---

WatchCache::WatchCache(base::Executor& executor, const Resource& resource, EncodingBudget& budget, CacheLimits limits)
    : executor_(executor), resource_(resource), budget_(budget), limits_(limits), advanced_(executor) {}

WatchCache::~WatchCache() {
  while (!all_.empty()) all_.begin()->second->End(base::Aborted("the cache is closing"));
}

base::Task<base::Status> WatchCache::WaitReady(base::Context ctx) {
  while (!ready_) CO_TRY(co_await advanced_.Wait(ctx));
  co_return base::Ok();
}

base::Task<base::Status> WatchCache::WaitForRevision(base::Context ctx, uint64_t revision) {
  while (!ready_ || revision_ < revision) CO_TRY(co_await advanced_.Wait(ctx));
  co_return base::Ok();
}

ObjectPtr WatchCache::Get(std::string_view key) const {
  auto it = objects_.find(key);
  return it == objects_.end() ? nullptr : it->second;
}

void WatchCache::ForEach(const std::function<bool(const ObjectPtr&)>& fn) const {
  for (const auto& [key, object] : objects_)
    if (!fn(object)) return;
}

// What was different at `revision` from now: key -> the object then, null when there was none.
std::map<std::string, ObjectPtr> WatchCache::UndoneAt(uint64_t revision) const {
  std::map<std::string, ObjectPtr> undone;
  for (auto it = window_.rbegin(); it != window_.rend() && (*it)->revision > revision; ++it)
    undone[(*it)->object->key()] = (*it)->previous;
  return undone;
}

base::Result<WatchCache::Page> WatchCache::List(const ListQuery& query) const {
  Page page;
  page.revision = query.revision ? query.revision : revision_;
  std::map<std::string, ObjectPtr> undone;
  if (query.revision && query.revision < revision_) {
    if (query.revision < window_start_) return base::Err(base::OutOfRange("older than the window"));
    undone = UndoneAt(query.revision);
  }
  const Filter& filter = query.filter;
  std::string scope = filter.namespace_name.empty() ? "" : filter.namespace_name + "/";
  if (!scope.empty() || !resource_.namespaced) {
    // One key at most: no walk.
    if (!filter.name.empty() && undone.empty()) {
      std::string key = scope + filter.name;
      if (auto o = Get(key); o && key >= query.start_key && filter.Matches(*o)) page.objects.push_back(std::move(o));
      return page;
    }
  }
  const std::string& from = std::max(scope, query.start_key);
  auto now = objects_.lower_bound(from);
  auto then = undone.lower_bound(from);
  auto in_scope = [&](const std::string& key) { return key.starts_with(scope); };
  // The next key in order of the two maps, with the state that counts; null: absent at that revision.
  auto next = [&]() -> std::optional<std::pair<const std::string*, const ObjectPtr*>> {
    bool has_now = now != objects_.end() && in_scope(now->first);
    bool has_then = then != undone.end() && in_scope(then->first);
    if (!has_now && !has_then) return std::nullopt;
    if (has_then && (!has_now || then->first <= now->first)) {
      if (has_now && then->first == now->first) ++now;
      auto& e = *then++;
      return std::pair{&e.first, &e.second};
    }
    auto& e = *now++;
    return std::pair{&e.first, &e.second};
  };
  while (auto e = next()) {
    const ObjectPtr& object = *e->second;
    if (!object) continue;
    if (query.limit && page.objects.size() == query.limit) {
      if (page.next_key.empty()) page.next_key = page.objects.back()->key() + '\0';
      ++page.remaining;
      if (filter.matches || !filter.name.empty() || !filter.node_name.empty()) {
        page.remaining = 0;  // not counted under selectors
        break;
      }
      continue;
    }
    if (filter.Matches(*object)) page.objects.push_back(object);
  }
  return page;
}

WatchCache::Watchers* WatchCache::PlaceOf(const Filter& f, bool make) {
  auto at = [make](auto& index, std::string key) -> Watchers* {
    if (make) return &index[key];
    auto it = index.find(key);
    return it == index.end() ? nullptr : &it->second;
  };
  bool keyed = !f.name.empty() && (!resource_.namespaced || !f.namespace_name.empty());
  if (keyed) return at(by_name_, resource_.namespaced ? f.namespace_name + "/" + f.name : f.name);
  if (!f.node_name.empty()) return at(by_node_, f.node_name);
  if (!f.namespace_name.empty()) return at(by_namespace_, f.namespace_name);
  return &unindexed_;
}

void WatchCache::Enlist(CacheWatcher* w) {
  all_[w->id_] = w;
  PlaceOf(w->filter_, true)->emplace(w->id_, w);
}

void WatchCache::Delist(CacheWatcher* w) {
  all_.erase(w->id_);
  if (auto* place = PlaceOf(w->filter_, false)) place->erase(w->id_);
  auto drop_empty = [](auto& index) { std::erase_if(index, [](const auto& e) { return e.second.empty(); }); };
  // Sweeping is linear; it is worth it only when many places were left behind.
  if (by_name_.size() > 2 * all_.size() + 16) drop_empty(by_name_);
  if (by_node_.size() > 2 * all_.size() + 16) drop_empty(by_node_);
  if (by_namespace_.size() > 2 * all_.size() + 16) drop_empty(by_namespace_);
}

base::Result<std::unique_ptr<CacheWatcher>> WatchCache::Watch(Filter filter, uint64_t from) {
  if (from < window_start_) return base::Err(base::OutOfRange("older than the window"));
  std::unique_ptr<CacheWatcher> w(new CacheWatcher(*this, next_watcher_++, std::move(filter)));
  auto first = std::partition_point(window_.begin(), window_.end(), [&](const auto& c) { return c->revision <= from; });
  // Not yet enlisted: replaying the window may exceed the queue of a watcher that could not read yet.
  w->cache_ = nullptr;
  for (; first != window_.end(); ++first) w->Offer(*first);
  w->initial_ = w->queue_.size();
  w->cache_ = this;
  Enlist(w.get());
  return w;
}

std::unique_ptr<CacheWatcher> WatchCache::WatchWithState(Filter filter, bool end_mark) {
  std::unique_ptr<CacheWatcher> w(new CacheWatcher(*this, next_watcher_++, std::move(filter)));
  auto page = List({.filter = w->filter_});
  for (auto& object : page->objects) {
    CacheWatcher::Item item{CacheWatcher::Item::Type::kAdded, nullptr, object, object->revision()};
    w->queue_.push_back(std::move(item));
  }
  if (end_mark) {
    CacheWatcher::Item item{CacheWatcher::Item::Type::kBookmark, nullptr, nullptr, revision_, true};
    w->queue_.push_back(std::move(item));
  }
  w->initial_ = w->queue_.size();
  Enlist(w.get());
  return w;
}

void WatchCache::AddObserver(std::function<void(const Change&)> observer) { observers_.push_back(std::move(observer)); }

void WatchCache::Reset(std::map<std::string, ObjectPtr, std::less<>> objects, uint64_t revision) {
  while (!all_.empty()) all_.begin()->second->End(base::Aborted("the cache was loaded again"));
  // Observers see the difference, so that what they derive stays right.
  for (auto& observer : observers_) {
    for (const auto& [key, old] : objects_)
      if (!objects.contains(key)) observer(Change{revision, true, old, old});
    for (const auto& [key, object] : objects) observer(Change{object->revision(), false, object, Get(key)});
  }
  objects_ = std::move(objects);
  unreadable_.clear();
  window_.clear();
  window_bytes_ = 0;
  revision_ = window_start_ = revision;
  ready_ = true;
  advanced_.NotifyAll();
}

void WatchCache::Apply(ChangePtr c) {
  const std::string& key = c->object->key();
  if (c->deleted)
    objects_.erase(key);
  else
    objects_[key] = c->object;
  window_.push_back(c);
  window_bytes_ += c->object->message()->size() + 256;
  TrimWindow();
  for (auto& observer : observers_) observer(*c);

  auto offer = [&](Watchers& watchers) {
    // Offer may end (and delist) the watcher it is called on.
    for (auto it = watchers.begin(); it != watchers.end();) (it++)->second->Offer(c);
  };
  auto offer_at = [&](auto& index, std::string_view key) {
    if (auto it = index.find(key); it != index.end()) offer(it->second);
  };
  offer(unindexed_);
  if (!by_name_.empty()) offer_at(by_name_, key);
  if (!by_namespace_.empty()) offer_at(by_namespace_, c->object->namespace_name());
  if (!by_node_.empty() && resource_.node_name_field >= 0) {
    auto node = c->object->field(resource_.node_name_field);
    offer_at(by_node_, node);
    if (c->previous)
      if (auto before = c->previous->field(resource_.node_name_field); before != node) offer_at(by_node_, before);
  }
}

void WatchCache::SetUnreadable(std::string_view key, bool unreadable) {
  if (unreadable) {
    unreadable_.emplace(key);
  } else if (!unreadable_.empty()) {
    if (auto it = unreadable_.find(key); it != unreadable_.end()) unreadable_.erase(it);
  }
}

void WatchCache::TrimWindow() {
  while (window_.size() > limits_.window || (window_bytes_ > limits_.window_bytes && window_.size() > 1)) {
    window_start_ = window_.front()->revision;
    window_bytes_ -= window_.front()->object->message()->size() + 256;
    window_.pop_front();
  }
}

void WatchCache::Advance(uint64_t revision) {
  if (revision <= revision_) return;
  revision_ = revision;
  advanced_.NotifyAll();
}

void WatchCache::OfferBookmarks() {
  for (auto& [id, w] : all_) {
    if (!w->bookmarks_ || !w->queue_.empty()) continue;
    CacheWatcher::Item item{CacheWatcher::Item::Type::kBookmark, nullptr, nullptr, revision_, false};
    w->Push(std::move(item));
  }
}

}  // namespace apiserver::storage
