// Reflector, informer, lister: a local copy of a kind kept current by list and watch, with handlers told of changes.
//
//   Informer<Pod> pods(executor, client, {.field_selector = "spec.nodeName=n1"});
//   pods.AddHandler([&](const Change<Pod>& c) { queue.Add(KeyOf(*c.current_or_old())); });
//   scope.Spawn(pods.Run(ctx));  co_await pods.WaitForSync(ctx);
//   pods.Get("default/web");  pods.List();  pods.ByIndex("node", "n1");
//
// The copy may lag, never goes back while the server does not, survives dropped watches (resume from the last
// resourceVersion, bookmarks keep it fresh; 410 relists; back-off between failures). A server whose revisions went back
// (a restored backup) is noticed by what its watch says and listed anew. Objects are immutable and shared. One strand;
// owns no thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/sync.h"
#include "machinery/client/client.h"

namespace machinery::client {

// "namespace/name", or "name" for cluster-scoped objects.
using Key = std::string;
std::string_view NamespaceOfKey(std::string_view key);
std::string_view NameOfKey(std::string_view key);
template <class T>
Key KeyOf(const T& object) {
  const auto& m = object.metadata();
  return m.namespace_().empty() ? m.name() : m.namespace_() + "/" + m.name();
}

template <class T>
struct Change {
  std::shared_ptr<const T> old;      // null: added
  std::shared_ptr<const T> current;  // null: deleted
  bool initial = false;              // part of the first list
  const T& any() const { return current ? *current : *old; }
};

// Growing delays between failures of a list or watch: 100 ms doubling to 10 s, spread by a seed that differs between
// watchers so that a restarted server is not met by all of them at once.
class ReflectorBackoff {
 public:
  explicit ReflectorBackoff(uint64_t seed) : seed_(seed) {}
  base::Duration Next();
  void Reset() { failures_ = 0; }
  // How long one watch may last before it is asked for again, so that a silently dead one ends: 5 to 10 minutes.
  int64_t WatchSeconds() const { return 300 + static_cast<int64_t>(seed_ % 300); }

 private:
  uint64_t seed_;
  int failures_ = 0;
};
uint64_t ReflectorSeed(const Client& client, const Resource& r, const ListOptions& options);
// What to do after a list or watch failed.
bool MustRelist(const base::Status& s);
// Whether a server that answered `before` and then `now` has lost what was between them.
bool WentBack(const std::string& before, const std::string& now);
base::Status RevisionsWentBack();  // an error that asks for a new list
void LogReflector(const Resource& r, std::string_view what, const base::Status& s);

template <class T>
class Informer {
 public:
  using Ptr = std::shared_ptr<const T>;
  using IndexFn = std::function<std::vector<std::string>(const T&)>;
  using Handler = std::function<void(const Change<T>&)>;

  Informer(base::Executor& executor, Client& client, ListOptions options = {});

  // Before Run: drops what the owner does not need (managedFields) from each object, to save memory.
  void SetTransform(std::function<void(T&)> transform);
  void AddIndex(std::string name, IndexFn fn);
  // Handlers run on the strand, in order, after the copy has changed; added late, they first see what is there.
  void AddHandler(Handler handler);

  // Lists, watches, relists until the context ends.
  base::Task<void> Run(base::Context ctx);
  bool synced() const { return synced_; }
  base::Task<base::Status> WaitForSync(base::Context ctx);

  Ptr Get(std::string_view key) const;  // null when absent
  Ptr Get(std::string_view ns, std::string_view name) const;
  std::vector<Ptr> List() const;  // in key order
  std::vector<Ptr> ListNamespace(std::string_view ns) const;
  std::vector<Ptr> ByIndex(std::string_view index, std::string_view value) const;
  size_t size() const { return objects_.size(); }
  const std::string& resource_version() const { return resource_version_; }

 private:
  struct Index {
    IndexFn fn;
    std::map<std::string, std::map<Key, Ptr>, std::less<>> values;
  };
  void Replace(ListResult<T> list);
  // False when the event is from before what was seen.
  bool Apply(const TypedEvent<T>& event);
  void Store(const Key& key, Ptr object, bool initial);
  void Erase(const Key& key, Ptr last);
  void Unindex(const Key& key, const T& object);
  void Tell(const Change<T>& change);
  base::Task<base::Status> ListOnce(base::Context ctx);
  base::Task<base::Status> WatchOnce(base::Context ctx);

  base::Executor& executor_;
  Client& client_;
  ListOptions options_;
  std::function<void(T&)> transform_;
  std::map<Key, Ptr, std::less<>> objects_;
  std::map<std::string, Index, std::less<>> indexes_;
  std::vector<Handler> handlers_;
  bool synced_ = false;
  base::Event synced_event_;
  std::string resource_version_;
  bool expired_ = false;  // the last list was refused: ask for the newest state
  ReflectorBackoff backoff_;
};

}  // namespace machinery::client

#include "machinery/client/informer_inl.h"
