// All controllers of one process: shared informers, then each controller until the context ends. One strand;
// simulations run it whole.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "controller-manager/common/context.h"

namespace controller_manager {

// The original's controllers that Keelson does not have yet: --controllers may switch them off, not on by name.
const std::vector<std::string>& KnownControllers();
const std::vector<std::string>& MissingControllers();

// Whether `name` runs under these words of --controllers; an error for a word that names no controller, or one that is
// missing.
base::Status CheckControllers(const std::vector<std::string>& words);
bool IsEnabled(const std::vector<std::string>& words, std::string_view name);

class Manager {
 public:
  using Discover = std::function<base::Task<base::Result<std::vector<ServedResource>>>(base::Context)>;
  // Who a controller acts as: the client of its service account.
  using ClientOf = std::function<client::Client&(const std::string& account)>;
  // `client` watches and records events; without `client_of` it does everything.
  // tidy: parameters: the world comes in by constructor
  Manager(base::Executor& executor, client::Client& client, base::Random random, base::MetricsRegistry& metrics,
          ManagerOptions options, Discover discover, ClientOf client_of = {});
  ~Manager();
  base::Task<void> Run(base::Context ctx);
  bool synced() const { return informers_.synced(); }

 private:
  client::EventRecorder& Events(const std::string& component);
  base::Executor& executor_;
  client::Client& client_;
  ManagerContext& ContextOf(const std::string& account);
  base::Random random_;
  base::MetricsRegistry& metrics_;
  ManagerOptions options_;
  Discover discover_;
  ClientOf client_of_;
  Informers informers_;
  std::map<std::string, std::unique_ptr<client::EventRecorder>> recorders_;
  std::map<std::string, std::unique_ptr<ManagerContext>> contexts_;  // by service account
  std::vector<std::unique_ptr<RunnableController>> controllers_;
};

}  // namespace controller_manager
