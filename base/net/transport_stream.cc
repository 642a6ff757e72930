#include "base/net/transport_stream.h"

#include <algorithm>

namespace base::net {
namespace {
constexpr size_t kUnsentLimit = 256 << 10;
}

TransportStream::TransportStream(std::unique_ptr<Transport> transport, std::string received)
    : transport_(std::move(transport)),
      received_(std::move(received)),
      readable_(transport_->loop()),
      writable_(transport_->loop()) {
  transport_->SetUser(*this);
}

// The transport may be the one that called us; it dies in a later turn.
TransportStream::~TransportStream() {
  transport_->Close();
  Loop& loop = transport_->loop();
  loop.Post([dying = std::move(transport_)] {});
}

void TransportStream::OnFailed(const Status& why) {
  failure_ = why;
  readable_.NotifyAll();
  writable_.NotifyAll();
}

Task<Result<std::string>> TransportStream::Read(Context ctx, size_t max) {
  if (!received_.empty()) {
    std::string out = received_.substr(0, max);
    received_.erase(0, out.size());
    co_return out;
  }
  for (;;) {
    if (!failure_.ok()) co_return Err(failure_);
    Transport::ReadResult r = transport_->Read(ReadBuffer(), std::min(max, kReadBufferBytes));
    if (r.end == Transport::ReadEnd::kData) co_return std::string(ReadBuffer(), r.size);
    if (r.end == Transport::ReadEnd::kEof) co_return std::string();
    if (r.end == Transport::ReadEnd::kFailed) co_return Err(failure_.ok() ? Unavailable("closed") : failure_);
    CO_TRY(co_await readable_.Wait(ctx));
  }
}

Task<Status> TransportStream::Write(Context ctx, std::string bytes) {
  if (!failure_.ok()) co_return failure_;
  if (write_closed_) co_return FailedPrecondition("write after CloseWrite");
  SharedBytes shared = Share(std::move(bytes));
  transport_->AppendShared(shared, *shared);
  while (transport_->unsent() > kUnsentLimit) {
    CO_TRY(co_await writable_.Wait(ctx));
    if (!failure_.ok()) co_return failure_;
  }
  co_return Ok();
}

// Waits until everything has left, so that the stream may be destroyed afterwards without loss.
Task<Status> TransportStream::CloseWrite(Context ctx) {
  write_closed_ = true;
  transport_->ShutdownAfterFlush();
  while (!transport_->shutdown_sent()) {
    if (!failure_.ok()) co_return failure_;
    transport_->Kick();
    CO_TRY(co_await writable_.Wait(ctx));
  }
  co_return Ok();
}

}  // namespace base::net
