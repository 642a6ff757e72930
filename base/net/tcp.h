// TCP connections as streams of bytes, both ends: for whoever carries them further without looking inside.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/executor.h"
#include "base/loop.h"
#include "base/net/http.h"
#include "base/task.h"

namespace base::net {

// A connection to "host:port", "[::1]:port" or "unix:/path"; names are looked up on `resolver`. On the loop's thread.
Task<Result<std::unique_ptr<ByteStream>>> DialStream(Context ctx, Loop& loop, BlockingPool& resolver,
                                                     std::string address);

// A listener that hands every connection to `handler`. What comes while `max_connections` are open is closed at once.
// On the loop's thread; handlers end before it is destroyed, or with the context it was made with.
class StreamListener {
 public:
  using Handler = std::function<Task<void>(Context, std::unique_ptr<ByteStream>)>;
  StreamListener(Loop& loop, Context ctx, Handler handler, size_t max_connections = 15000);
  ~StreamListener();
  StreamListener(const StreamListener&) = delete;

  // "127.0.0.1:0"; the bound address. Once.
  Result<std::string> Listen(const std::string& address);
  size_t connections() const;
  // No more connections are taken, those there are end.
  Task<void> Stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace base::net
