// The templates of informer.h.
#pragma once

namespace machinery::client {

template <class T>
Informer<T>::Informer(base::Executor& executor, Client& client, ListOptions options)
    : executor_(executor),
      client_(client),
      options_(std::move(options)),
      synced_event_(executor),
      backoff_(ReflectorSeed(client, ResourceOf<T>(options_.resource), options_)) {}

template <class T>
void Informer<T>::SetTransform(std::function<void(T&)> transform) {
  transform_ = std::move(transform);
}

template <class T>
void Informer<T>::AddIndex(std::string name, IndexFn fn) {
  Index index{std::move(fn), {}};
  for (const auto& [key, object] : objects_)
    for (auto& value : index.fn(*object)) index.values[std::move(value)][key] = object;
  indexes_[std::move(name)] = std::move(index);
}

template <class T>
void Informer<T>::AddHandler(Handler handler) {
  for (const auto& [key, object] : objects_) handler(Change<T>{nullptr, object, true});
  handlers_.push_back(std::move(handler));
}

template <class T>
base::Task<base::Status> Informer<T>::WaitForSync(base::Context ctx) {
  while (!synced_) CO_TRY(co_await synced_event_.Wait(ctx));
  co_return base::Ok();
}

template <class T>
typename Informer<T>::Ptr Informer<T>::Get(std::string_view key) const {
  auto it = objects_.find(key);
  return it == objects_.end() ? nullptr : it->second;
}

template <class T>
typename Informer<T>::Ptr Informer<T>::Get(std::string_view ns, std::string_view name) const {
  if (ns.empty()) return Get(name);
  return Get(std::string(ns).append("/").append(name));
}

template <class T>
std::vector<typename Informer<T>::Ptr> Informer<T>::List() const {
  std::vector<Ptr> out;
  out.reserve(objects_.size());
  for (const auto& [key, object] : objects_) out.push_back(object);
  return out;
}

template <class T>
std::vector<typename Informer<T>::Ptr> Informer<T>::ListNamespace(std::string_view ns) const {
  std::vector<Ptr> out;
  std::string prefix = std::string(ns) + "/";
  for (auto it = objects_.lower_bound(prefix); it != objects_.end() && it->first.starts_with(prefix); ++it)
    out.push_back(it->second);
  return out;
}

template <class T>
std::vector<typename Informer<T>::Ptr> Informer<T>::ByIndex(std::string_view index, std::string_view value) const {
  std::vector<Ptr> out;
  auto i = indexes_.find(index);
  CHECK_MSG(i != indexes_.end(), index);
  auto v = i->second.values.find(value);
  if (v == i->second.values.end()) return out;
  for (const auto& [key, object] : v->second) out.push_back(object);
  return out;
}

template <class T>
void Informer<T>::Tell(const Change<T>& change) {
  for (const auto& handler : handlers_) handler(change);
}

template <class T>
void Informer<T>::Unindex(const Key& key, const T& object) {
  for (auto& [name, index] : indexes_) {
    for (const auto& value : index.fn(object)) {
      auto it = index.values.find(value);
      if (it == index.values.end()) continue;
      it->second.erase(key);
      if (it->second.empty()) index.values.erase(it);
    }
  }
}

template <class T>
void Informer<T>::Store(const Key& key, Ptr object, bool initial) {
  // Nobody else has seen the object yet, it was made by the decoder for this call.
  if (transform_) transform_(const_cast<T&>(*object));
  Ptr& slot = objects_[key];
  Ptr old = std::exchange(slot, object);
  if (old) Unindex(key, *old);
  for (auto& [name, index] : indexes_)
    for (auto& value : index.fn(*object)) index.values[std::move(value)][key] = object;
  Tell(Change<T>{std::move(old), std::move(object), initial});
}

template <class T>
void Informer<T>::Erase(const Key& key, Ptr last) {
  auto it = objects_.find(key);
  if (it == objects_.end()) return;
  Unindex(key, *it->second);
  Ptr old = std::move(it->second);
  objects_.erase(it);
  // The final state, where the server sent it: handlers want to know how the object looked when it went.
  if (last && transform_) transform_(const_cast<T&>(*last));
  Tell(Change<T>{last ? std::move(last) : std::move(old), nullptr, false});
}

template <class T>
void Informer<T>::Replace(ListResult<T> list) {
  bool initial = !synced_;
  // Another history: the same revision need not be the same object any more.
  bool other = WentBack(resource_version_, list.resource_version);
  std::map<Key, Ptr> fresh;
  for (auto& item : list.items) {
    Key key = KeyOf(*item);
    fresh.emplace(std::move(key), std::move(item));
  }
  list.items.clear();
  std::vector<Key> gone;
  for (const auto& [key, object] : objects_)
    if (!fresh.contains(key)) gone.push_back(key);
  resource_version_ = std::move(list.resource_version);
  for (const auto& key : gone) Erase(key, nullptr);
  for (auto& [key, object] : fresh) {
    Ptr known = Get(key);
    // Deleted and made again between two lists: handlers must see both halves.
    if (known && known->metadata().uid() != object->metadata().uid()) Erase(key, nullptr);
    if (!other && known && known->metadata().uid() == object->metadata().uid() &&
        known->metadata().resourceversion() == object->metadata().resourceversion())
      continue;
    Store(key, std::move(object), initial);
  }
  if (!synced_) {
    synced_ = true;
    synced_event_.NotifyAll();
  }
}

template <class T>
bool Informer<T>::Apply(const TypedEvent<T>& event) {
  const std::string& version = event.object->metadata().resourceversion();
  if (WentBack(resource_version_, version)) return false;
  resource_version_ = version;
  if (event.type == request::EventType::kBookmark) return true;
  Key key = KeyOf(*event.object);
  if (event.type == request::EventType::kDeleted)
    Erase(key, event.object);
  else
    Store(key, event.object, false);
  return true;
}

template <class T>
base::Task<base::Status> Informer<T>::ListOnce(base::Context ctx) {
  ListOptions options = options_;
  // The newest state at first and after a refusal; otherwise one never older than what was seen. "0", any state the
  // server has at hand, could be older than what this program acted on before it was restarted.
  options.resource_version = expired_ ? "" : resource_version_;
  auto list = co_await client_.List<T>(ctx, std::move(options));
  if (!list) {
    expired_ = MustRelist(list.error());
    co_return list.error();
  }
  expired_ = false;
  Replace(std::move(*list));
  co_return base::Ok();
}

template <class T>
base::Task<base::Status> Informer<T>::WatchOnce(base::Context ctx) {
  ListOptions options = options_;
  options.resource_version = resource_version_;
  options.timeout_seconds = backoff_.WatchSeconds();
  CO_TRY_ASSIGN(auto watcher, co_await client_.Watch<T>(ctx, std::move(options)));
  for (;;) {
    CO_TRY_ASSIGN(auto event, co_await watcher->Next(ctx));
    if (!event) co_return base::Ok();
    backoff_.Reset();
    if (!Apply(*event)) co_return RevisionsWentBack();
  }
}

template <class T>
base::Task<void> Informer<T>::Run(base::Context ctx) {
  bool listed = false;
  while (!ctx.done()) {
    base::Status status;
    if (!listed) {
      status = co_await ListOnce(ctx);
      listed = status.ok();
      if (listed) continue;
      LogReflector(ResourceOf<T>(options_.resource), "list", status);
    } else {
      base::MonoTime start = executor_.Now();
      status = co_await WatchOnce(ctx);
      if (MustRelist(status)) {
        listed = false;
        expired_ = true;
      }
      if (!status.ok()) LogReflector(ResourceOf<T>(options_.resource), "watch", status);
      // A watch that ended in good order after a while is simply asked for again.
      if (status.ok() && executor_.Now() - start > std::chrono::seconds(1)) continue;
    }
    if (ctx.done()) break;
    (void)co_await base::Sleep(executor_, ctx, backoff_.Next());
  }
}

}  // namespace machinery::client
