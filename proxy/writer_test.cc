#include "proxy/writer.h"

#include <gtest/gtest.h>

namespace proxy {
namespace {

using backends::SyncRequest;
using std::chrono::seconds;

// A kernel that refuses what holds a rule of certain Services.
class FakeKernel final : public backends::RuleBackend {
 public:
  base::Status Sync(const SyncRequest& r) override {
    ++calls;
    if (broken) return base::Unavailable("no rights");
    std::map<ServicePortName, ServiceRule> next = r.changed ? rules : RuleTable{};
    size_t added = 0;
    auto put = [&](const ServicePortName& name) {
      next.erase(name);
      auto it = r.table.find(name);
      if (it == r.table.end() || (r.wanted && !r.wanted(name))) return true;
      next[name] = it->second;
      ++added;
      return !refused.contains(name.Service());
    };
    bool good = true;
    if (r.changed) {
      for (const auto& name : *r.changed) good = put(name) && good;
    } else {
      for (const auto& [name, rule] : r.table) good = put(name) && good;
    }
    largest = std::max(largest, added);
    if (!good || added > limit) return base::Internal("nftables refused the transaction: Error: syntax error\nmore");
    if (!r.try_only) rules = std::move(next);
    return base::Ok();
  }
  void SetServiceCidrs(std::vector<std::string>) override {}
  base::Result<bool> Verify() override { return intact; }
  base::Status Cleanup() override { return base::Ok(); }

  RuleTable rules;
  std::set<std::string> refused;
  bool broken = false, intact = true;
  int calls = 0;
  size_t limit = 1u << 30, largest = 0;
};

struct Fixture {
  FakeKernel* kernel = new FakeKernel;
  RuleWriter writer{std::unique_ptr<backends::RuleBackend>(kernel)};
  RuleTable table;
  base::MonoTime now{seconds(1000)};

  void Put(const std::string& name, uint16_t port = 80, int ports = 1) {
    for (int i = 0; i < ports; ++i) {
      ServiceRule rule;
      rule.port = port;
      table[{"ns", name, ports == 1 ? "" : std::to_string(i), "tcp"}] = rule;
      writer.Add({{"ns", name, ports == 1 ? "" : std::to_string(i), "tcp"}});
    }
  }
  RuleWriter::Outcome Write() { return writer.Write(table, now); }
  RuleTable Without(const std::set<std::string>& services) const {
    RuleTable out = table;
    std::erase_if(out, [&](const auto& e) { return services.contains(e.first.Service()); });
    return out;
  }
};

std::set<std::string> Keys(const std::map<std::string, std::string>& m) {
  std::set<std::string> out;
  for (const auto& [k, v] : m) out.insert(k);
  return out;
}

TEST(RuleWriter, TheFirstWriteLeavesOutOnlyWhatTheKernelRefuses) {
  Fixture f;
  for (int i = 0; i < 1000; ++i) f.Put("s" + std::to_string(i));
  std::set<std::string> bad;
  for (int i = 0; i < 10; ++i) bad.insert("ns/s" + std::to_string(i * 97));
  f.kernel->refused = bad;
  auto outcome = f.Write();
  EXPECT_TRUE(outcome.status.ok());
  EXPECT_EQ(Keys(outcome.refused), bad);
  EXPECT_EQ(outcome.refused.begin()->second, "nftables refused the transaction: Error: syntax error");
  EXPECT_TRUE(f.kernel->rules == f.Without(bad));
  EXPECT_FALSE(f.writer.pending());
  EXPECT_LT(f.kernel->calls, 200);
}

TEST(RuleWriter, AChangeThatIsRefusedHoldsUpNobodyAndTakesItsOldRulesWithIt) {
  Fixture f;
  for (int i = 0; i < 100; ++i) f.Put("s" + std::to_string(i));
  ASSERT_TRUE(f.Write().status.ok());
  f.kernel->refused = {"ns/s7"};
  for (int i = 0; i < 100; ++i) f.Put("s" + std::to_string(i), 81);
  auto outcome = f.Write();
  EXPECT_EQ(Keys(outcome.refused), f.kernel->refused);
  EXPECT_TRUE(f.kernel->rules == f.Without(f.kernel->refused));
  // From now on it costs the others nothing.
  f.kernel->calls = 0;
  for (int i = 0; i < 100; ++i) f.Put("s" + std::to_string(i), 82);
  EXPECT_TRUE(f.Write().refused.empty());
  EXPECT_EQ(f.kernel->calls, 1);
  EXPECT_TRUE(f.kernel->rules == f.Without(f.kernel->refused));
}

TEST(RuleWriter, TriesAgainAloneWithGrowingPauses) {
  Fixture f;
  f.Put("good");
  f.Put("bad");
  f.kernel->refused = {"ns/bad"};
  f.Write();
  std::vector<int64_t> pauses;
  for (int i = 0; i < 9; ++i) {
    base::MonoTime next = f.writer.next_try().value();
    pauses.push_back((next - f.now) / seconds(1));
    f.now = next - seconds(1);
    EXPECT_TRUE(f.Write().refused.empty());
    f.now = next;
    EXPECT_EQ(f.Write().refused.size(), 1u);
  }
  EXPECT_EQ(pauses, (std::vector<int64_t>{5, 10, 20, 40, 80, 160, 300, 300, 300}));
  f.kernel->refused.clear();
  // A change of the Service itself is a reason to try soon.
  f.now += seconds(6);
  f.Put("bad", 81);
  EXPECT_TRUE(f.Write().refused.empty());
  EXPECT_TRUE(f.kernel->rules == f.table);
  EXPECT_EQ(f.writer.quarantined(), 0u);
}

TEST(RuleWriter, ADeletedServiceLeavesQuarantine) {
  Fixture f;
  f.Put("bad");
  f.kernel->refused = {"ns/bad"};
  f.Write();
  f.table.clear();
  f.now = f.writer.next_try().value();
  f.Write();
  EXPECT_EQ(f.writer.quarantined(), 0u);
  EXPECT_TRUE(f.kernel->rules.empty());
}

TEST(RuleWriter, WhereNothingCanBeWrittenNobodyIsBlamed) {
  Fixture f;
  for (int i = 0; i < 100; ++i) f.Put("s" + std::to_string(i));
  f.kernel->broken = true;
  auto outcome = f.Write();
  EXPECT_FALSE(outcome.status.ok());
  EXPECT_TRUE(outcome.refused.empty());
  EXPECT_EQ(f.kernel->calls, 2);
  EXPECT_TRUE(f.writer.pending());
  f.kernel->broken = false;
  EXPECT_TRUE(f.Write().status.ok());
  EXPECT_TRUE(f.kernel->rules == f.table);
}

TEST(RuleWriter, ATableThatSomebodyElseChangedIsMadeAnew) {
  Fixture f;
  f.Put("a");
  f.Write();
  f.kernel->intact = false;
  f.kernel->refused = {"ns/b"};
  f.Put("b");
  auto outcome = f.Write();
  EXPECT_TRUE(outcome.full);
  EXPECT_EQ(Keys(outcome.refused), f.kernel->refused);
  EXPECT_TRUE(f.kernel->rules == f.Without(f.kernel->refused));
}

TEST(RuleWriter, AHugeServiceGoesInPartsBehindTheOthers) {
  Fixture f;
  f.Put("first");
  f.Write();
  f.kernel->largest = 0;
  f.Put("huge", 80, 5000);
  f.Put("small");
  f.Write();
  EXPECT_TRUE(f.kernel->rules.contains({"ns", "small", "", "tcp"}));
  EXPECT_TRUE(f.writer.pending());
  int writes = 1;
  for (; f.writer.pending() && writes < 50; ++writes) {
    f.Put("small", static_cast<uint16_t>(100 + writes));
    f.Write();
    EXPECT_EQ(f.kernel->rules.at({"ns", "small", "", "tcp"}).port, 100 + writes);
  }
  EXPECT_TRUE(f.kernel->rules == f.table);
  EXPECT_LE(f.kernel->largest, 500u);
  EXPECT_LE(writes, 25);
}

TEST(RuleWriter, MoreThanTheKernelTakesAtOnceIsWrittenInParts) {
  Fixture f;
  for (int i = 0; i < 1000; ++i) f.Put("s" + std::to_string(i));
  f.kernel->limit = 300;
  auto outcome = f.Write();
  EXPECT_TRUE(outcome.status.ok());
  EXPECT_TRUE(outcome.refused.empty());
  for (int i = 0; f.writer.pending() && i < 20; ++i) f.Write();
  EXPECT_TRUE(f.kernel->rules == f.table);
}

}  // namespace
}  // namespace proxy
