#include "apiserver/storage/memory.h"

#include <algorithm>

namespace apiserver::storage {

class MemoryStorage::MemoryWatcher final : public Watcher {
 public:
  MemoryWatcher(MemoryStorage& storage, uint64_t id, std::string prefix, uint64_t from)
      : storage_(&storage), id_(id), prefix_(std::move(prefix)), next_(from), ready_(storage.executor_) {
    storage_->watchers_[id_] = this;
  }
  ~MemoryWatcher() override {
    if (storage_) storage_->watchers_.erase(id_);
  }
  base::Task<base::Result<std::vector<Event>>> Next(base::Context ctx) override {
    while (true) {
      if (!storage_) co_return base::Err(base::Unavailable("the watch was lost"));
      if (next_ <= storage_->compacted_) co_return base::Err(base::OutOfRange("the revision has been compacted"));
      auto events = Collect();
      if (!events.empty()) co_return events;
      CO_TRY(co_await ready_.Wait(ctx));
    }
  }
  base::Task<base::Status> RequestProgress(base::Context) override {
    progress_ = true;
    ready_.NotifyAll();
    co_return base::Ok();
  }
  void Wake() { ready_.NotifyAll(); }
  void Lose() {
    storage_ = nullptr;
    ready_.NotifyAll();
  }

 private:
  std::vector<Event> Collect() {
    std::vector<Event> events;
    const auto& log = storage_->log_;
    auto it = std::partition_point(log.begin(), log.end(), [this](const auto& e) { return e.first < next_; });
    for (; it != log.end(); ++it) {
      const auto& [revision, key] = *it;
      if (!key.starts_with(prefix_)) continue;
      const Version* v = storage_->At(key, revision);
      if (v->value)
        events.push_back({EventType::kPut, {key, v->value, v->mod_revision, v->create_revision}});
      else
        events.push_back({EventType::kDelete, {key, nullptr, revision, 0}});
    }
    if (std::exchange(progress_, false))
      events.push_back({EventType::kProgress, {"", nullptr, storage_->revision_, 0}});
    next_ = std::max(next_, storage_->revision_ + 1);
    return events;
  }
  MemoryStorage* storage_;
  uint64_t id_;
  std::string prefix_;
  uint64_t next_;
  bool progress_ = false;
  base::Event ready_;
};

MemoryStorage::MemoryStorage(base::Executor& executor) : executor_(executor) {}
MemoryStorage::~MemoryStorage() {
  DropWatches();
  for (auto& [key, timer] : expiries_) executor_.CancelTimer(timer);
}

void MemoryStorage::DropWatches() {
  for (auto& [id, w] : watchers_) w->Lose();
  watchers_.clear();
}

const MemoryStorage::Version* MemoryStorage::At(const std::string& key, uint64_t revision) const {
  auto it = keys_.find(key);
  if (it == keys_.end()) return nullptr;
  const auto& versions = it->second;
  auto after = std::partition_point(versions.begin(), versions.end(),
                                    [&](const Version& v) { return v.mod_revision <= revision; });
  return after == versions.begin() ? nullptr : &*std::prev(after);
}

base::Status MemoryStorage::CheckRevision(uint64_t revision) const {
  if (revision > revision_) return base::OutOfRange("required revision is a future revision");
  if (revision && revision < compacted_) return base::OutOfRange("required revision has been compacted");
  return base::Ok();
}

base::Task<base::Result<GetResult>> MemoryStorage::Get(base::Context ctx, std::string key, uint64_t revision) {
  co_await base::Yield(executor_);
  CO_TRY(CheckRevision(revision));
  GetResult r{.revision = revision_};
  const Version* v = At(key, revision ? revision : revision_);
  if (v && v->value) r.kv = KeyValue{key, v->value, v->mod_revision, v->create_revision};
  co_return r;
}

base::Task<base::Result<ListResult>> MemoryStorage::List(base::Context ctx, std::string prefix, ListOptions options) {
  co_await base::Yield(executor_);
  CO_TRY(CheckRevision(options.revision));
  ListResult r{.revision = revision_};
  uint64_t at = options.revision ? options.revision : revision_;
  for (auto it = keys_.lower_bound(std::max(prefix, options.start_key));
       it != keys_.end() && it->first.starts_with(prefix); ++it) {
    const Version* v = At(it->first, at);
    if (!v || !v->value) continue;
    ++r.count;
    if (options.limit && r.kvs.size() == options.limit)
      r.more = true;
    else
      r.kvs.push_back({it->first, v->value, v->mod_revision, v->create_revision});
  }
  co_return r;
}

WriteResult MemoryStorage::Refused(const std::string& key) const {
  WriteResult r{.revision = revision_};
  const Version* v = Current(key);
  if (v && v->value) r.current = KeyValue{key, v->value, v->mod_revision, v->create_revision};
  return r;
}

WriteResult MemoryStorage::Write(const std::string& key, base::SharedBytes value, int64_t ttl_seconds) {
  const Version* before = Current(key);
  uint64_t created = before && before->value ? before->create_revision : revision_ + 1;
  ++revision_;
  keys_[key].push_back({revision_, created, std::move(value)});
  log_.emplace_back(revision_, key);
  if (auto it = expiries_.find(key); it != expiries_.end()) {
    executor_.CancelTimer(it->second);
    expiries_.erase(it);
  }
  if (ttl_seconds > 0)
    expiries_[key] = executor_.After(std::chrono::seconds(ttl_seconds), [this, key] {
      expiries_.erase(key);
      Write(key, nullptr, 0);
    });
  for (auto& [id, w] : watchers_) w->Wake();
  return {.written = true, .revision = revision_};
}

base::Task<base::Result<WriteResult>> MemoryStorage::Create(base::Context ctx, std::string key, base::SharedBytes value,
                                                            int64_t ttl_seconds) {
  co_await base::Yield(executor_);
  const Version* v = Current(key);
  if (v && v->value) co_return Refused(key);
  co_return Write(key, std::move(value), ttl_seconds);
}

base::Task<base::Result<WriteResult>> MemoryStorage::Update(base::Context ctx, std::string key, base::SharedBytes value,
                                                            uint64_t expected, int64_t ttl_seconds) {
  co_await base::Yield(executor_);
  const Version* v = Current(key);
  if (!v || !v->value || v->mod_revision != expected) co_return Refused(key);
  co_return Write(key, std::move(value), ttl_seconds);
}

base::Task<base::Result<WriteResult>> MemoryStorage::Delete(base::Context ctx, std::string key, uint64_t expected) {
  co_await base::Yield(executor_);
  const Version* v = Current(key);
  if (!v || !v->value || v->mod_revision != expected) co_return Refused(key);
  co_return Write(key, nullptr, 0);
}

base::Task<base::Result<uint64_t>> MemoryStorage::CurrentRevision(base::Context ctx) {
  co_await base::Yield(executor_);
  co_return revision_;
}

base::Task<base::Status> MemoryStorage::Compact(base::Context ctx, uint64_t revision) {
  co_await base::Yield(executor_);
  if (revision > revision_) co_return base::OutOfRange("required revision is a future revision");
  if (revision <= compacted_) co_return base::OutOfRange("required revision has been compacted");
  compacted_ = revision;
  while (!log_.empty() && log_.front().first <= revision) log_.pop_front();
  for (auto it = keys_.begin(); it != keys_.end();) {
    auto& versions = it->second;
    auto after = std::partition_point(versions.begin(), versions.end(),
                                      [&](const Version& v) { return v.mod_revision <= revision; });
    // The last version at or before `revision` stays readable, unless it is a deletion.
    if (after != versions.begin()) {
      auto last = std::prev(after);
      versions.erase(versions.begin(), last->value ? last : after);
    }
    it = versions.empty() ? keys_.erase(it) : std::next(it);
  }
  for (auto& [id, w] : watchers_) w->Wake();
  co_return base::Ok();
}

base::Task<base::Result<std::unique_ptr<Watcher>>> MemoryStorage::Watch(base::Context ctx, std::string prefix,
                                                                        uint64_t from) {
  co_await base::Yield(executor_);
  if (from <= compacted_) co_return base::Err(base::OutOfRange("the revision has been compacted"));
  std::unique_ptr<Watcher> w = std::make_unique<MemoryWatcher>(*this, next_watcher_++, std::move(prefix), from);
  co_return w;
}

}  // namespace apiserver::storage
