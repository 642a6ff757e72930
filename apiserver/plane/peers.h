// How the store, the controller manager and the scheduler of this machine are: their /healthz on the default ports, as
// ComponentStatus has always shown it. Nothing is asked before somebody reads it.
//
// Owned by the ControlPlane, on its loop.
#pragma once

#include <memory>

#include "apiserver/registry/core/component_status.h"
#include "apiserver/storage/interface.h"
#include "base/loop.h"

namespace apiserver {

class Peers final : public registry::ComponentHealth {
 public:
  static base::Result<std::unique_ptr<Peers>> Make(base::Loop& loop, storage::Storage& store);
  ~Peers() override;
  base::Task<std::vector<registry::ComponentState>> Ask(base::Context ctx) override;

 private:
  struct Impl;
  explicit Peers(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace apiserver
