// A Storage in memory with etcd's rules: one revision counter, every version of every key until compaction, watches
// from any kept revision, keys that expire. For simulations and tests; nothing survives the process.
//
// One strand. Each call lets others run once before it acts.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "apiserver/storage/interface.h"
#include "base/sync.h"

namespace apiserver::storage {

class MemoryStorage final : public Storage {
 public:
  explicit MemoryStorage(base::Executor& executor);
  ~MemoryStorage() override;

  base::Task<base::Result<GetResult>> Get(base::Context ctx, std::string key, uint64_t revision) override;
  base::Task<base::Result<ListResult>> List(base::Context ctx, std::string prefix, ListOptions options) override;
  base::Task<base::Result<WriteResult>> Create(base::Context ctx, std::string key, base::SharedBytes value,
                                               int64_t ttl_seconds) override;
  base::Task<base::Result<WriteResult>> Update(base::Context ctx, std::string key, base::SharedBytes value,
                                               uint64_t expected, int64_t ttl_seconds) override;
  base::Task<base::Result<WriteResult>> Delete(base::Context ctx, std::string key, uint64_t expected) override;
  base::Task<base::Result<uint64_t>> CurrentRevision(base::Context ctx) override;
  base::Task<base::Status> Compact(base::Context ctx, uint64_t revision) override;
  base::Task<base::Result<std::unique_ptr<Watcher>>> Watch(base::Context ctx, std::string prefix,
                                                           uint64_t from) override;
  bool progress_reliable() const override { return true; }

  // Ends every open watch with kUnavailable, as a lost connection does.
  void DropWatches();

 private:
  class MemoryWatcher;
  struct Version {
    uint64_t mod_revision, create_revision;
    base::SharedBytes value;  // null: deleted here
  };
  const Version* At(const std::string& key, uint64_t revision) const;
  const Version* Current(const std::string& key) const { return At(key, revision_); }
  base::Status CheckRevision(uint64_t revision) const;
  WriteResult Write(const std::string& key, base::SharedBytes value, int64_t ttl_seconds);
  WriteResult Refused(const std::string& key) const;

  base::Executor& executor_;
  uint64_t revision_ = 1;
  uint64_t compacted_ = 0;
  std::map<std::string, std::vector<Version>> keys_;
  std::deque<std::pair<uint64_t, std::string>> log_;  // every write in order
  std::map<uint64_t, MemoryWatcher*> watchers_;
  std::map<std::string, base::TimerId> expiries_;
  uint64_t next_watcher_ = 1;
};

}  // namespace apiserver::storage
