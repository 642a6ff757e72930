// A server in memory for tests of clients; see README.md. One strand.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/sync.h"
#include "machinery/client/client.h"

namespace machinery::client::testing {

class FakeTransport final : public request::Transport {
 public:
  explicit FakeTransport(base::Executor& executor);
  ~FakeTransport() override;

  base::Task<base::Result<request::Response>> Do(base::Context ctx, request::Request request) override;
  base::Task<base::Result<std::unique_ptr<request::WatchStream>>> Watch(base::Context ctx,
                                                                        request::Request request) override;

  // Called before a request is served; an error is its answer.
  std::function<base::Status(const request::Request&)> fail;
  // Ends all watches: in good order, or with this error.
  void DropWatches(base::Status why = {});
  // Watches older than the present get 410 from now on.
  void ForgetHistory();
  // A backup, and going back to it: objects and revisions are those of then, all watches break.
  void Save();
  void Restore();
  // Tells all watches the present revision.
  void OfferBookmarks();
  // Requests seen, as "create pods default/x" or "update pods/status default/x".
  const std::vector<std::string>& log() const { return log_; }
  void ClearLog() { log_.clear(); }
  int64_t revision() const { return revision_; }

 private:
  struct Impl;
  class Stream;
  base::Result<request::Response> Serve(const request::Request& r);
  std::unique_ptr<Impl> impl_;
  base::Executor& executor_;
  std::vector<std::string> log_;
  int64_t revision_ = 1;
};

}  // namespace machinery::client::testing
