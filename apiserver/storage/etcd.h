// A Storage over the etcd v3 wire: kvstore or an etcd cluster. One HTTP/2 connection carries everything; reads are
// tried again while the store cannot be reached, writes are not (their outcome is unknown then and the caller must
// look).
//
// One strand: everything on the loop's. Owned by the server's main().
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "apiserver/storage/interface.h"
#include "base/loop.h"

namespace base::net {
class ClientTls;
}

namespace apiserver::storage {

struct EtcdOptions {
  std::vector<std::string> servers;  // "https://127.0.0.1:2379", "http://..."
  std::shared_ptr<base::net::ClientTls> tls;
  base::Duration request_timeout = std::chrono::seconds(10);
};

class EtcdStorage final : public Storage {
 public:
  EtcdStorage(base::Loop& loop, EtcdOptions options);
  ~EtcdStorage() override;

  // Waits until the store answers and learns its version.
  base::Task<base::Status> Connect(base::Context ctx);
  const std::string& version() const;

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
  bool progress_reliable() const override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Whether progress answers of this etcd release can be trusted ("3.4.31" and "3.5.13" are the first of their lines).
bool ProgressReliable(const std::string& version);

}  // namespace apiserver::storage
