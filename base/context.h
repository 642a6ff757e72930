// Context: a deadline and a way to cancel, handed down every call. A cheap copyable handle; a child is cancelled with
// its parent. One strand: the whole tree of contexts belongs to one executor.
#pragma once

#include <memory>
#include <optional>

#include "base/executor.h"
#include "base/status.h"

namespace base {

class Context {
 public:
  // Never cancelled.
  Context();
  // A child that can be cancelled by itself.
  Context WithCancel() const;
  // A child that ends with kDeadlineExceeded after `timeout` on `executor`'s clock. No timer is left behind when the
  // last handle to the child is gone.
  Context WithTimeout(Executor& executor, Duration timeout) const;

  // Ends this context and its children with `why`; later calls do nothing.
  void Cancel(Status why = Cancelled("context canceled")) const;
  bool done() const;
  // OK while alive.
  Status status() const;
  // The earliest deadline on the path to the root.
  std::optional<MonoTime> deadline() const;

  // Runs a callback once when the context ends (at once when it has ended); removed when the registration dies.
  class [[nodiscard]] Registration {
   public:
    Registration();
    Registration(Registration&& o) noexcept;
    Registration& operator=(Registration&& o) noexcept;
    ~Registration();
    void Reset();

   private:
    friend class Context;
    struct Node;
    std::unique_ptr<Node> node_;
  };
  Registration OnDone(Closure fn) const;

 private:
  struct State;
  explicit Context(std::shared_ptr<State> s) : state_(std::move(s)) {}
  std::shared_ptr<State> state_;
};

}  // namespace base
