// A store on a simulated disk, for the tests of this folder. Only tests include this.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>

#include "base/testing/sim_disk.h"
#include "kvstore/mvcc/key_value.h"
#include "kvstore/mvcc/store.h"

namespace kvstore::mvcc {

struct Fixture {
  explicit Fixture(SegmentLimits limits = {}) : options{.segments = limits} { Reopen(); }
  void Reopen() {
    auto s = Store::Open(disk, "kv", options);
    ASSERT_TRUE(s.has_value()) << s.error().ToString();
    store = std::move(*s);
  }
  void Checkpoint() {
    auto c = store->PrepareCheckpoint({});
    ASSERT_TRUE(c.has_value()) << c.error().ToString();
    ASSERT_TRUE(c->Run().ok());
    store->FinishCheckpoint(*c);
  }
  int64_t Put(std::string_view k, std::string_view v, int64_t lease = 0) {
    store->Begin();
    EXPECT_TRUE(store->Put(k, v, lease, false).has_value());
    return store->End();
  }
  int64_t Delete(std::string_view k, std::string_view end = {}) {
    store->Begin();
    EXPECT_TRUE(store->DeleteRange({k, end}, false).has_value());
    return store->End();
  }
  // "k=v@mod/version ..." of a range at a revision.
  std::string Dump(std::string_view k, std::string_view end, int64_t rev = 0) {
    auto r = store->Range({.key = k, .end = end, .revision = rev});
    if (!r) return std::string(r.error().message());
    std::string out;
    for (const std::string& bytes : r->kvs) {
      auto kv = *DecodeKeyValue(bytes);
      out += std::string(kv.key) + "=" + std::string(kv.value) + "@" + std::to_string(kv.mod_revision) + "/" +
             std::to_string(kv.version) + " ";
    }
    return out;
  }
  void Settle() {
    for (auto more = store->MaintenanceStep(); more.has_value() && *more;) more = store->MaintenanceStep();
  }
  base::testing::SimDisk disk{1};
  StoreOptions options;
  std::unique_ptr<Store> store;
};

inline constexpr std::string_view kAll("\0", 1);

}  // namespace kvstore::mvcc
