// The client's half of HTTP/2.
#include <algorithm>

#include "base/net/client_impl.h"
#include "base/net/http2_session.h"

namespace base::net {
namespace {

class Http2Call final : public ClientCall, public Http2Stream {
 public:
  explicit Http2Call(Loop& loop) : ClientCall(loop) {}

 private:
  // The call's half.
  void SendPiece(std::string_view prefix, SharedBytes piece) override {
    QueueOut(prefix);
    QueueOut(std::move(piece));
  }
  void SendEnd() override { EndOut(); }
  size_t unsent() const override { return out_bytes(); }
  void Grant(size_t n) override { Consume(n); }
  void Drop() override { Reset(NGHTTP2_CANCEL); }

  // The stream's half.
  void OnHeader(std::string_view name, std::string_view value) override {
    Headers& into = head_complete_ ? trailers_ : headers_;
    if (name == ":status" && !head_complete_) {
      status_ = std::atoi(std::string(value).c_str());
    } else if (!name.starts_with(':')) {
      into.Add(std::string(name), std::string(value));
    }
  }
  void OnHeadersEnd() override {
    if (headers_too_large_) {
      Fail(ResourceExhausted("response headers too large"));
      Reset(NGHTTP2_CANCEL);
      return;
    }
    if (head_complete_) return;
    if (status_ < 200) {
      headers_ = {};
      return;
    }
    head_complete_ = true;
    HeadArrived();
  }
  void OnData(std::string_view bytes) override {
    if (failure().ok()) {
      BodyArrived(bytes);
    } else {
      Consume(bytes.size());
    }
  }
  void OnInEnd() override { in_ended_ = true; }
  void OnOutDrained() override { OutputDrained(); }
  void OnClosed(uint32_t error_code) override;

  bool head_complete_ = false, in_ended_ = false;
};

void Http2Call::OnClosed(uint32_t error_code) {
  // A server may answer in full and reset the rest of the request (RFC 9113, 8.1).
  if (in_ended_ && head_complete_) return EndArrived();
  switch (error_code) {
    case kConnectionLost:
      return Fail(Unavailable("error reading from server: connection lost"), !head_sent());
    case NGHTTP2_REFUSED_STREAM:
      return Fail(Unavailable("stream refused by the server"), true);
    case NGHTTP2_CANCEL:
      return Fail(Cancelled("stream terminated by RST_STREAM with error code: CANCEL"));
    case NGHTTP2_ENHANCE_YOUR_CALM:
      return Fail(ResourceExhausted("stream terminated by RST_STREAM with error code: ENHANCE_YOUR_CALM"));
    case NGHTTP2_NO_ERROR:
      return Fail(Internal("server closed the stream without trailers"));
    default:
      return Fail(Internal(std::string("stream terminated by RST_STREAM with error code: ") +
                           nghttp2_http2_strerror(error_code)));
  }
}

class Http2Client final : public ClientConnection, public Http2Session {
 public:
  Http2Client(ClientCore& core, std::unique_ptr<Transport> transport, std::string authority)
      : Http2Session(std::move(transport), OptionsOf(core.options())),
        core_(core),
        authority_(std::move(authority)),
        scheme_(this->transport().ssl() ? "https" : "http"),
        active_(core.loop().Now()) {
    Greet({});
  }

  bool Usable() const override { return !ended() && !going_away(); }
  bool reused() const override { return false; }
  Result<std::shared_ptr<ClientCall>> Begin(const RequestHead& head) override;
  void Tick(MonoTime now) override;
  void Abort(const Status& why) override { End(why); }

 private:
  static Http2Options OptionsOf(const ClientOptions& o) {
    return {.server = false,
            .stream_window = o.stream_window,
            .connection_window = std::max<uint32_t>(o.stream_window * 4, 1 << 20),
            .max_header_bytes = o.max_response_headers};
  }
  void OnSessionEnd(const Status&) override { core_.Remove(this); }

  ClientCore& core_;
  std::string authority_;
  std::string_view scheme_;
  MonoTime active_, last_ping_{};
};

Result<std::shared_ptr<ClientCall>> Http2Client::Begin(const RequestHead& head) {
  auto call = std::make_shared<Http2Call>(core_.loop());
  std::string_view authority = head.headers.Has("host") ? head.headers.Get("host") : std::string_view(authority_);
  std::vector<nghttp2_nv> nv = {MakeNv(":method", head.method), MakeNv(":scheme", scheme_),
                                MakeNv(":authority", authority), MakeNv(":path", head.path)};
  nv.reserve(nv.size() + head.headers.fields().size() + 1);
  for (const auto& [name, value] : head.headers.fields())
    if (!IsConnectionField(name) && name != "content-length") nv.push_back(MakeNv(name, value));
  std::string length;
  if (head.length) {
    length = std::to_string(*head.length);
    nv.push_back(MakeNv("content-length", length));
  }
  TRY(Open(call, nv, !head.has_body));
  return call;
}

void Http2Client::Tick(MonoTime now) {
  const ClientOptions& o = core_.options();
  if (stream_count() > 0) active_ = now;
  if (stream_count() == 0 && (going_away() || now - active_ > o.idle_timeout)) return End(Unavailable("idle"));
  if (pings_missed() > 0) {
    if (now - last_ping_ > o.keepalive_timeout) End(Unavailable("keepalive ping failed to receive ACK within timeout"));
    return;
  }
  if (stream_count() > 0 && now - last_receive() > o.keepalive_interval && now - last_ping_ > o.keepalive_interval) {
    last_ping_ = now;
    Ping();
  }
}

}  // namespace

std::unique_ptr<ClientConnection> NewHttp2Client(ClientCore& core, std::unique_ptr<Transport> transport,
                                                 std::string authority) {
  return std::make_unique<Http2Client>(core, std::move(transport), std::move(authority));
}

}  // namespace base::net
