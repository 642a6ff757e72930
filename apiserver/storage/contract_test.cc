// What every Storage promises, checked on memory, on kvstore and on a real etcd. A store whose program is not installed
// is skipped with one line.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "apiserver/storage/etcd.h"
#include "apiserver/storage/memory.h"
#include "base/loop.h"
#include "base/sync.h"

namespace apiserver::storage {
namespace {

int FreePort() {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t n = sizeof a;
  CHECK(bind(fd, reinterpret_cast<sockaddr*>(&a), n) == 0 && getsockname(fd, reinterpret_cast<sockaddr*>(&a), &n) == 0);
  close(fd);
  return ntohs(a.sin_port);
}

// A store as a child process with a data directory of its own.
class Child {
 public:
  bool Start(const std::string& program) {
    char dir[] = "/tmp/storage-contract-XXXXXX";
    directory_ = mkdtemp(dir);
    int client = FreePort(), peer = FreePort();
    url_ = "http://127.0.0.1:" + std::to_string(client);
    std::string peer_url = "http://127.0.0.1:" + std::to_string(peer);
    std::vector<std::string> args = {program, "--data-dir=" + directory_ + "/data", "--listen-client-urls=" + url_,
                                     "--advertise-client-urls=" + url_};
    if (program.ends_with("etcd"))
      args.insert(args.end(),
                  {"--name=m", "--listen-peer-urls=" + peer_url, "--initial-advertise-peer-urls=" + peer_url,
                   "--initial-cluster=m=" + peer_url, "--log-level=error"});
    pid_ = fork();
    if (pid_ == 0) {
      int log = open((directory_ + "/log").c_str(), O_CREAT | O_WRONLY, 0600);
      dup2(log, 1);
      dup2(log, 2);
      std::vector<char*> argv;
      for (auto& a : args) argv.push_back(a.data());
      argv.push_back(nullptr);
      execv(program.c_str(), argv.data());
      _exit(127);
    }
    return pid_ > 0;
  }
  ~Child() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    std::error_code ignored;
    if (!directory_.empty()) std::filesystem::remove_all(directory_, ignored);
  }
  const std::string& url() const { return url_; }

 private:
  pid_t pid_ = -1;
  std::string directory_, url_;
};

std::string ProgramOf(const std::string& store) {
  if (store == "kvstore") {
    const char* build = getenv("KEELSON_BUILD");
    return build ? std::string(build) + "/bin/kvstore" : "";
  }
  return "/usr/bin/etcd";
}

class StorageContract : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "memory") {
      storage_ = std::make_unique<MemoryStorage>(loop_);
      return;
    }
    std::string program = ProgramOf(GetParam());
    if (program.empty() || access(program.c_str(), X_OK) != 0) GTEST_SKIP() << program << " is not installed";
    ASSERT_TRUE(child_.Start(program));
    auto etcd = std::make_unique<EtcdStorage>(loop_, EtcdOptions{.servers = {child_.url()}});
    auto* raw = etcd.get();
    storage_ = std::move(etcd);
    auto connected = Wait(raw->Connect(base::Context().WithTimeout(loop_, std::chrono::seconds(20))));
    ASSERT_TRUE(connected.ok()) << connected.ToString();
  }

  // Runs the loop until the task is done.
  template <class T>
  T Wait(base::Task<T> task) {
    std::optional<T> out;
    auto run = [](base::Task<T> t, std::optional<T>* o, base::Loop* loop) -> base::Task<void> {
      o->emplace(co_await std::move(t));
      loop->Stop();
    };
    base::Spawn(loop_, run(std::move(task), &out, &loop_));
    auto guard = loop_.After(std::chrono::seconds(30), [] { CHECK_MSG(false, "the store does not answer"); });
    loop_.Run();
    loop_.CancelTimer(guard);
    return std::move(*out);
  }
  base::Context ctx() { return base::Context().WithTimeout(loop_, std::chrono::seconds(10)); }
  static base::SharedBytes Bytes(std::string s) { return base::Share(std::move(s)); }
  uint64_t Put(const std::string& key, const std::string& value) {
    auto r = Wait(storage_->Create(ctx(), key, Bytes(value)));
    CHECK(r && r->written);
    return r->revision;
  }
  std::string Value(const std::string& key, uint64_t revision = 0) {
    auto r = Wait(storage_->Get(ctx(), key, revision));
    CHECK_MSG(r.has_value(), r ? "" : std::string(r.error().message()));
    return r->kv ? *r->kv->value : "-";
  }

  base::Loop loop_;
  Child child_;
  std::unique_ptr<Storage> storage_;
};

TEST_P(StorageContract, CreateWritesOnlyWhatIsAbsent) {
  auto first = Wait(storage_->Create(ctx(), "/registry/a", Bytes("1")));
  ASSERT_TRUE(first.has_value()) << first.error().ToString();
  EXPECT_TRUE(first->written);
  auto again = Wait(storage_->Create(ctx(), "/registry/a", Bytes("2")));
  ASSERT_TRUE(again.has_value());
  EXPECT_FALSE(again->written);
  ASSERT_TRUE(again->current.has_value());
  EXPECT_EQ(*again->current->value, "1");
  EXPECT_EQ(again->current->mod_revision, first->revision);
  EXPECT_EQ(Value("/registry/a"), "1");
}

TEST_P(StorageContract, UpdateNeedsTheRevisionItIsBasedOn) {
  uint64_t r = Put("/registry/a", "1");
  auto good = Wait(storage_->Update(ctx(), "/registry/a", Bytes("2"), r));
  ASSERT_TRUE(good && good->written);
  EXPECT_GT(good->revision, r);
  auto stale = Wait(storage_->Update(ctx(), "/registry/a", Bytes("3"), r));
  ASSERT_TRUE(stale.has_value());
  EXPECT_FALSE(stale->written);
  ASSERT_TRUE(stale->current.has_value());
  EXPECT_EQ(*stale->current->value, "2");
  EXPECT_EQ(stale->current->create_revision, r);
  auto absent = Wait(storage_->Update(ctx(), "/registry/none", Bytes("3"), 7));
  ASSERT_TRUE(absent.has_value());
  EXPECT_FALSE(absent->written);
  EXPECT_FALSE(absent->current.has_value());
}

TEST_P(StorageContract, DeleteIsConditionalToo) {
  uint64_t r = Put("/registry/a", "1");
  auto stale = Wait(storage_->Delete(ctx(), "/registry/a", r + 100));
  ASSERT_TRUE(stale && !stale->written && stale->current);
  auto good = Wait(storage_->Delete(ctx(), "/registry/a", r));
  ASSERT_TRUE(good && good->written);
  EXPECT_GT(good->revision, r);
  EXPECT_EQ(Value("/registry/a"), "-");
  EXPECT_EQ(Value("/registry/a", r), "1");
  auto gone = Wait(storage_->Delete(ctx(), "/registry/a", r));
  ASSERT_TRUE(gone && !gone->written && !gone->current);
}

TEST_P(StorageContract, ListsPageInKeyOrderAtOneRevision) {
  for (const char* k : {"/registry/p/c", "/registry/p/a", "/registry/p/b", "/registry/q/a"}) Put(k, k);
  auto page = Wait(storage_->List(ctx(), "/registry/p/", {.limit = 2}));
  ASSERT_TRUE(page.has_value());
  ASSERT_EQ(page->kvs.size(), 2u);
  EXPECT_EQ(page->kvs[0].key, "/registry/p/a");
  EXPECT_TRUE(page->more);
  EXPECT_EQ(page->count, 3u);
  Put("/registry/p/bb", "late");
  auto rest = Wait(storage_->List(ctx(), "/registry/p/",
                                  {.start_key = page->kvs[1].key + std::string(1, '\0'), .revision = page->revision}));
  ASSERT_TRUE(rest.has_value());
  ASSERT_EQ(rest->kvs.size(), 1u);
  EXPECT_EQ(rest->kvs[0].key, "/registry/p/c");
  EXPECT_FALSE(rest->more);
}

TEST_P(StorageContract, AFutureOrCompactedRevisionIsOutOfRange) {
  uint64_t r = Put("/registry/a", "1");
  auto future = Wait(storage_->Get(ctx(), "/registry/a", r + 1000));
  ASSERT_FALSE(future.has_value());
  EXPECT_EQ(future.error().code(), base::Code::kOutOfRange);
  uint64_t later = Put("/registry/b", "1");
  ASSERT_TRUE(Wait(storage_->Compact(ctx(), later)).ok());
  auto old = Wait(storage_->Get(ctx(), "/registry/a", r));
  ASSERT_FALSE(old.has_value());
  EXPECT_EQ(old.error().code(), base::Code::kOutOfRange);
  EXPECT_EQ(Value("/registry/a"), "1");
}

TEST_P(StorageContract, CurrentRevisionFollowsWrites) {
  uint64_t r = Put("/registry/a", "1");
  auto now = Wait(storage_->CurrentRevision(ctx()));
  ASSERT_TRUE(now.has_value());
  EXPECT_EQ(*now, r);
}

TEST_P(StorageContract, AWatchTellsHistoryThenWhatComes) {
  uint64_t r = Put("/registry/w/a", "1");
  Put("/registry/other", "x");
  auto watcher = Wait(storage_->Watch(ctx(), "/registry/w/", r));
  ASSERT_TRUE(watcher.has_value()) << watcher.error().ToString();
  auto next = [&] {
    std::vector<Event> out;
    while (out.empty()) {
      auto events = Wait((*watcher)->Next(ctx()));
      CHECK_MSG(events.has_value(), events ? "" : std::string(events.error().message()));
      for (auto& e : *events)
        if (e.type != EventType::kProgress) out.push_back(std::move(e));
    }
    return out;
  };
  auto events = next();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].kv.key, "/registry/w/a");
  EXPECT_EQ(*events[0].kv.value, "1");
  EXPECT_EQ(events[0].revision(), r);
  auto deleted = Wait(storage_->Delete(ctx(), "/registry/w/a", r));
  ASSERT_TRUE(deleted && deleted->written);
  events = next();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].type, EventType::kDelete);
  EXPECT_EQ(events[0].kv.key, "/registry/w/a");
  EXPECT_EQ(events[0].revision(), deleted->revision);
}

TEST_P(StorageContract, ProgressCatchesUpWithOtherKeys) {
  uint64_t r = Put("/registry/w/a", "1");
  auto watcher = Wait(storage_->Watch(ctx(), "/registry/w/", r + 1));
  ASSERT_TRUE(watcher.has_value());
  uint64_t other = Put("/elsewhere", "1");
  // Nobody relies on the answers of such an etcd; the cache reads the store instead.
  if (!storage_->progress_reliable()) return;
  uint64_t reached = 0;
  for (int i = 0; i < 20 && reached < other; ++i) {
    ASSERT_TRUE(Wait((*watcher)->RequestProgress(ctx())).ok());
    auto events = Wait((*watcher)->Next(ctx()));
    ASSERT_TRUE(events.has_value()) << events.error().ToString();
    for (const auto& e : *events) reached = std::max(reached, e.revision());
  }
  EXPECT_GE(reached, other);
}

TEST_P(StorageContract, AWatchFromACompactedRevisionIsOutOfRange) {
  uint64_t r = Put("/registry/w/a", "1");
  uint64_t last = Put("/registry/w/b", "1");
  ASSERT_TRUE(Wait(storage_->Compact(ctx(), last)).ok());
  auto watcher = Wait(storage_->Watch(ctx(), "/registry/w/", r));
  base::Status why = watcher ? base::Ok() : watcher.error();
  if (watcher) {
    auto events = Wait((*watcher)->Next(ctx()));
    ASSERT_FALSE(events.has_value());
    why = events.error();
  }
  EXPECT_EQ(why.code(), base::Code::kOutOfRange) << why.ToString();
}

TEST_P(StorageContract, AKeyWithATtlIsThere) {
  auto r = Wait(storage_->Create(ctx(), "/registry/events/a", Bytes("1"), 3600));
  ASSERT_TRUE(r && r->written) << (r ? "" : r.error().ToString());
  EXPECT_EQ(Value("/registry/events/a"), "1");
  auto again = Wait(storage_->Update(ctx(), "/registry/events/a", Bytes("2"), r->revision, 3600));
  ASSERT_TRUE(again && again->written);
}

INSTANTIATE_TEST_SUITE_P(All, StorageContract, ::testing::Values("memory", "kvstore", "etcd"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace apiserver::storage
