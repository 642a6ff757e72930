// kube-apiserver put together: store, core, who may do what, bootstrap, listeners. What runs is in Run, top to bottom.
//
// Made by main(), on the daemon's loop.
#pragma once

#include <memory>

#include "apiserver/daemon/options.h"
#include "base/daemon.h"

namespace apiserver {

class Server {
 public:
  Server(base::Daemon& daemon, Options options);
  ~Server();
  // Serves until the daemon's context ends; an error when it cannot start.
  base::Task<base::Status> Run();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace apiserver
