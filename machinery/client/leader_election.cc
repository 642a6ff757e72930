#include "machinery/client/leader_election.h"

#include "base/log.h"
#include "machinery/client/micro_time.h"
#include "machinery/object/api_error.h"
#include "proto/k8s/coordination/v1/lease.pb.h"

namespace machinery::client {
namespace {
using k8s::io::api::coordination::v1::Lease;

// What is known of the lease: the last record seen and when it was first seen to be so, on our own clock. Comparing
// times on two machines' clocks would make safety depend on their agreement.
class Elector {
 public:
  Elector(base::Executor& executor, Client& client, LeaderElectionOptions options)
      : executor_(executor), client_(client), options_(std::move(options)) {}

  // True when the lease is ours for another lease_duration.
  base::Task<base::Result<bool>> TryAcquireOrRenew(base::Context ctx) {
    auto got = co_await client_.Get<Lease>(ctx, options_.lease_namespace, options_.lease_name);
    if (!got && object::IsNotFound(got.error())) co_return co_await Make(ctx);
    if (!got) co_return base::Err(got.error());
    Observe(*got);
    bool ours = got->spec().holderidentity() == options_.identity;
    if (!ours && !got->spec().holderidentity().empty() && !Expired()) co_return false;
    auto* spec = got->mutable_spec();
    Fill(*spec);
    if (!ours) {
      SetNow(*spec->mutable_acquiretime());
      spec->set_leasetransitions(spec->leasetransitions() + 1);
    }
    CO_TRY_ASSIGN(auto updated, co_await client_.Update<Lease>(ctx, std::move(*got)));
    Observe(updated);
    co_return true;
  }

  base::Task<void> Release(base::Context ctx) {
    auto got = co_await client_.Get<Lease>(ctx, options_.lease_namespace, options_.lease_name);
    if (!got || got->spec().holderidentity() != options_.identity) co_return;
    auto* spec = got->mutable_spec();
    Fill(*spec);
    spec->set_holderidentity("");
    spec->set_leasedurationseconds(1);
    (void)co_await client_.Update<Lease>(ctx, std::move(*got));
  }

 private:
  base::Task<base::Result<bool>> Make(base::Context ctx) {
    Lease lease;
    lease.mutable_metadata()->set_namespace_(options_.lease_namespace);
    lease.mutable_metadata()->set_name(options_.lease_name);
    Fill(*lease.mutable_spec());
    SetNow(*lease.mutable_spec()->mutable_acquiretime());
    lease.mutable_spec()->set_leasetransitions(0);
    CO_TRY_ASSIGN(auto created, co_await client_.Create<Lease>(ctx, std::move(lease)));
    Observe(created);
    co_return true;
  }
  template <class Time>
  void SetNow(Time& t) {
    SetMicroTime(t, executor_.WallNow());
  }
  void Fill(k8s::io::api::coordination::v1::LeaseSpec& spec) {
    spec.set_holderidentity(options_.identity);
    spec.set_leasedurationseconds(
        static_cast<int>(std::chrono::duration_cast<std::chrono::seconds>(options_.lease_duration).count()));
    SetNow(*spec.mutable_renewtime());
  }
  void Observe(const Lease& lease) {
    if (lease.metadata().resourceversion() == seen_version_) return;
    seen_version_ = lease.metadata().resourceversion();
    seen_at_ = executor_.Now();
    seen_duration_ = std::chrono::seconds(lease.spec().leasedurationseconds());
  }
  bool Expired() const { return executor_.Now() >= seen_at_ + seen_duration_; }

  base::Executor& executor_;
  Client& client_;
  LeaderElectionOptions options_;
  std::string seen_version_;
  base::MonoTime seen_at_{};
  base::Duration seen_duration_{};
};

base::Task<void> Lead(std::function<base::Task<void>(base::Context)> lead, base::Context ctx) { co_await lead(ctx); }
}  // namespace

base::Task<base::Status> RunAsLeader(base::Executor& executor, base::Context ctx, Client& client,
                                     LeaderElectionOptions options,
                                     std::function<base::Task<void>(base::Context)> lead) {
  Elector elector(executor, client, options);
  for (;;) {
    if (ctx.done()) co_return base::Ok();
    auto got = co_await elector.TryAcquireOrRenew(ctx.WithTimeout(executor, options.renew_deadline));
    if (got && *got) break;
    if (!got) base::LogV(2, "Cannot get the lease", {{"lease", options.lease_name}, {"err", got.error()}});
    if (!(co_await base::Sleep(executor, ctx, options.retry_period)).ok()) co_return base::Ok();
  }
  base::LogInfo("Successfully acquired lease", {{"lock", options.lease_namespace + "/" + options.lease_name}});
  base::TaskScope scope(executor, ctx);
  scope.Spawn(Lead(lead, scope.context()));
  base::MonoTime renewed = executor.Now();
  base::Status lost;
  while (lost.ok() && (co_await base::Sleep(executor, ctx, options.retry_period)).ok()) {
    base::Duration left = options.renew_deadline - (executor.Now() - renewed);
    auto got = co_await elector.TryAcquireOrRenew(ctx.WithTimeout(executor, std::max(left, options.retry_period)));
    if (got && *got)
      renewed = executor.Now();
    else if (got || executor.Now() - renewed >= options.renew_deadline)
      lost = base::Aborted("leaderelection lost");
  }
  co_await scope.CancelAndJoin();
  if (lost.ok() && options.release_on_cancel)
    co_await elector.Release(base::Context().WithTimeout(executor, std::chrono::seconds(1)));
  co_return lost;
}

}  // namespace machinery::client
