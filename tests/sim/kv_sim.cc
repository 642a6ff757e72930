#include "tests/sim/kv_sim.h"

#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "base/protobuf_wire.h"
#include "base/testing/sim_block_files.h"
#include "base/testing/sim_disk.h"
#include "base/testing/sim_executor.h"
#include "kvstore/replica/replica.h"
#include "tests/sim/sim_environment.h"

namespace tests::sim {

namespace wire = base::wire;
namespace {

using base::Task;
using base::testing::SimDisk;
using base::testing::SimExecutor;
using namespace kvstore;

constexpr int kClients = 4;
constexpr int kKeys = 6;

std::string PutFields(const std::string& key, const std::string& value) {
  std::string inner, out;
  wire::PutBytes(inner, 1, key);
  wire::PutNonEmpty(inner, 2, value);
  wire::PutBytes(out, 4, inner);
  return out;
}
std::string DeleteFields(const std::string& key) {
  std::string inner, out;
  wire::PutBytes(inner, 1, key);
  wire::PutBytes(out, 5, inner);
  return out;
}
std::string CompactFields(int64_t revision) {
  std::string inner, out;
  wire::PutUint(inner, 1, static_cast<uint64_t>(revision));
  wire::PutBytes(out, 7, inner);
  return out;
}

class KvSim {
 public:
  KvSim(uint64_t seed, const KvSimOptions& options)
      : options_(options), executor_(seed), disk_(seed * 31 + 7), random_(seed * 0x9e3779b97f4a7c15u + 1) {
    settings_.data_dir = "d";
    settings_.snapshot_count = 5 + random_.Below(60);
    settings_.wal.segment_bytes = 4096 << random_.Below(3);
    settings_.store.segments = {.segment_bytes = 2048u << random_.Below(4),
                                .tail_bytes = 256u << random_.Below(4),
                                .sync_bytes = 512u << random_.Below(4)};
  }

  KvSimResult Run() {
    disk_.faults.ignore_sync = options_.lying_disk;
    Open();
    for (int c = 0; c < kClients; ++c) {
      ++running_;
      base::Spawn(executor_, Client(c), [this] { --running_; });
    }
    ArmCrash();
    for (uint64_t i = 0; i < options_.steps && violation_.empty(); ++i) {
      if (!executor_.Step()) break;
      AfterStep();
    }
    Finish();
    result_.violation = violation_;
    result_.faults = disk_.faults_injected();
    executor_.Trace(static_cast<uint64_t>(last_told_));
    executor_.Trace(final_hash_);
    result_.trace = executor_.trace_hash();
    return result_;
  }

 private:
  struct Change {
    int64_t revision;
    std::string key;
    std::optional<std::string> value;  // none: deleted
  };
  struct Acknowledged {
    int64_t revision;
    std::string key, value;
  };
  struct Seen {
    int64_t revision, at_least;
    std::string key;
    std::optional<std::string> value;
  };

  void Violate(const std::string& what) {
    if (violation_.empty()) violation_ = what;
  }

  // ---- the member's lives

  void Open() {
    settings_.wal.blocks = random_.OneIn(2) ? &blocks_ : nullptr;
    for (int attempt = 0; attempt < 3; ++attempt) {
      auto r = replica::Replica::Open({executor_, disk_, pool_, pool_}, settings_, base::Random(random_.Next()));
      if (r) {
        replica_ = std::move(*r);
        Say("starts at index " + std::to_string(replica_->last_index()));
        replica_->on_failure = [this](const base::Status& why) {
          Say("fails: " + why.ToString());
          failed_ = true;
        };
        replica_->Start();
        Resume();
        return;
      }
      Say("does not start: " + r.error().ToString());
      bool faulty = disk_.faults.read_error_one_in || disk_.faults.write_error_one_in ||
                    disk_.faults.sync_error_one_in || disk_.faults.capacity != UINT64_MAX;
      if (!faulty) return Violate("the member does not start: " + r.error().ToString());
      QuietDisk();
      pool_.PowerFails();
      disk_.Crash();
    }
    Violate("the member does not start without faults");
  }

  // KEELSON_SIM_VERBOSE tells the story of a seed.
  void Say(const std::string& what) const {
    static const bool verbose = std::getenv("KEELSON_SIM_VERBOSE") != nullptr;
    if (verbose) std::fprintf(stderr, "step %lu: %s\n", static_cast<unsigned long>(executor_.steps()), what.c_str());
  }

  void QuietDisk() {
    disk_.faults = {};
    disk_.faults.ignore_sync = options_.lying_disk;
  }

  void Crash() {
    ++result_.crashes;
    Say("the power fails");
    stream_.reset();
    replica_.reset();
    pool_.PowerFails();
    disk_.Crash();
    QuietDisk();
    // Half of the lives run on a disk that also fails.
    if (random_.OneIn(2)) {
      switch (random_.Below(4)) {
        case 0:
          disk_.faults.sync_error_one_in = 30 + random_.Below(100);
          break;
        case 1:
          disk_.faults.write_error_one_in = 30 + random_.Below(200);
          break;
        case 2:
          disk_.faults.capacity = disk_.used() + random_.Below(30000);
          break;
        default:
          disk_.faults.read_error_one_in = 200 + random_.Below(500);
          break;
      }
    }
    failed_ = false;
    Open();
    ArmCrash();
  }

  void ArmCrash() { crash_at_ = executor_.steps() + 20 + random_.Below(800); }

  void AfterStep() {
    Drain();
    if (failed_ || executor_.steps() >= crash_at_) Crash();
  }

  // ---- the watcher

  void Resume() {
    stream_ = std::make_unique<mvcc::WatchStream>(replica_->store().watches(), nullptr);
    (void)stream_->Watch({.key = std::string(1, '\0'), .end = std::string(1, '\0'), .start_revision = last_told_ + 1});
  }

  void Drain() {
    if (!stream_) return;
    while (auto item = stream_->Next()) {
      if (item->canceled) Violate("the watcher was cancelled at revision " + std::to_string(last_told_));
      for (const mvcc::EventPtr& e : item->events) Told(*e);
    }
  }

  void Told(const mvcc::Event& e) {
    ++result_.events;
    auto kv = *mvcc::DecodeKeyValue(*e.kv);
    int64_t revision = e.revision.main;
    if (revision != last_told_ + 1) {
      return Violate("watch: revision " + std::to_string(revision) + " after " + std::to_string(last_told_));
    }
    last_told_ = revision;
    history_.push_back({revision, std::string(kv.key), std::nullopt});
    if (!e.is_delete) history_.back().value = std::string(kv.value);
  }

  // ---- clients

  // Every operation changes one key, so that a revision is one event.
  Task<void> Client(int id) {
    base::Random random(random_.Fork());
    for (int n = 0; !stopping_; ++n) {
      if (!replica_ || failed_) {
        (void)co_await base::Sleep(executor_, {}, std::chrono::milliseconds(20));
        continue;
      }
      std::string key = "k" + std::to_string(random.Below(kKeys));
      uint64_t dice = random.Below(20);
      if (dice < 11) {
        std::string value = std::to_string(id) + "." + std::to_string(n) + std::string(random.Below(300), 'x');
        co_await Write(key, value, PutFields(key, value));
      } else if (dice < 13) {
        co_await Write(key, {}, DeleteFields(key));
      } else if (dice < 19) {
        co_await Read(key);
      } else if (last_told_ > 10) {
        // Never beyond the watcher: what it has not seen could not be checked.
        (void)co_await replica_->Propose({}, CompactFields(last_told_ - static_cast<int64_t>(random.Below(10))));
      }
      if (random.OneIn(4)) (void)co_await base::Sleep(executor_, {}, std::chrono::milliseconds(random.Below(50)));
    }
  }

  Task<void> Write(std::string key, std::string value, std::string fields) {
    int64_t before = acknowledged_revision_;
    bool is_put = !value.empty();
    auto answer = co_await replica_->Propose({}, std::move(fields));
    if (!answer || !answer->error.ok()) co_return;
    ++result_.acknowledged;
    if (is_put) {
      if (answer->revision <= before) {
        Violate("a put got revision " + std::to_string(answer->revision) + " after " + std::to_string(before) +
                " was acknowledged");
      }
      acknowledged_.push_back({answer->revision, key, value});
    }
    acknowledged_revision_ = std::max(acknowledged_revision_, answer->revision);
  }

  Task<void> Read(std::string key) {
    int64_t before = acknowledged_revision_;
    uint64_t life = pool_.life();
    base::Status s = co_await replica_->ReadBarrier({});
    // An answer that was on its way when the power failed reached nobody.
    if (!s.ok() || life != pool_.life() || !replica_) co_return;
    auto found = replica_->store().Range({.key = key});
    if (!found) co_return;
    ++result_.reads;
    Seen seen{found->revision, before, key, std::nullopt};
    if (!found->kvs.empty()) seen.value = std::string(mvcc::DecodeKeyValue(found->kvs[0])->value);
    if (seen.revision < before) {
      Violate("a read at revision " + std::to_string(seen.revision) + " after " + std::to_string(before) +
              " was acknowledged");
    }
    acknowledged_revision_ = std::max(acknowledged_revision_, seen.revision);
    seen_.push_back(std::move(seen));
  }

  // ---- the reckoning

  void Finish() {
    stopping_ = true;
    if (violation_.empty()) {
      QuietDisk();
      crash_at_ = UINT64_MAX;
      Crash();
      QuietDisk();
      crash_at_ = UINT64_MAX;
      Settle();
    }
    if (violation_.empty()) {
      Compare();
      CompareRestart();
    }
    // Clients end by themselves; those that wait are let go with the replica.
    stream_.reset();
    if (replica_) replica_.reset();
    for (int i = 0; i < 100000 && running_ > 0; ++i) executor_.Step();
  }

  void Settle() {
    auto done = std::make_shared<bool>(false);  // a violation may end this before the barrier
    base::Spawn(executor_, Barrier(), [done] { *done = true; });
    for (int i = 0; i < 20000 && !*done && violation_.empty(); ++i) {
      executor_.Step();
      Drain();
    }
    for (int i = 0; i < 2000 && replica_ && last_told_ < replica_->store().revision(); ++i) {
      executor_.Step();
      Drain();
    }
    if (!*done) Violate("the member does not answer any more");
  }
  Task<void> Barrier() {
    if (!replica_) co_return;  // another violation has ended the run before this began
    base::Status s = co_await replica_->ReadBarrier({});
    if (!s.ok()) Violate("barrier: " + s.ToString());
  }

  void Compare() {
    int64_t now = replica_->store().revision();
    if (last_told_ != now) {
      return Violate("the watcher stands at " + std::to_string(last_told_) + ", the store at " + std::to_string(now));
    }
    std::map<int64_t, const Change*> by_revision;
    for (const Change& c : history_) by_revision[c.revision] = &c;
    for (const Acknowledged& a : acknowledged_) {
      auto it = by_revision.find(a.revision);
      if (it == by_revision.end()) return Violate("lost: revision " + std::to_string(a.revision) + " of " + a.key);
      if (it->second->key != a.key || it->second->value != a.value) {
        return Violate("changed: revision " + std::to_string(a.revision) + " of " + a.key);
      }
    }
    for (const Seen& s : seen_) {
      std::optional<std::string> value;
      for (const Change& c : history_) {
        if (c.revision <= s.revision && c.key == s.key) value = c.value;
      }
      if (value != s.value) return Violate("a read of " + s.key + " at " + std::to_string(s.revision) + " was wrong");
    }
    std::map<std::string, std::string> state;
    for (const Change& c : history_) {
      if (c.value) {
        state[c.key] = *c.value;
      } else {
        state.erase(c.key);
      }
    }
    auto all = replica_->store().Range({.key = std::string_view("\0", 1), .end = std::string_view("\0", 1)});
    if (!all || all->kvs.size() != state.size()) return Violate("the final state has another number of keys");
    for (const std::string& bytes : all->kvs) {
      auto kv = *mvcc::DecodeKeyValue(bytes);
      if (state[std::string(kv.key)] != kv.value)
        return Violate("the final value of " + std::string(kv.key) + " differs");
    }
  }

  void CompareRestart() {
    auto hash = replica_->store().HashAt(0);
    if (!hash) return Violate("hash: " + hash.error().ToString());
    final_hash_ = hash->hash;
    Crash();
    QuietDisk();
    crash_at_ = UINT64_MAX;
    Settle();
    if (!replica_ || !violation_.empty()) return;
    auto again = replica_->store().HashAt(0);
    if (!again || again->hash != hash->hash) Violate("the hash is another one after a restart");
  }

  KvSimOptions options_;
  SimExecutor executor_;
  SimPool pool_;
  SimDisk disk_;
  base::testing::SimBlockFiles blocks_{executor_, disk_, base::Random(1)};
  base::Random random_;
  replica::Options settings_;
  std::unique_ptr<replica::Replica> replica_;
  std::unique_ptr<mvcc::WatchStream> stream_;
  bool failed_ = false;
  bool stopping_ = false;
  int running_ = 0;
  uint64_t crash_at_ = 0;

  int64_t last_told_ = 1;
  std::vector<Change> history_;
  std::vector<Acknowledged> acknowledged_;
  std::vector<Seen> seen_;
  int64_t acknowledged_revision_ = 1;
  uint64_t final_hash_ = 0;
  std::string violation_;
  KvSimResult result_;
};

}  // namespace

KvSimResult RunKvSim(uint64_t seed, const KvSimOptions& options) { return KvSim(seed, options).Run(); }

}  // namespace tests::sim
