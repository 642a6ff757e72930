// Node ports of Services, kept as the original keeps them: one bitmap in the object /registry/ranges/servicenodeports
// (v1 RangeAllocation), changed by compare-and-swap, so that servers on one store agree.
//
// A port is marked before its Service is written and cleared when that fails. What a crash leaves behind is found by
// Repair: marked ports that no Service uses are cleared once three repairs in a row have seen them so; used ports that
// are not marked are marked.
//
// Owned by the Server, on its loop.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "apiserver/registry/strategy.h"
#include "apiserver/storage/interface.h"
#include "base/sync.h"

namespace apiserver::registry {

class NodePorts {
 public:
  // [first, last], --service-node-port-range.
  NodePorts(Registry& registry, int first, int last);

  std::string RangeText() const { return std::to_string(first_) + "-" + std::to_string(last_); }

  // A given port. Errors carry the original's reason: "provided port is already allocated", "provided port is not in
  // the valid range. ...".
  base::Task<base::Status> Take(base::Context ctx, int port, bool dry_run);
  // Any port, from the upper part of the range first. "range is full" when there is none.
  base::Task<base::Result<int>> TakeAny(base::Context ctx, bool dry_run);
  base::Task<base::Status> Release(base::Context ctx, std::vector<int> ports);
  void ReleaseLater(std::vector<int> ports);
  // The Service that the port was taken for is written (or will not be).
  void Settle(int port) { pending_.erase(port); }

  base::Task<base::Status> Repair(base::Context ctx);
  // Repairs at once and then every three minutes, until the context ends.
  base::Task<void> Run(base::Context ctx);

 private:
  using Bits = std::vector<bool>;  // index 0 is first_
  // Changes the stored bitmap until it fits; `change` returns an error to give up, false in `changed` to write nothing.
  base::Task<base::Status> Swap(base::Context ctx, std::function<base::Result<bool>(Bits&)> change);
  base::Task<base::Status> Load(base::Context ctx);
  Bits Parse(const std::optional<storage::KeyValue>& kv) const;
  base::SharedBytes Encode(const Bits& bits) const;
  Bits InUse() const;
  bool Contains(int port) const { return port >= first_ && port <= last_; }

  Registry& registry_;
  int first_, last_;
  base::Mutex mutex_;
  std::optional<storage::KeyValue> stored_;  // as last seen
  bool loaded_ = false;
  std::set<int> pending_;        // taken here, their Service is not written yet
  std::map<int, int> suspects_;  // marked without a Service: seen in so many repairs
  base::TaskScope background_;
};

}  // namespace apiserver::registry
