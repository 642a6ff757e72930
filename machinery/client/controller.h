// A controller: informers feed keys to a queue, workers reconcile one key at a time from the whole state.
//
//   Controller c(executor, "deployment", workers, [&](Context ctx, Key key) { return Reconcile(ctx, key); });
//   c.For(deployments).Owns<Deployment>(replica_sets).Watches<Pod>(pods, [&](const Pod& p) { return KeysFor(p); });
//   scope.Spawn(c.Run(ctx));
//
// An error puts the key back with back-off; requeue_after puts it back later. One strand.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "machinery/client/informer.h"
#include "machinery/client/work_queue.h"

namespace machinery::client {

struct Done {
  std::optional<base::Duration> requeue_after;
};
using Reconciler = std::function<base::Task<base::Result<Done>>(base::Context ctx, Key key)>;

// The controlling owner's name when it is of `kind`, else "".
template <class T>
std::string ControllerOf(const T& object, std::string_view kind) {
  for (const auto& o : object.metadata().ownerreferences())
    if (o.controller() && o.kind() == kind) return o.name();
  return {};
}

class Controller {
 public:
  Controller(base::Executor& executor, std::string name, int workers, Reconciler reconcile, BackoffLimits limits = {});

  // Changes of T queue T's own key.
  template <class T>
  Controller& For(Informer<T>& informer) {
    informer.AddHandler([this](const Change<T>& c) { queue_.Add(KeyOf(c.any())); });
    waits_.push_back([&informer](base::Context ctx) { return informer.WaitForSync(std::move(ctx)); });
    return *this;
  }
  // Changes of U queue its controlling owner of kind T (both the old and the new one).
  template <class T, class U>
  Controller& Owns(Informer<U>& informer) {
    informer.AddHandler([this](const Change<U>& c) {
      for (const auto* object : {c.old.get(), c.current.get()}) {
        if (!object) continue;
        std::string owner = ControllerOf(*object, ResourceOf<T>().kind);
        if (owner.empty()) continue;
        const auto& ns = object->metadata().namespace_();
        queue_.Add(ns.empty() ? owner : ns + "/" + owner);
      }
    });
    waits_.push_back([&informer](base::Context ctx) { return informer.WaitForSync(std::move(ctx)); });
    return *this;
  }
  // Changes of W queue what `map` says.
  template <class W>
  Controller& Watches(Informer<W>& informer, std::function<std::vector<Key>(const Change<W>&)> map) {
    informer.AddHandler([this, map](const Change<W>& c) {
      for (auto& key : map(c)) queue_.Add(std::move(key));
    });
    waits_.push_back([&informer](base::Context ctx) { return informer.WaitForSync(std::move(ctx)); });
    return *this;
  }
  WorkQueue& queue() { return queue_; }

  // Waits for the informers, then works until the context ends.
  base::Task<void> Run(base::Context ctx);

 private:
  base::Task<void> Work(base::Context ctx);
  base::Executor& executor_;
  std::string name_;
  int workers_;
  Reconciler reconcile_;
  WorkQueue queue_;
  std::vector<std::function<base::Task<base::Status>(base::Context)>> waits_;
};

}  // namespace machinery::client
