// A network of messages between simulated members: delay, loss, duplication, reordering and partitions, all picked by
// the seed. Delivery happens as a turn of the executor, never inside Send. Members are numbered by the test.
//
//   SimNetwork<raftpb::Message> net(executor, {.loss = 0.01});
//   net.Connect(2, [&](uint64_t from, Message m) { node2.Step(m); });
//   net.Send(1, 2, message);
//   net.Partition({1}, {2, 3});   net.Heal();
//
// One strand. Owned by the test, destroyed after everything that sends through it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "base/random.h"
#include "base/testing/sim_executor.h"

namespace base::testing {

struct SimNetworkFaults {
  // Every message takes a time picked evenly between these: with a wide range messages overtake one another.
  Duration min_delay = std::chrono::microseconds(100);
  Duration max_delay = std::chrono::milliseconds(2);
  double loss = 0;         // probability that a message vanishes
  double duplication = 0;  // probability that it comes a second time, after a delay of its own
  double straggler = 0;    // probability that it takes ten to a hundred times as long
};

template <class Message>
class SimNetwork {
 public:
  using Receiver = std::function<void(uint64_t from, Message message)>;
  struct Counters {
    uint64_t sent = 0, delivered = 0, lost = 0, duplicated = 0, cut = 0;
  };

  SimNetwork(SimExecutor& executor, SimNetworkFaults faults)
      : executor_(executor), random_(executor.random().Fork()), faults_(faults), state_(std::make_shared<State>()) {}

  // A member that restarts connects again; what was on its way to the former one is lost with it.
  void Connect(uint64_t member, Receiver receiver) {
    auto& slot = state_->members[member];
    slot.receiver = std::move(receiver);
    ++slot.incarnation;
  }
  void Disconnect(uint64_t member) {
    auto& slot = state_->members[member];
    slot.receiver = nullptr;
    ++slot.incarnation;
  }

  void Send(uint64_t from, uint64_t to, Message message) {
    ++counters_.sent;
    if (Cut(from, to)) {
      ++counters_.cut;
      return;
    }
    if (random_.Unit() < faults_.loss) {
      ++counters_.lost;
      return;
    }
    if (random_.Unit() < faults_.duplication) {
      ++counters_.duplicated;
      Deliver(from, to, message);
    }
    Deliver(from, to, std::move(message));
  }

  // No message passes between the two groups, either way, until Heal. Partitions add up.
  void Partition(const std::vector<uint64_t>& a, const std::vector<uint64_t>& b) {
    for (uint64_t x : a)
      for (uint64_t y : b) {
        state_->cut.insert({x, y});
        state_->cut.insert({y, x});
      }
  }
  // One way only: half-broken links are the meanest.
  void CutOneWay(uint64_t from, uint64_t to) { state_->cut.insert({from, to}); }
  void Isolate(uint64_t member, const std::vector<uint64_t>& others) { Partition({member}, others); }
  void Heal() { state_->cut.clear(); }

  void SetFaults(SimNetworkFaults faults) { faults_ = faults; }
  const Counters& counters() const { return counters_; }

 private:
  struct Member {
    Receiver receiver;
    uint64_t incarnation = 0;
  };
  struct State {
    std::map<uint64_t, Member> members;
    std::set<std::pair<uint64_t, uint64_t>> cut;
  };

  bool Cut(uint64_t from, uint64_t to) const { return state_->cut.contains({from, to}); }

  Duration Delay() {
    auto range = static_cast<uint64_t>((faults_.max_delay - faults_.min_delay).count());
    Duration d = faults_.min_delay + Duration(static_cast<int64_t>(random_.Below(range + 1)));
    if (random_.Unit() < faults_.straggler) d *= static_cast<int64_t>(10 + random_.Below(91));
    return d;
  }

  void Deliver(uint64_t from, uint64_t to, Message message) {
    uint64_t incarnation = state_->members[to].incarnation;
    executor_.After(
        Delay(), [this, weak = std::weak_ptr<State>(state_), from, to, incarnation, m = std::move(message)]() mutable {
          auto state = weak.lock();
          if (!state) return;
          Member& member = state->members[to];
          // A partition also stops what was on its way.
          if (member.incarnation != incarnation || !member.receiver || state->cut.contains({from, to})) {
            ++counters_.cut;
            return;
          }
          ++counters_.delivered;
          executor_.Trace(from << 32 ^ to);
          Receiver receiver = member.receiver;  // may reconnect itself meanwhile
          receiver(from, std::move(m));
        });
  }

  SimExecutor& executor_;
  Random random_;
  SimNetworkFaults faults_;
  std::shared_ptr<State> state_;
  Counters counters_;
};

}  // namespace base::testing
