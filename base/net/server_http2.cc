// The server's half of HTTP/2: streams as exchanges.
#include <algorithm>

#include "base/net/http2_session.h"
#include "base/net/server_impl.h"

namespace base::net {
namespace {

constexpr size_t kUncountedHead = 4 << 10;

class Http2Connection;

class Http2Exchange final : public ExchangeBase, public Http2Stream {
 public:
  Http2Exchange(Shard& shard, std::shared_ptr<const Peer> peer, Http2Connection& connection)
      : ExchangeBase(shard, std::move(peer)), connection_(&connection) {}

  int http_major() const override { return 2; }
  size_t unsent_bytes() const override { return out_bytes(); }
  size_t max_head_bytes() const override;
  Task<Result<std::unique_ptr<ByteStream>>> Upgrade(Headers) override {
    co_return Err(Unimplemented("HTTP/2 has no upgrades"));
  }
  // A handler that runs, or ran, on a connection that is gone.
  void Detach() { connection_ = nullptr; }

 private:
  // Exchange's half.
  void SendHead(int status, const Headers& headers, bool end) override;
  void SendPiece(std::string_view prefix, SharedBytes piece) override {
    QueueOut(prefix);
    QueueOut(std::move(piece));
  }
  void SendEnd(Headers trailers) override { EndOut(std::move(trailers)); }
  void GrantBody(size_t n) override { Consume(n); }
  void OnHandlerDone() override;
  void BreakOff() override { Reset(NGHTTP2_INTERNAL_ERROR); }

  // The stream's half.
  void OnHeader(std::string_view name, std::string_view value) override;
  void OnHeadersEnd() override;
  void OnData(std::string_view bytes) override;
  void OnInEnd() override { BodyEnded(); }
  void OnOutDrained() override { OutputDrained(); }
  void OnOutFinished() override;
  void OnClosed(uint32_t error_code) override;

  Http2Connection* connection_;
  bool head_complete_ = false, out_finished_ = false;
  bool rejected_ = false;  // answered without a handler
  std::string cookies_;
};

class Http2Connection final : public ServerConnection, public Http2Session {
 public:
  Http2Connection(Shard& shard, std::unique_ptr<Transport> transport, std::shared_ptr<const Peer> peer,
                  std::string received)
      : Http2Session(std::move(transport), OptionsOf(shard.limits())),
        shard_(shard),
        peer_(std::move(peer)),
        received_(std::move(received)),
        began_(shard.loop().Now()) {
    this->transport().ReadLater();
  }

  void Tick(MonoTime now) override;
  void Drain() override {
    GoAway();
    if (stream_count() == 0) transport().Kick();
  }
  void Abort(const Status& why) override { End(why); }
  bool HasOutput() const override { return !ended() && (transport().unsent() > 0 || stream_count() > 0); }

  void Ready(std::shared_ptr<Http2Exchange> exchange) { ready_.push_back(std::move(exchange)); }

 private:
  static Http2Options OptionsOf(const ServerLimits& l) {
    return {.server = true,
            .max_concurrent_streams = l.max_concurrent_streams,
            .stream_window = l.stream_window,
            .connection_window = l.connection_window,
            .max_header_bytes = l.max_header_bytes,
            .max_resets = l.max_resets_per_connection};
  }
  void OnReadable() override {
    if (!begun_) {
      begun_ = true;
      Greet(std::exchange(received_, {}));
    }
    if (!ended()) Http2Session::OnReadable();
  }
  std::shared_ptr<Http2Stream> OnNewStream() override {
    last_request_ = shard_.loop().impl().TurnTime();
    return std::make_shared<Http2Exchange>(shard_, peer_, *this);
  }
  void OnBatchEnd() override;
  void OnPeerSettings() override { greeted_ = true; }
  void OnSessionEnd(const Status&) override {
    ready_.clear();
    shard_.Remove(this);
  }

  Shard& shard_;
  std::shared_ptr<const Peer> peer_;
  std::string received_;
  MonoTime began_, last_ping_{}, last_request_{};
  std::vector<std::shared_ptr<Http2Exchange>> ready_;
  bool begun_ = false, greeted_ = false, in_batch_ = false;
};

// ---- Http2Exchange -------------------------------------------------------------------------------------------------

size_t Http2Exchange::max_head_bytes() const {
  size_t most = ExchangeBase::max_head_bytes();
  if (session() == nullptr) return most;
  return std::min<size_t>(
      most, nghttp2_session_get_remote_settings(session()->native(), NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE));
}

void Http2Exchange::OnHeader(std::string_view name, std::string_view value) {
  if (head_complete_) return;  // trailers of a request say nothing we use
  if (headers_.fields().empty()) headers_.Reserve(8);
  if (name.starts_with(':')) {
    if (name == ":method") {
      method_ = value;
    } else if (name == ":path") {
      target_ = value;
    } else if (name == ":authority") {
      headers_.Set("host", std::string(value));
    }
    return;
  }
  if (name == "host") {
    if (!headers_.Has("host")) headers_.Add("host", std::string(value));
  } else if (name == "cookie") {
    cookies_.append(cookies_.empty() ? "" : "; ").append(value);  // RFC 9113, 8.2.3
  } else {
    headers_.Add(std::string(name), std::string(value));
  }
}

void Http2Exchange::OnHeadersEnd() {
  if (std::exchange(head_complete_, true)) return;
  // Short heads are bounded by the number of streams.
  bool counted = header_bytes_ <= kUncountedHead || Count(header_bytes_);
  if (headers_too_large_ || !counted) {
    rejected_ = true;
    SendHead(headers_too_large_ ? 431 : 503, {}, true);
    return;
  }
  if (!cookies_.empty()) headers_.Add("cookie", std::move(cookies_));
  if (connection_ != nullptr) connection_->Ready(std::static_pointer_cast<Http2Exchange>(shared_from_this()));
}

void Http2Exchange::OnData(std::string_view bytes) {
  if (handler_done() || rejected_) {
    Consume(bytes.size());
  } else {
    BodyArrived(bytes);
  }
}

void Http2Exchange::SendHead(int status, const Headers& headers, bool end) {
  if (session() == nullptr) return;
  char code[4] = {static_cast<char>('0' + status / 100 % 10), static_cast<char>('0' + status / 10 % 10),
                  static_cast<char>('0' + status % 10), 0};
  std::vector<nghttp2_nv>& nv = session()->FieldBuffer();
  nv.push_back(MakeNv(":status", {code, 3}));
  bool dated = false;
  for (const auto& [name, value] : headers.fields()) {
    if (IsConnectionField(name)) {
      // As in HTTP/1.1 the connection ends with the exchanges that are on it.
      if (name == "connection" && value == "close") session()->GoAway();
      continue;
    }
    // In gRPC nobody reads a date.
    dated |= name == "date" || (name == "content-type" && value.starts_with("application/grpc"));
    nv.push_back(MakeNv(name, value));
  }
  if (!dated) nv.push_back(MakeNv("date", HttpDate(shard_->loop().clock())));
  session()->Respond(*this, nv, end);
}

void Http2Exchange::OnHandlerDone() {
  size_t left = body_size();
  if (left > 0) (void)TakeWholeBody();
  if (session() == nullptr) return;
  if (left > 0 && !body_ended()) Consume(left);
  if (out_finished_ && !body_ended()) Reset(NGHTTP2_NO_ERROR);
}

// The whole answer has left while the client still sends: it may stop (RFC 9113, 8.1).
void Http2Exchange::OnOutFinished() {
  out_finished_ = true;
  if ((handler_done() || rejected_) && !body_ended()) Reset(NGHTTP2_NO_ERROR);
}

void Http2Exchange::OnClosed(uint32_t error_code) {
  connection_ = nullptr;
  if (error_code == NGHTTP2_NO_ERROR && responded()) {
    // The ordinary end. A handler that is still at work behind its answer goes on undisturbed.
    if (handler_done()) return;
    if (body_ended()) return;
  }
  Fail(Cancelled("stream closed by peer"));
}

// ---- Http2Connection -----------------------------------------------------------------------------------------------

void Http2Connection::OnBatchEnd() {
  if (in_batch_) return;
  in_batch_ = true;
  // A handler may run to its end here and make room for nothing new: the list only grows while frames are read.
  for (size_t i = 0; i < ready_.size(); ++i) {
    auto exchange = std::move(ready_[i]);
    if (exchange->session() == nullptr) continue;
    exchange->Start();
    if (ended()) break;
  }
  ready_.clear();
  in_batch_ = false;
}

void Http2Connection::Tick(MonoTime now) {
  const ServerLimits& l = shard_.limits();
  if (!greeted_ && now - began_ > l.header_timeout) return End(DeadlineExceeded("no SETTINGS came"));
  if (transport().unsent() > 0 && now - transport().last_progress() > l.write_stall_timeout)
    return End(DeadlineExceeded("the peer reads nothing"));
  if (head_open_since() && now - *head_open_since() > l.header_timeout)
    return End(DeadlineExceeded("the head of a request did not come in time"));
  if (going_away() && stream_count() == 0 && transport().unsent() == 0) return End(Unavailable("drained"));
  if (stream_count() > 0) last_request_ = now;
  if (l.http2_idle_timeout > Duration::zero() && now - std::max(last_request_, began_) > l.http2_idle_timeout) GoAway();
  // Only a peer that grants no window can hold a stream's output back for so long.
  std::vector<std::shared_ptr<Http2Stream>> stalled;
  for (const auto& [id, stream] : streams()) {
    if (stream->out_bytes() > 0 && now - stream->out_progress() > l.write_stall_timeout) stalled.push_back(stream);
    static_cast<Http2Exchange&>(*stream).CheckBody(now);  // the only streams OnNewStream makes
  }
  for (auto& stream : stalled) stream->Reset(NGHTTP2_CANCEL);
  if (now - last_receive() > l.ping_interval && now - last_ping_ > l.ping_interval) {
    if (pings_missed() >= 2) return End(DeadlineExceeded("keepalive ping not answered"));
    last_ping_ = now;
    Ping();
  }
}

}  // namespace

std::unique_ptr<ServerConnection> NewHttp2Connection(Shard& shard, std::unique_ptr<Transport> transport,
                                                     std::shared_ptr<const Peer> peer, std::string received) {
  return std::make_unique<Http2Connection>(shard, std::move(transport), std::move(peer), std::move(received));
}

}  // namespace base::net
