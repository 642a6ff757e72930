#include "tests/sim/raft_watchers.h"

#include <optional>
#include <utility>

namespace tests::sim {

using namespace kvstore;

std::unique_ptr<mvcc::WatchStream> Watchers::StreamAt(SimMember& m, const Listener& who, std::function<void()> wake) {
  auto stream = std::make_unique<mvcc::WatchStream>(m.replica->store().watches(), std::move(wake));
  // What it had heard before the power failed it need not hear again, unless the member forgot it.
  int64_t from = who.told + 1 + (world_.Broken(SeededBug::kWatchGap) && m.life > 1);
  (void)stream->Watch({.key = std::string(1, '\0'), .end = std::string(1, '\0'), .start_revision = from});
  return stream;
}

void Watchers::Opened(SimMember& m) {
  AtMember& watcher = at_[m.number];
  watcher.who.name = "the watcher of member " + std::to_string(m.number);
  watcher.stream = StreamAt(m, watcher.who, [this, &m, life = m.life] {
    world_.executor.Post([this, &m, life] {
      if (m.life == life) Listen(m);
    });
  });
}

void Watchers::Shut(SimMember& m) {
  if (roaming_at_ == &m) {
    roaming_.reset();
    roaming_at_ = nullptr;
  }
  at_[m.number].stream.reset();
}

void Watchers::Listen(SimMember& m) {
  AtMember& watcher = at_[m.number];
  while (auto item = watcher.stream ? watcher.stream->Next() : std::nullopt) {
    if (world_.judge.Told(watcher.who, *item, world_.executor.Now())) continue;
    world_.executor.Post([this, &m, life = m.life] {
      if (m.life == life) Opened(m);
    });
    return;
  }
  if (watcher.stream && world_.random.OneIn(20)) watcher.stream->RequestProgress();
}

base::Task<void> Watchers::Roam() {
  base::Random& random = world_.random;
  Listener who{.name = "the watcher that goes from member to member"};
  while (!world_.finishing) {
    base::Duration rest = std::chrono::milliseconds(random.Below(random.OneIn(4) ? 3000 : 200));
    (void)co_await base::Sleep(world_.executor, base::Context(), rest);
    if (roaming_ && random.OneIn(4)) roaming_.reset();
    if (!roaming_) {
      roaming_at_ = members_.AnyOpen();
      if (roaming_at_ == nullptr) continue;
      roaming_ = StreamAt(*roaming_at_, who, nullptr);
      ++world_.figures["watches resumed"];
    }
    for (uint64_t n = random.Below(8); n > 0 && roaming_; --n) {
      auto item = roaming_->Next();
      if (!item) break;
      if (!world_.judge.Told(who, *item, world_.executor.Now())) {
        ++world_.figures["watches compacted away"];
        roaming_.reset();
      }
    }
    if (roaming_ && random.OneIn(4)) roaming_->RequestProgress();
  }
  roaming_.reset();
}

}  // namespace tests::sim
