// What a controller gets: the client, the shared local copies, the recorder of events, the options. Made once per
// manager; everything here lives on one strand.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/metrics.h"
#include "base/random.h"
#include "controller-manager/common/trim.h"
#include "machinery/client/controller.h"
#include "machinery/client/event_recorder.h"
#include "machinery/client/informer.h"

namespace controller_manager {

namespace client = machinery::client;

// One copy of each kind, shared by the controllers that look at it. A kind nobody asked for is not watched.
class Informers {
 public:
  Informers(base::Executor& executor, client::Client& client) : executor_(executor), client_(client) {}

  template <class T>
  client::Informer<T>& Of() {
    auto& slot = all_[&client::ResourceOf<T>()];
    if (!slot.informer) {
      auto made = std::make_shared<client::Informer<T>>(executor_, client_);
      made->SetTransform([](T& object) { Trim(object); });
      slot.run = [made](base::Context ctx) { return made->Run(std::move(ctx)); };
      slot.synced = [made] { return made->synced(); };
      slot.informer = made;
      order_.push_back(&client::ResourceOf<T>());
    }
    return *static_cast<client::Informer<T>*>(slot.informer.get());
  }
  // Adds an index once, whoever comes first; the same name means the same function.
  template <class T>
  void Index(const std::string& name, typename client::Informer<T>::IndexFn fn) {
    auto& informer = Of<T>();
    if (indexes_.emplace(std::make_pair(&client::ResourceOf<T>(), name), true).second)
      informer.AddIndex(name, std::move(fn));
  }
  // Who watches: for a controller's own informers, whose account may write only.
  client::Client& client() { return client_; }
  // Starts them all; no Of() for a new kind afterwards.
  void Start(base::TaskScope& scope);
  bool synced() const;

 private:
  // managedFields are nobody's business here; a kind may have an overload that drops more.
  template <class T>
  static void Trim(T& object) {
    object.mutable_metadata()->clear_managedfields();
    if constexpr (requires { TrimMore(object); }) TrimMore(object);
  }
  struct Slot {
    std::shared_ptr<void> informer;
    std::function<base::Task<void>(base::Context)> run;
    std::function<bool()> synced;
  };
  base::Executor& executor_;
  client::Client& client_;
  std::map<const client::Resource*, Slot> all_;
  std::vector<const client::Resource*> order_;  // of creation: the map's is by address, which differs from run to run
  std::map<std::pair<const client::Resource*, std::string>, bool> indexes_;
};

// A resource as discovery shows it.
struct ServedResource {
  client::Resource resource;
  std::vector<std::string> verbs;
  bool Can(std::string_view verb) const;
};

// How fast nodes that fell silent may be emptied, per zone (--node-eviction-rate and its kin).
struct EvictionRates {
  double normal = 0.1, secondary = 0.01;  // nodes per second
  int large_zone = 50;                    // smaller zones are not emptied at all in partial disruption
  double unhealthy_threshold = 0.55;
};

struct ManagerOptions {
  std::vector<std::string> controllers = {"*"};  // as --controllers: "*", "name", "-name"
  std::string root_ca;                           // PEM text of --root-ca-file
  bool allocate_node_cidrs = false;
  std::string cluster_cidr, service_cluster_ip_range;
  int node_cidr_mask_size = 24;
  int node_cidr_mask_size_ipv6 = 64;
  base::Duration node_monitor_period = std::chrono::seconds(5);
  base::Duration node_monitor_grace_period = std::chrono::seconds(50);
  base::Duration node_startup_grace_period = std::chrono::seconds(60);
  EvictionRates eviction_rates;
  int terminated_pod_gc_threshold = 12500;
  std::map<std::string, int> concurrency;  // by controller; absent: its default
};

struct ManagerContext {
  base::Executor& executor;
  client::Client& client;
  Informers& informers;
  base::Random& random;
  base::MetricsRegistry& metrics;
  const ManagerOptions& options;
  // All resources the server has, with what they can do; asked anew at each call.
  std::function<base::Task<base::Result<std::vector<ServedResource>>>(base::Context)> discover;
  // The recorder of a component, shared.
  std::function<client::EventRecorder&(const std::string& component)> events;

  int Workers(const std::string& controller, int otherwise) const {
    auto it = options.concurrency.find(controller);
    return it == options.concurrency.end() ? otherwise : it->second;
  }
};

class RunnableController {
 public:
  virtual ~RunnableController() = default;
  // Until the context ends. Asked for informers in the constructor.
  virtual base::Task<void> Run(base::Context ctx) = 0;
};

}  // namespace controller_manager
