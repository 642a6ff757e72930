// A connection as a ByteStream, for the engine's own .cc files: what is left after an upgrade.
#pragma once

#include <memory>
#include <string>

#include "base/net/transport.h"
#include "base/sync.h"

namespace base::net {

class TransportStream final : public ByteStream, public TransportUser {
 public:
  // `received` was read before the stream was made.
  TransportStream(std::unique_ptr<Transport> transport, std::string received);
  ~TransportStream() override;

  // Bytes that were read too far come back first.
  void Unread(std::string bytes) { received_ = std::move(bytes) + received_; }
  Task<Result<std::string>> Read(Context ctx, size_t max) override;
  Task<Status> Write(Context ctx, std::string bytes) override;
  Task<Status> CloseWrite(Context ctx) override;

 private:
  void OnConnected() override {}
  void OnReadable() override { readable_.NotifyAll(); }
  void OnFill() override { writable_.NotifyAll(); }
  void OnFailed(const Status& why) override;

  std::unique_ptr<Transport> transport_;
  std::string received_;
  Event readable_, writable_;
  Status failure_;
  bool write_closed_ = false;
};

}  // namespace base::net
