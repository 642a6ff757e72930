// What a controller's unit test stands on: a server in memory, a simulated clock, and the manager's context over both.
// A test's fixture derives from it, makes its controller from context_ and spawns it in a TaskScope of its own.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "base/testing/sim_executor.h"
#include "controller-manager/common/context.h"
#include "machinery/client/testing/fake_transport.h"

namespace controller_manager {

class ControllerTest : public ::testing::Test {
 protected:
  using Discover = decltype(ManagerContext::discover);
  // `component`: the name its events bear.
  explicit ControllerTest(std::string component, Discover discover = {})
      : recorder_(sim_, client_, std::move(component)), context_(Over(std::move(discover))) {}
  ~ControllerTest() override {
    ctx_.Cancel();
    sim_.RunFor(std::chrono::seconds(10));
  }
  // Runs a task to its end, and gives its value.
  template <class T>
  T Await(base::Task<T> task) {
    return sim_.Await(std::move(task));
  }

  base::testing::SimExecutor sim_{1};
  client::testing::FakeTransport server_{sim_};
  client::Client client_{server_, "test"};
  base::Context ctx_ = base::Context().WithCancel();
  base::MetricsRegistry metrics_;
  base::Random random_{1};
  ManagerOptions options_;
  Informers informers_{sim_, client_};
  client::EventRecorder recorder_;
  ManagerContext context_;

 private:
  ManagerContext Over(Discover discover) {
    auto events = [this](const std::string&) -> client::EventRecorder& { return recorder_; };
    return {sim_, client_, informers_, random_, metrics_, options_, std::move(discover), events};
  }
};

}  // namespace controller_manager
