#include "apiserver/plane/peers.h"

#include <vector>

#include "base/net/client.h"
#include "base/sync.h"

namespace apiserver {

using registry::ComponentState;

namespace {

constexpr auto kTimeout = std::chrono::seconds(20);
constexpr size_t kMaxBody = 10 << 10;

struct Daemon {
  const char* name;
  const char* endpoint;
};
constexpr Daemon kDaemons[] = {{"controller-manager", "https://127.0.0.1:10257"},
                               {"scheduler", "https://127.0.0.1:10259"}};

}  // namespace

struct Peers::Impl {
  base::Loop& loop;
  storage::Storage& store;
  std::shared_ptr<base::net::ClientTls> tls;

  base::Task<void> AskStore(base::Context ctx, ComponentState* out) {
    auto revision = co_await store.CurrentRevision(ctx);
    if (revision)
      *out = {"etcd-0", "True", "ok", ""};
    else
      *out = {"etcd-0", "False", "", revision.error().ToString()};
  }

  base::Task<void> AskDaemon(base::Context ctx, Daemon daemon, ComponentState* out) {
    *out = {daemon.name, "False", "", ""};
    // Asked now and then only: no connection is kept.
    base::net::Client client(loop, {.endpoints = {daemon.endpoint}, .tls = tls});
    auto answer = co_await client.Do(ctx, {.path = "/healthz"});
    if (!answer) {
      out->message = "Get \"" + std::string(daemon.endpoint) + "/healthz\": " + std::string(answer.error().message());
      co_return;
    }
    auto body = co_await (*answer)->ReadAll(ctx, kMaxBody);
    int status = (*answer)->status();
    if (status < 200 || status >= 400) {
      out->message = "HTTP probe failed with statuscode: " + std::to_string(status);
    } else {
      out->status = "True";
      out->message = body ? *body : "";
    }
  }
};

base::Result<std::unique_ptr<Peers>> Peers::Make(base::Loop& loop, storage::Storage& store) {
  // Their certificates are self-signed as a rule, and what they answer is no secret.
  TRY_ASSIGN(auto tls, base::net::ClientTls::FromFiles({.skip_verify = true}));
  return std::unique_ptr<Peers>(new Peers(std::unique_ptr<Impl>(new Impl{loop, store, std::move(tls)})));
}

Peers::Peers(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Peers::~Peers() = default;

base::Task<std::vector<ComponentState>> Peers::Ask(base::Context ctx) {
  std::vector<ComponentState> out(1 + std::size(kDaemons));
  base::TaskScope scope(impl_->loop, ctx.WithTimeout(impl_->loop, kTimeout));
  scope.Spawn(impl_->AskStore(scope.context(), &out[0]));
  for (size_t i = 0; i < std::size(kDaemons); ++i)
    scope.Spawn(impl_->AskDaemon(scope.context(), kDaemons[i], &out[i + 1]));
  co_await scope.Join();
  co_return out;
}

}  // namespace apiserver
