#include "base/context.h"

namespace base {

// A link of its context's ring of callbacks, by itself when it is in none.
struct Context::Registration::Node {
  Node *previous = this, *next = this;
  Closure fn;

  ~Node() { Leave(); }
  void Leave() {
    previous->next = next;
    next->previous = previous;
    previous = next = this;
  }
  void InsertBefore(Node& other) {
    previous = other.previous;
    next = &other;
    previous->next = other.previous = this;
  }
};

struct Context::State {
  Status status;
  std::optional<MonoTime> deadline;
  Registration::Node callbacks;   // the ring's head
  Registration parent_link;       // ends this state with its parent
  std::shared_ptr<State> parent;  // keeps the path to the root alive
  Executor* timer_executor = nullptr;
  TimerId timer = 0;

  ~State() {
    while (callbacks.next != &callbacks) callbacks.next->Leave();
    if (timer != 0) timer_executor->CancelTimer(timer);
  }
  void End(const Status& why) {
    if (!status.ok()) return;
    status = why;
    if (timer != 0) timer_executor->CancelTimer(std::exchange(timer, 0));
    while (callbacks.next != &callbacks) {
      Registration::Node* first = callbacks.next;
      first->Leave();
      Closure fn = std::move(first->fn);
      fn();
    }
  }
};

Context::Context() = default;

Context Context::WithCancel() const {
  auto child = std::make_shared<State>();
  child->parent = state_;
  if (state_) {
    child->deadline = state_->deadline;
    if (!state_->status.ok()) {
      child->status = state_->status;
    } else {
      child->parent_link = OnDone([weak = std::weak_ptr<State>(child), parent = state_.get()] {
        if (auto c = weak.lock()) c->End(parent->status);
      });
    }
  }
  return Context(std::move(child));
}

Context Context::WithTimeout(Executor& executor, Duration timeout) const {
  Context child = WithCancel();
  State& s = *child.state_;
  MonoTime at = executor.Now() + timeout;
  if (s.deadline && *s.deadline <= at) return child;
  s.deadline = at;
  if (!s.status.ok()) return child;
  s.timer_executor = &executor;
  s.timer = executor.After(timeout, [weak = std::weak_ptr<State>(child.state_)] {
    if (auto c = weak.lock()) {
      c->timer = 0;
      c->End(DeadlineExceeded("context deadline exceeded"));
    }
  });
  return child;
}

void Context::Cancel(Status why) const {
  auto keep = state_;
  if (keep) keep->End(why);
}
bool Context::done() const { return state_ && !state_->status.ok(); }
Status Context::status() const { return state_ ? state_->status : Status(); }
std::optional<MonoTime> Context::deadline() const { return state_ ? state_->deadline : std::nullopt; }

Context::Registration Context::OnDone(Closure fn) const {
  Registration r;
  if (!state_) return r;
  if (!state_->status.ok()) {
    fn();
    return r;
  }
  r.node_ = std::make_unique<Registration::Node>();
  r.node_->fn = std::move(fn);
  r.node_->InsertBefore(state_->callbacks);
  return r;
}

Context::Registration::Registration() = default;
Context::Registration::Registration(Registration&& o) noexcept = default;
Context::Registration& Context::Registration::operator=(Registration&& o) noexcept = default;
Context::Registration::~Registration() = default;
void Context::Registration::Reset() { node_.reset(); }

}  // namespace base
