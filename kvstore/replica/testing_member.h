// What the tests of this folder share: a member on a simulated disk, and what they ask of it. Only tests include this.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/protobuf_wire.h"
#include "base/testing/sim_disk.h"
#include "base/testing/sim_executor.h"
#include "kvstore/replica/replica.h"

namespace kvstore::replica {

namespace wire = base::wire;

// Fields of an InternalRaftRequest.
inline std::string PutRequest(std::string_view key, std::string_view value) {
  std::string inner, out;
  wire::PutBytes(inner, 1, key);
  wire::PutBytes(inner, 2, value);
  wire::PutBytes(out, 4, inner);
  return out;
}

// What `task` returns; nothing when it does not within a simulated minute.
template <class T>
std::optional<T> Await(base::testing::SimExecutor& executor, base::Task<T> task) {
  auto out = std::make_shared<std::optional<T>>();
  base::Spawn(executor, [](base::Task<T> t, std::shared_ptr<std::optional<T>> o) -> base::Task<void> {
    *o = co_await std::move(t);
  }(std::move(task), out));
  executor.RunUntil([&] { return out->has_value(); }, std::chrono::seconds(60));
  return *out;
}

// Threads whose work waits while they are held.
class HeldPool final : public base::BlockingPool {
 public:
  explicit HeldPool(base::Executor& executor) : executor_(executor) {}
  void Run(base::Closure work, base::Executor&, base::Closure done) override {
    waiting_.push_back([work = std::move(work), done = std::move(done)]() mutable {
      work();
      done();
    });
    if (!held_) Go();
  }
  void Hold() { held_ = true; }
  void Release() {
    held_ = false;
    Go();
  }

 private:
  void Go() {
    for (auto& w : std::exchange(waiting_, {})) executor_.Post(std::move(w));
  }
  base::Executor& executor_;
  bool held_ = false;
  std::vector<base::Closure> waiting_;
};

// With small files. `seed`: of its disk and its elections.
struct TestMember {
  explicit TestMember(base::testing::SimExecutor& executor, Options o = {}, uint64_t seed = 1)
      : executor(executor), seed(seed), disk(seed), log_pool(executor), pool(executor), options(std::move(o)) {
    options.data_dir = "data";
    options.wal.segment_bytes = 32 << 10;
    options.store.segments = {.segment_bytes = 32 << 10, .tail_bytes = 2 << 10};
  }
  void Start() {
    auto r = Replica::Open({executor, disk, log_pool, pool}, options, base::Random(seed));
    ASSERT_TRUE(r.has_value()) << r.error().ToString();
    replica = std::move(*r);
    if (transport != nullptr) replica->Attach(*transport);
    replica->on_failure = [this](const base::Status& s) {
      failure = s;
      if (!may_fail) ADD_FAILURE() << s.ToString();
    };
    replica->Start();
  }
  void PowerFails() {
    replica.reset();
    executor.RunReady();
    disk.Crash();
  }
  base::Result<mvcc::Answer> Propose(std::string fields, base::Context ctx = {}) {
    auto a = Await(executor, replica->Propose(std::move(ctx), std::move(fields)));
    return a ? std::move(*a) : base::Err(base::DeadlineExceeded("a simulated minute"));
  }
  // Its revision; 0 when it did not happen.
  int64_t Put(std::string_view key, std::string_view value) {
    auto a = Propose(PutRequest(key, value));
    return a && a->error.ok() ? a->revision : 0;
  }
  base::Status Barrier(base::Context ctx = {}) {
    return Await(executor, replica->ReadBarrier(std::move(ctx))).value_or(base::DeadlineExceeded("a simulated minute"));
  }
  uint32_t Hash(int64_t revision = 0) {
    auto hash = replica->store().HashAt(revision);
    return hash ? hash->hash : 0;
  }

  base::testing::SimExecutor& executor;
  const uint64_t seed;
  base::testing::SimDisk disk;
  HeldPool log_pool, pool;
  Options options;
  Transport* transport = nullptr;
  std::unique_ptr<Replica> replica;
  bool may_fail = false;
  base::Status failure;
};

}  // namespace kvstore::replica
