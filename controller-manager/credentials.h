// --use-service-account-credentials: every controller acts as a service account of its own in kube-system, with the
// role the server's bootstrap policy gives it. Tokens are asked for with the manager's credentials and renewed before
// they end; all controllers share one connection that has no client certificate.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "machinery/client/client.h"
#include "machinery/client/connection.h"

namespace controller_manager {

class ServiceAccountClients {
 public:
  // `root` speaks as the manager itself.
  ServiceAccountClients(base::Loop& loop, machinery::client::Client& root, base::net::ClientOptions options);
  ~ServiceAccountClients();
  // The client that acts as kube-system/`account`. Before Prepare has returned OK its calls fail.
  machinery::client::Client& Of(const std::string& account);
  // Makes missing accounts and gets the first tokens.
  base::Task<base::Status> Prepare(base::Context ctx);
  // Renews tokens until the context ends.
  base::Task<void> Run(base::Context ctx);

 private:
  struct Account;
  base::Task<base::Status> Renew(base::Context ctx, Account& account);
  base::Loop& loop_;
  machinery::client::Client& root_;
  std::unique_ptr<machinery::client::Connection> shared_;
  std::map<std::string, std::unique_ptr<Account>> accounts_;
};

}  // namespace controller_manager
