#include <map>
#include <optional>

#include "apiserver/storage/watch_cache.h"
#include "base/log.h"
#include "machinery/codec/codec.h"
#include "machinery/object/meta.h"

namespace apiserver::storage {

namespace codec = machinery::codec;
using machinery::value::Value;

namespace {
constexpr uint64_t kListPage = 1000;
// How far back the first list goes: what a cache's window holds.
constexpr uint64_t kHistory = CacheLimits{}.window;
constexpr size_t kMaxNotedWrites = 8192;
constexpr base::Duration kBookmarkInterval = std::chrono::seconds(60);
constexpr base::Duration kProgressPatience = std::chrono::milliseconds(2);
// etcd drops a progress request while any watcher on the stream is behind: then it is asked again.
constexpr base::Duration kAskAgain = std::chrono::milliseconds(50);
constexpr base::Duration kCatchUpLimit = std::chrono::milliseconds(500);
constexpr base::Duration kFirstBackoff = std::chrono::milliseconds(50);
constexpr base::Duration kLongestBackoff = std::chrono::seconds(5);
}  // namespace

struct Mirror::Impl {
  explicit Impl(base::Executor& executor) : advanced(executor) {}

  std::map<std::string, WatchCache*, std::less<>> caches;  // by prefix
  std::map<std::string, ObjectPtr, std::less<>> noted;     // store key -> what a write of ours put there
  base::Event advanced;
  Watcher* watcher = nullptr;
  std::unique_ptr<base::TaskScope> scope;
  uint64_t ready_at = 0;  // the store's revision when it was listed
  base::Duration backoff = kFirstBackoff;
  // Callers who joined before the read of their batch started share its answer.
  struct Batch {
    explicit Batch(base::Executor& executor) : done(executor) {}
    base::Event done;
    std::optional<base::Result<uint64_t>> result;
  };
  std::shared_ptr<Batch> next;
  bool reading = false;

  base::Family<base::Counter>* decode_errors = nullptr;

  WatchCache* Find(std::string_view store_key) const {
    auto it = caches.upper_bound(store_key);
    if (it == caches.begin()) return nullptr;
    --it;
    return store_key.starts_with(it->first) ? it->second : nullptr;
  }
  void Apply(const Event& event);
  void Report(const Resource& resource, std::string_view store_key, const base::Status& why);
  base::Task<void> ReadRevisions(Storage& storage, base::Context ctx, base::Executor& executor);
};

Mirror::Mirror(base::Executor& executor, Storage& storage, std::string root)
    : executor_(executor), storage_(storage), root_(std::move(root)), impl_(std::make_unique<Impl>(executor)) {}
Mirror::~Mirror() = default;

// unreachable from outside: caches are added at start
void Mirror::Add(WatchCache& cache) { CHECK(impl_->caches.emplace(cache.resource().prefix, &cache).second); }

base::Result<ObjectPtr> Mirror::Decode(const Resource& resource, EncodingBudget& budget, const KeyValue& kv) {
  const auto& type = *resource.storage_kind->type;
  Value tree;
  if (codec::HasEnvelope(*kv.value)) {
    TRY_ASSIGN(tree, codec::DecodeEnvelope(type, *kv.value));
  } else {
    TRY_ASSIGN(tree, codec::DecodeJson(type, *kv.value));
  }
  if (resource.apply_defaults) resource.apply_defaults(tree);
  machinery::object::SetResourceVersion(tree, std::to_string(kv.mod_revision));
  return Object::Make(resource, budget, kv.key.substr(resource.prefix.size()), kv.mod_revision,
                      base::Share(codec::EncodeProtobuf(type, tree)));
}

void Mirror::NoteWrite(const std::string& store_key, ObjectPtr object) {
  if (object->revision() <= revision_) return;  // its event has been here already
  if (impl_->noted.size() >= kMaxNotedWrites) impl_->noted.clear();
  impl_->noted[store_key] = std::move(object);
}

void Mirror::CountErrorsIn(base::MetricsRegistry& metrics) {
  impl_->decode_errors =
      &metrics.AddCounter("apiserver_storage_decode_errors_total",
                          "Number of stored object decode errors split by object type", {"group", "resource"});
}

void Mirror::Report(const Resource& resource, std::string_view store_key, const base::Status& why) {
  impl_->Report(resource, store_key, why);
}

void Mirror::Impl::Report(const Resource& resource, std::string_view store_key, const base::Status& why) {
  base::LogError("Unable to decode a stored object", why, {{"key", store_key}});
  if (decode_errors) decode_errors->With({resource.group, resource.resource}).Add();
}

void Mirror::Impl::Apply(const Event& event) {
  WatchCache* cache = Find(event.kv.key);
  if (!cache) return;
  auto change = std::make_shared<Change>();
  change->revision = event.revision();
  change->previous = cache->Get(std::string_view(event.kv.key).substr(cache->resource().prefix.size()));
  auto note = noted.find(event.kv.key);
  std::string_view key = std::string_view(event.kv.key).substr(cache->resource().prefix.size());
  cache->SetUnreadable(key, false);
  if (event.type == EventType::kDelete) {
    if (note != noted.end() && note->second->revision() < event.revision()) noted.erase(note);
    if (!change->previous) return;
    change->deleted = true;
    change->object = change->Gone();
  } else {
    if (note != noted.end() && note->second->revision() == event.revision()) {
      change->object = std::move(note->second);
      noted.erase(note);
    } else {
      auto decoded = Decode(cache->resource(), cache->budget(), event.kv);
      if (decoded) {
        change->object = std::move(*decoded);
      } else {
        // One broken object must not stop the server. Readers see it go; a get and a deletion ask the store.
        Report(cache->resource(), event.kv.key, decoded.error());
        cache->SetUnreadable(key, true);
        if (!change->previous) return;
        change->deleted = true;
        change->object = change->Gone();
      }
    }
  }
  cache->Apply(std::move(change));
}

namespace {

using Objects = std::map<std::string, ObjectPtr, std::less<>>;

struct Listing {
  std::map<WatchCache*, Objects> objects;
  std::vector<std::pair<std::string, base::Status>> unreadable;  // by store key
  uint64_t revision = 0;
};

using FindCache = std::function<WatchCache*(std::string_view)>;

// `revision` 0: now.
base::Task<base::Result<Listing>> ListEverything(Storage& storage, std::string root, uint64_t revision, FindCache find,
                                                 base::Context ctx) {
  Listing listing{.revision = revision};
  ListOptions options{.limit = kListPage, .revision = revision};
  while (true) {
    CO_TRY_ASSIGN(ListResult page, co_await storage.List(ctx, root, options));
    if (!listing.revision) listing.revision = page.revision;
    for (auto& kv : page.kvs) {
      WatchCache* cache = find(kv.key);
      if (!cache) continue;
      auto object = Mirror::Decode(cache->resource(), cache->budget(), kv);
      if (!object) {
        listing.unreadable.emplace_back(kv.key, object.error());
        continue;
      }
      listing.objects[cache].emplace((*object)->key(), *object);
    }
    if (!page.more || page.kvs.empty()) co_return listing;
    options.start_key = page.kvs.back().key + '\0';
    options.revision = listing.revision;
  }
}

// The state up to kHistory revisions before `now`, as far back as the store still knows it. The watch that goes on from
// there fills the windows of the caches: who watched at another apiserver, or at this one before it started anew, goes
// on where it was.
base::Task<base::Result<Listing>> ListFromThePast(Storage& storage, std::string root, uint64_t now, FindCache find,
                                                  base::Context ctx) {
  // Only an etcd that gives progress lets us know when its watch has come up to now.
  if (storage.progress_reliable()) {
    for (uint64_t back = std::min(kHistory, now - 1); back > 0; back /= 2) {
      auto listing = co_await ListEverything(storage, root, now - back, find, ctx);
      if (listing || listing.error().code() != base::Code::kOutOfRange) co_return listing;
    }
  }
  co_return co_await ListEverything(storage, std::move(root), 0, std::move(find), std::move(ctx));
}

base::Task<void> OfferBookmarks(base::Executor& executor, base::Context ctx, std::vector<WatchCache*> caches) {
  while ((co_await base::Sleep(executor, ctx, kBookmarkInterval)).ok())
    for (auto* cache : caches) cache->OfferBookmarks();
}

}  // namespace

base::Task<base::Status> Mirror::Load(base::Context ctx) {
  CO_TRY_ASSIGN(uint64_t now, co_await storage_.CurrentRevision(ctx));
  auto find = [this](std::string_view key) { return impl_->Find(key); };
  CO_TRY_ASSIGN(Listing listing, co_await ListFromThePast(storage_, root_, now, find, ctx));
  impl_->noted.clear();
  revision_ = listing.revision;
  impl_->ready_at = std::max(now, revision_);
  for (auto& [prefix, cache] : impl_->caches) cache->Reset(std::move(listing.objects[cache]), revision_);
  for (const auto& [key, why] : listing.unreadable) {
    WatchCache* cache = impl_->Find(key);
    impl_->Report(cache->resource(), key, why);
    cache->SetUnreadable(std::string_view(key).substr(cache->resource().prefix.size()), true);
  }
  Reached();
  if (!ready_) impl_->scope->Spawn(BecomeReady(impl_->scope->context()));
  co_return base::Ok();
}

void Mirror::Reached() {
  ready_ = ready_ || revision_ >= impl_->ready_at;
  impl_->advanced.NotifyAll();
}

base::Task<void> Mirror::BecomeReady(base::Context ctx) { (void)co_await CatchUp(ctx, impl_->ready_at); }

base::Task<base::Status> Mirror::Follow(base::Context ctx) {
  CO_TRY_ASSIGN(auto watcher, co_await storage_.Watch(ctx, root_, revision_ + 1));
  impl_->watcher = watcher.get();
  base::Result<std::vector<Event>> events;
  while ((events = co_await watcher->Next(ctx))) {
    impl_->backoff = kFirstBackoff;
    uint64_t reached = revision_;
    for (const auto& event : *events) {
      if (event.type != EventType::kProgress) impl_->Apply(event);
      reached = std::max(reached, event.revision());
    }
    revision_ = reached;
    for (auto& [prefix, cache] : impl_->caches) cache->Advance(reached);
    Reached();
  }
  impl_->watcher = nullptr;
  co_return events.error();
}

base::Task<void> Mirror::Run(base::Context ctx) {
  impl_->scope = std::make_unique<base::TaskScope>(executor_, ctx);
  std::vector<WatchCache*> caches;
  for (auto& [prefix, cache] : impl_->caches) caches.push_back(cache);
  impl_->scope->Spawn(OfferBookmarks(executor_, impl_->scope->context(), caches));
  bool loaded = false;
  while (!ctx.done()) {
    base::Status ended;
    if (!loaded) ended = co_await Load(ctx);
    if (ended.ok()) {
      loaded = true;
      ended = co_await Follow(ctx);
    }
    if (ctx.done()) break;
    if (ended.code() == base::Code::kOutOfRange) loaded = false;
    base::LogWarning("The watch of the store ended", {{"err", ended}, {"relist", !loaded}});
    (void)co_await base::Sleep(executor_, ctx, impl_->backoff);
    impl_->backoff = std::min<base::Duration>(impl_->backoff * 2, kLongestBackoff);
  }
  co_await impl_->scope->CancelAndJoin();
  impl_->scope.reset();
}

base::Task<base::Status> Mirror::WaitReady(base::Context ctx) {
  while (!ready_) CO_TRY(co_await impl_->advanced.Wait(ctx));
  co_return base::Ok();
}

base::Task<void> Mirror::Impl::ReadRevisions(Storage& storage, base::Context ctx, base::Executor& executor) {
  while (next) {
    auto batch = std::exchange(next, nullptr);
    batch->result = co_await storage.CurrentRevision(ctx);
    batch->done.NotifyAll();
  }
  reading = false;
}

base::Task<base::Result<uint64_t>> Mirror::LinearizableRevision(base::Context ctx) {
  if (!impl_->scope) co_return base::Err(base::Unavailable("the store's mirror is not running"));
  if (!impl_->next) impl_->next = std::make_shared<Impl::Batch>(executor_);
  auto batch = impl_->next;
  if (!impl_->reading) {
    impl_->reading = true;
    impl_->scope->Spawn(impl_->ReadRevisions(storage_, impl_->scope->context(), executor_));
  }
  while (!batch->result) CO_TRY(co_await batch->done.Wait(ctx));
  co_return *batch->result;
}

base::Task<base::Result<uint64_t>> Mirror::WaitCurrent(base::Context ctx) {
  CO_TRY_ASSIGN(uint64_t wanted, co_await LinearizableRevision(ctx));
  if (ready_ && revision_ >= wanted) co_return wanted;
  auto caught_up = co_await CatchUp(ctx.WithTimeout(executor_, kCatchUpLimit), wanted);
  if (caught_up.ok()) co_return wanted;
  if (ctx.done()) co_return base::Err(ctx.status());
  co_return base::Err(caught_up.code() == base::Code::kDeadlineExceeded
                          ? base::Unavailable("the watch cache does not catch up")
                          : caught_up);
}

// Writes below the root come by themselves; only others need a progress answer.
base::Task<base::Status> Mirror::CatchUp(base::Context ctx, uint64_t wanted) {
  bool asked = false;
  while (!ready_ || revision_ < wanted) {
    if (!impl_->watcher) {
      CO_TRY(co_await impl_->advanced.Wait(ctx));
      continue;
    }
    if ((co_await impl_->advanced.Wait(ctx.WithTimeout(executor_, asked ? kAskAgain : kProgressPatience))).ok())
      continue;
    CO_TRY(ctx.status());
    if (!storage_.progress_reliable()) co_return base::Unavailable("the store gives no progress");
    if (impl_->watcher) CO_TRY(co_await impl_->watcher->RequestProgress(ctx));
    asked = true;
  }
  co_return base::Ok();
}

}  // namespace apiserver::storage
