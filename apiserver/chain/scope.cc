#include "apiserver/chain/scope.h"

#include "apiserver/chain/steps.h"

namespace apiserver::chain {

Scope::Scope(StepState& state, Incoming incoming) : in(std::move(incoming)), context(in.context), state_(state) {}

Scope::~Scope() {
  auto steps = Steps();
  for (size_t i = next_; i-- > 0;)
    if (steps[i].leave && (passed_ >> i & 1)) steps[i].leave(state_, *this);
}

}  // namespace apiserver::chain
