// A daemon of the simulation: made, run, killed and made again. One strand.
#pragma once

#include <functional>
#include <memory>

#include "base/sync.h"

namespace sim::cluster {

class Process {
 public:
  using Body = std::function<base::Task<void>(base::Context)>;
  Process(base::Executor& executor, std::function<Body()> make) : executor_(executor), make_(std::move(make)) {}
  ~Process() { CHECK(!scope_); }
  void Start() {
    scope_ = std::make_unique<base::TaskScope>(executor_, base::Context());
    body_ = make_();
    scope_->Spawn(body_(scope_->context()));
  }
  void Kill() { scope_->Cancel(); }
  bool stopped() const { return scope_->running() == 0; }
  void Clear() {
    scope_.reset();
    body_ = nullptr;
  }

 private:
  base::Executor& executor_;
  std::function<Body()> make_;
  Body body_;
  std::unique_ptr<base::TaskScope> scope_;
};

}  // namespace sim::cluster
