#include "apiserver/server.h"
#include "base/log.h"
#include "machinery/schema/type.h"
#include "proto/schema_blob.h"

namespace apiserver {

using machinery::request::Identity;
using machinery::request::Request;
using machinery::request::Response;
using machinery::request::Transport;
using machinery::request::WatchStream;

const machinery::schema::Schema& BuiltinSchema() {
  static const auto schema = machinery::schema::Schema::FromDescriptors({proto::SchemaBlob()});
  return *schema;
}

struct Core::Impl {
  Impl(base::Executor& executor, storage::Storage& storage, base::Random random, const CoreOptions& options)
      : registry(executor, BuiltinSchema(), storage, random, options.registry) {}
  registry::Registry registry;
  std::unique_ptr<admission::Chain> admission;
  std::unique_ptr<chain::Chain> chain;
};

Core::Core(base::Executor& executor, storage::Storage& storage, base::Random random, CoreOptions options,
           const Wire& wire)
    : impl_(std::make_unique<Impl>(executor, storage, random, options)) {
  auto& registry = impl_->registry;
  Wiring wiring = wire ? wire(registry) : Wiring{};
  if (wiring.metrics) registry.mirror().CountErrorsIn(*wiring.metrics);
  auto chain = admission::Chain::Make({&executor, &registry, wiring.authorizer}, options.enable_admission_plugins,
                                      options.disable_admission_plugins);
  if (!chain) base::LogFatal("Unable to set up admission", chain.error());
  impl_->admission = std::move(*chain);
  registry.SetAdmission(impl_->admission.get());
  impl_->chain = std::make_unique<chain::Chain>(
      chain::Services{&executor, &registry, wiring.authenticator, wiring.authorizer, wiring.metrics}, options.limits,
      options.manners);
}
Core::~Core() = default;

base::Task<void> Core::Run(base::Context ctx) { co_await impl_->registry.Run(ctx); }
base::Task<base::Status> Core::WaitReady(base::Context ctx) { co_return co_await impl_->registry.WaitReady(ctx); }
registry::Registry& Core::registry() { return impl_->registry; }
chain::Chain& Core::chain() { return *impl_->chain; }

namespace {

class InProcess final : public Transport {
 public:
  InProcess(Core& core, Identity identity) : core_(core), identity_(std::move(identity)) {}

  base::Task<base::Result<Response>> Do(base::Context ctx, Request request) override {
    co_await base::Yield(core_.registry().executor());
    request.identity = identity_;
    co_return co_await core_.chain().Do(ctx, request);
  }
  base::Task<base::Result<std::unique_ptr<WatchStream>>> Watch(base::Context ctx, Request request) override {
    co_await base::Yield(core_.registry().executor());
    request.identity = identity_;
    CO_TRY_ASSIGN(std::unique_ptr<WatchStream> stream, co_await core_.chain().Watch(ctx, request));
    co_return stream;
  }

 private:
  Core& core_;
  Identity identity_;
};

}  // namespace

std::unique_ptr<Transport> InProcessTransport(Core& core, Identity identity) {
  return std::make_unique<InProcess>(core, std::move(identity));
}

}  // namespace apiserver
