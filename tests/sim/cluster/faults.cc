#include "tests/sim/cluster/faults.h"

#include "machinery/object/api_error.h"

namespace sim::cluster {
namespace {

namespace request = machinery::request;
namespace cri = kubelet::cri;
using base::testing::SimExecutor;
using namespace std::chrono_literals;

bool IsAmbiguityHarmless(const request::Request& r) {
  // A creation whose answer is lost cannot be told from one that never arrived; nobody can make that exactly-once
  // without a name. Everything else names its object and is safe to do again.
  return r.verb != request::Verb::kCreate || !r.subresource.empty();
}

class FaultyStream final : public request::WatchStream {
 public:
  FaultyStream(SimExecutor& executor, Faults& faults, const Link& link, std::unique_ptr<request::WatchStream> inner)
      : executor_(executor), faults_(faults), link_(link), inner_(std::move(inner)) {}
  std::string_view content_type() const override { return inner_->content_type(); }
  base::Task<base::Result<std::optional<request::WatchEvent>>> Next(base::Context ctx) override {
    auto event = co_await inner_->Next(ctx);
    if (executor_.Now() < link_.down_until) co_return base::Err(base::Unavailable("link cut (injected)"));
    if (!faults_.on || !event) co_return event;
    auto& random = executor_.random();
    if (random.OneIn(4)) CO_TRY(co_await base::Sleep(executor_, ctx, random.Below(200) * 1ms));
    if (random.OneIn(60)) {
      ++faults_.injected;
      if (random.OneIn(2)) co_return std::optional<request::WatchEvent>();
      if (random.OneIn(3))
        co_return base::Err(machinery::object::ResourceExpired("too old resource version (injected)"));
      co_return base::Err(base::Unavailable("watch broken (injected)"));
    }
    co_return event;
  }

 private:
  SimExecutor& executor_;
  Faults& faults_;
  const Link& link_;
  std::unique_ptr<request::WatchStream> inner_;
};

}  // namespace

base::Task<base::Result<request::Response>> FaultyTransport::Do(base::Context ctx, request::Request r) {
  auto& random = executor_.random();
  // Nothing is free: two controllers that work against each other until a watch catches up must let time pass.
  uint64_t delay = faults_.on && random.OneIn(3) ? random.Below(100) : 0;
  CO_TRY(co_await base::Sleep(executor_, ctx, (delay + 1) * 1ms));
  if (executor_.Now() < link.down_until) co_return base::Err(base::Unavailable("link cut (injected)"));
  bool write = r.verb != request::Verb::kGet && r.verb != request::Verb::kList;
  if (faults_.on && random.OneIn(25)) {
    ++faults_.injected;
    if (r.verb == request::Verb::kUpdate && random.OneIn(2))
      co_return base::Err(machinery::object::Conflict({r.group, r.resource}, r.name, "injected"));
    co_return base::Err(base::Unavailable("request lost (injected)"));
  }
  bool lose = faults_.on && write && IsAmbiguityHarmless(r) && random.OneIn(40);
  auto response = co_await inner_.Do(ctx, std::move(r));
  if (faults_.on && random.OneIn(3)) CO_TRY(co_await base::Sleep(executor_, ctx, random.Below(100) * 1ms));
  if (!lose) co_return response;
  ++faults_.injected;
  co_return base::Err(base::Unavailable("answer lost (injected)"));
}

base::Task<base::Result<std::unique_ptr<request::WatchStream>>> FaultyTransport::Watch(base::Context ctx,
                                                                                       request::Request r) {
  if (executor_.Now() < link.down_until) co_return base::Err(base::Unavailable("link cut (injected)"));
  if (faults_.on && executor_.random().OneIn(10)) {
    ++faults_.injected;
    co_return base::Err(base::Unavailable("connection refused (injected)"));
  }
  CO_TRY_ASSIGN(auto inner, co_await inner_.Watch(ctx, std::move(r)));
  co_return std::unique_ptr<request::WatchStream>(
      std::make_unique<FaultyStream>(executor_, faults_, link, std::move(inner)));
}

base::Task<base::Result<std::string>> FaultyChannel::Unary(base::Context ctx, std::string method, std::string request,
                                                           base::Duration timeout) {
  auto& random = ends_.executor.random();
  const bool faulty = ends_.faults.on;
  base::Context bounded = timeout > base::Duration::zero() ? ctx.WithTimeout(ends_.executor, timeout) : ctx;
  // Less than a kubelet takes to start again: what was on its way when it died is there before its successor looks.
  CO_TRY(co_await base::Sleep(ends_.executor, bounded, (1 + (faulty && random.OneIn(4) ? random.Below(50) : 0)) * 1ms));
  if (ends_.executor.Now() < ends_.link.down_until) co_return base::Err(base::Unavailable("runtime away (injected)"));
  if (faulty && random.OneIn(100)) {
    ++ends_.faults.injected;
    co_return base::Err(base::Unavailable("request lost (injected)"));
  }
  method = method.substr(method.rfind('/') + 1);
  if (method == "StopContainer") {
    cri::StopContainerRequest stop;
    CHECK(stop.ParseFromString(request));
    asked_to_stop_.insert(stop.container_id());
    if (bug_ == SeededBug::kTakesStoppingForStopped) timeout = {};
  }
  auto answer = co_await Carry(bounded, method, std::move(request));
  if (faulty && random.OneIn(50))
    CO_TRY(co_await base::Sleep(ends_.executor, bounded, random.Below(12'000) * 1ms));  // may be more than the timeout
  if (faulty && random.OneIn(100)) {
    ++ends_.faults.injected;
    co_return base::Err(base::Unavailable("answer lost (injected)"));
  }
  if (!answer) co_return answer;
  co_return Misread(method, std::move(*answer));
}

// The runtime does what it was asked whether or not somebody still waits for the answer.
base::Task<base::Result<std::string>> FaultyChannel::Carry(base::Context ctx, std::string method, std::string request) {
  struct Held {
    base::Result<std::string> value;
  };
  using Answer = base::OneShot<Held>;
  auto answer = std::make_shared<Answer>(ends_.executor);
  auto work = [](kubelet::testing::FakeRuntime& runtime, base::Context own, std::string m, std::string r,
                 std::shared_ptr<Answer> to) -> base::Task<void> {
    to->Set({co_await runtime.Call(std::move(own), std::move(m), std::move(r))});
  };
  const bool wait = bug_ != SeededBug::kTakesStoppingForStopped || method != "StopContainer";
  ends_.runtime_tasks.Spawn(
      work(ends_.runtime, ends_.runtime_tasks.context(), std::move(method), std::move(request), answer));
  if (!wait) co_return std::string();
  auto got = co_await answer->Wait(ctx);
  if (!got) co_return base::Err(std::move(got.error()));
  co_return std::move(got->value);
}

std::string FaultyChannel::Misread(const std::string& method, std::string answer) const {
  if (bug_ == SeededBug::kNone) return answer;
  if (bug_ == SeededBug::kForgetsAtRestart) {
    const bool lists = method == "ListContainers" || method == "ListPodSandbox";
    return lists && ends_.executor.Now() - born_ < 4s ? std::string() : answer;
  }
  if (method == "ListContainers" && bug_ == SeededBug::kTakesStoppingForStopped) {
    cri::ListContainersResponse list;
    CHECK(list.ParseFromString(answer));
    for (auto& c : *list.mutable_containers())
      if (asked_to_stop_.contains(c.id())) c.set_state(cri::CONTAINER_EXITED);
    return list.SerializeAsString();
  }
  if (method != "ContainerStatus") return answer;
  cri::ContainerStatusResponse response;
  CHECK(response.ParseFromString(answer));
  auto& c = *response.mutable_status();
  if (bug_ == SeededBug::kTakesStoppingForStopped && asked_to_stop_.contains(c.id()))
    c.set_state(cri::CONTAINER_EXITED);
  if (c.state() == cri::CONTAINER_EXITED && bug_ == SeededBug::kForgetsTheTime)
    c.set_finished_at(c.finished_at() - 3'600'000'000'000);
  if (c.state() == cri::CONTAINER_EXITED && bug_ == SeededBug::kTakesSuccessForFailure) c.set_exit_code(1);
  return response.SerializeAsString();
}

}  // namespace sim::cluster
