#include "controller-manager/credentials.h"

#include "base/log.h"
#include "machinery/object/api_error.h"
#include "proto/k8s/authentication/v1/authentication.pb.h"
#include "proto/k8s/core/v1/config.pb.h"

namespace controller_manager {
namespace client = machinery::client;
namespace {
using k8s::io::api::authentication::v1::TokenRequest;
using k8s::io::api::core::v1::ServiceAccount;

constexpr char kNamespace[] = "kube-system";
constexpr int64_t kSeconds = 3600;
constexpr base::Duration kRenewAfter = std::chrono::minutes(45);
constexpr base::Duration kRetry = std::chrono::seconds(5);
constexpr base::Duration kTimeout = std::chrono::seconds(10);
}  // namespace

struct ServiceAccountClients::Account {
  Account(client::Connection& shared, std::string n)
      : name(std::move(n)), transport(shared.As([this] { return token; })), client(*transport, name) {}
  std::string name, token;
  std::unique_ptr<machinery::request::Transport> transport;
  client::Client client;
};

ServiceAccountClients::ServiceAccountClients(base::Loop& loop, client::Client& root, base::net::ClientOptions options)
    : loop_(loop), root_(root), shared_(client::Connect(loop, std::move(options))) {}
ServiceAccountClients::~ServiceAccountClients() = default;

client::Client& ServiceAccountClients::Of(const std::string& name) {
  auto& slot = accounts_[name];
  if (!slot) slot = std::make_unique<Account>(*shared_, name);
  return slot->client;
}

base::Task<base::Status> ServiceAccountClients::Renew(base::Context ctx, Account& account) {
  ctx = ctx.WithTimeout(loop_, kTimeout);
  TokenRequest wanted;
  wanted.mutable_spec()->set_expirationseconds(kSeconds);
  auto ask = [&] {
    return root_.CreateSubresource<ServiceAccount, TokenRequest, TokenRequest>(ctx, kNamespace, account.name, "token",
                                                                               wanted);
  };
  auto got = co_await ask();
  if (!got && machinery::object::IsNotFound(got.error())) {
    ServiceAccount made;
    made.mutable_metadata()->set_namespace_(kNamespace);
    made.mutable_metadata()->set_name(account.name);
    auto created = co_await root_.Create<ServiceAccount>(ctx, std::move(made));
    if (!created && !machinery::object::IsAlreadyExists(created.error())) co_return created.error();
    got = co_await ask();
  }
  if (!got) co_return got.error();
  account.token = got->status().token();
  co_return base::Ok();
}

base::Task<base::Status> ServiceAccountClients::Prepare(base::Context ctx) {
  for (auto& [name, account] : accounts_) {
    for (;;) {
      auto status = co_await Renew(ctx, *account);
      if (status.ok()) break;
      base::LogError("Cannot get a token for a controller", status, {{"serviceAccount", name}});
      CO_TRY(co_await base::Sleep(loop_, ctx, kRetry));
    }
  }
  co_return base::Ok();
}

base::Task<void> ServiceAccountClients::Run(base::Context ctx) {
  base::Duration wait = kRenewAfter;
  while ((co_await base::Sleep(loop_, ctx, wait)).ok()) {
    wait = kRenewAfter;
    for (auto& [name, account] : accounts_) {
      auto status = co_await Renew(ctx, *account);
      if (status.ok()) continue;
      base::LogError("Cannot renew the token of a controller", status, {{"serviceAccount", name}});
      wait = kRetry;
    }
  }
}

}  // namespace controller_manager
