// A whole apiserver over memory storage on a plain port, for tests that want REST without a store: everything is
// allowed and everybody is system:masters. Prints the address it listens on.
#include <cstdio>

#include "apiserver/chain/rest.h"
#include "apiserver/server.h"
#include "apiserver/storage/memory.h"
#include "base/daemon.h"
#include "base/sync.h"

namespace {

// Without an authenticator requests keep the identity they come with; here all come from the same administrator.
class Everybody final : public apiserver::auth::Authenticator {
 public:
  base::Task<base::Result<std::optional<machinery::request::Identity>>> Authenticate(
      base::Context, const apiserver::auth::Credentials&) override {
    co_return machinery::request::Identity{.name = "admin", .groups = {"system:masters", "system:authenticated"}};
  }
};

base::Task<base::Status> Serve(base::Daemon& daemon, std::string address) {
  base::Loop& loop = daemon.loop();
  base::Random random = base::Random::System();
  apiserver::storage::MemoryStorage storage(loop);
  Everybody everybody;
  apiserver::Core core(loop, storage, random.Fork(), {},
                       [&](auto&) { return apiserver::Wiring{.authenticator = &everybody}; });
  apiserver::chain::RestFront front(core.chain());
  base::TaskScope scope(loop, daemon.context());
  scope.Spawn(core.Run(scope.context()));
  CO_TRY(co_await core.WaitReady(daemon.context()));
  base::net::Server server({&loop}, [&front](base::net::Exchange& e) { return front.Serve(e); });
  CO_TRY_ASSIGN(std::string bound, server.Listen(address));
  std::printf("%s\n", bound.c_str());
  std::fflush(stdout);
  base::Event never(loop);
  (void)co_await never.Wait(daemon.context());
  co_await server.Stop(std::chrono::seconds(1));
  co_await scope.CancelAndJoin();
  co_return base::Ok();
}

}  // namespace

int main(int argc, char** argv) {
  base::Daemon daemon;
  std::string address = argc > 1 ? argv[1] : "127.0.0.1:0";
  return daemon.Run([&](base::Daemon& d) { return Serve(d, address); });
}
