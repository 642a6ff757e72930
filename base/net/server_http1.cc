// The server's half of HTTP/1.1: one exchange after another on a connection.
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "base/net/http1_parser.h"
#include "base/net/server_impl.h"
#include "base/net/transport_stream.h"

namespace base::net {
namespace {

constexpr size_t kPipelinedBytes = 64 << 10;    // read ahead of the request that is being served
constexpr size_t kDiscardBytes = 256 << 10;     // of a body nobody read, before the connection is given up
constexpr std::chrono::seconds kLingerTime{2};  // for the peer to read an error before the connection dies

// One field as a line. What would end the line or the head is no part of a value.
void AppendField(std::string& out, std::string_view name, std::string_view value) {
  out.append(name).append(": ");
  size_t start = out.size();
  out.append(value);
  for (size_t i = start; i < out.size(); ++i)
    if (out[i] == '\r' || out[i] == '\n' || out[i] == '\0') out[i] = ' ';
  out.append("\r\n");
}

class Http1Connection;

class Http1Exchange final : public ExchangeBase {
 public:
  Http1Exchange(Shard& shard, std::shared_ptr<const Peer> peer, Http1Connection& connection, Http1Head head);

  int http_major() const override { return 1; }
  size_t unsent_bytes() const override;
  Task<Result<std::unique_ptr<ByteStream>>> Upgrade(Headers headers) override;

  bool upgraded() const { return upgraded_; }
  bool close_after() const { return close_after_; }
  using ExchangeBase::BodyArrived;
  using ExchangeBase::BodyEnded;
  using ExchangeBase::CancelContext;
  using ExchangeBase::Fail;
  using ExchangeBase::OutputDrained;
  void Detach(const Status& why) {
    connection_ = nullptr;
    Fail(why);
  }
  void CloseAfter() { close_after_ = true; }

 private:
  void SendHead(int status, const Headers& headers, bool end) override;
  void SendPiece(std::string_view prefix, SharedBytes piece) override;
  void SendEnd(Headers trailers) override;
  void GrantBody(size_t n) override;
  void BeforeRead() override;
  void OnHandlerDone() override;
  void BreakOff() override;
  Transport& out();

  Http1Connection* connection_;  // null once it is gone
  int minor_;
  bool expects_continue_ = false, head_sent_ = false, chunked_ = false, close_after_ = false, upgraded_ = false;
};

class Http1Connection final : public ServerConnection, public TransportUser {
 public:
  Http1Connection(Shard& shard, std::unique_ptr<Transport> transport, std::shared_ptr<const Peer> peer,
                  std::string received)
      : shard_(shard),
        transport_(std::move(transport)),
        peer_(std::move(peer)),
        parser_(Http1Parser::Kind::kRequest, shard.limits().max_header_bytes),
        input_(std::move(received)),
        since_(shard.loop().Now()) {
    transport_->SetUser(*this);
    transport_->ReadLater();
  }

  void Tick(MonoTime now) override;
  void Drain() override;
  void Abort(const Status& why) override;
  bool HasOutput() const override { return transport_ && transport_->unsent() > 0; }

  Transport& transport() { return *transport_; }
  void BodyRead() {
    if (paused_) transport_->ReadLater();
  }
  void ExchangeDone();
  std::unique_ptr<TransportStream> TakeStream();

 private:
  void OnConnected() override {}
  void OnReadable() override;
  void OnFill() override;
  void OnFailed(const Status& why) override { Abort(why); }

  void Process();
  bool Advance(std::string_view& input);
  void BeginExchange();
  void Reject(int status, const std::string& why);
  void Linger();
  bool WantsInput() const;
  void PeerEnded();

  Shard& shard_;
  std::unique_ptr<Transport> transport_;  // null after an upgrade
  std::shared_ptr<const Peer> peer_;
  Http1Parser parser_;
  std::string input_;  // read and not parsed yet
  std::shared_ptr<Http1Exchange> current_;
  MonoTime since_;  // when the wait for a head (or for the linger's end) began
  size_t discarded_ = 0;
  bool request_complete_ = false;  // the parser stands behind current_'s request
  bool head_begun_ = false, paused_ = false, lingering_ = false, peer_ended_ = false, processing_ = false;
};

// ---- Http1Exchange -------------------------------------------------------------------------------------------------

Http1Exchange::Http1Exchange(Shard& shard, std::shared_ptr<const Peer> peer, Http1Connection& connection,
                             Http1Head head)
    : ExchangeBase(shard, std::move(peer)), connection_(&connection), minor_(head.minor) {
  method_ = std::move(head.method);
  target_ = std::move(head.target);
  headers_ = std::move(head.headers);
  // A proxy's absolute form (RFC 9112, 3.2.2).
  if (size_t scheme = target_.find("://"); scheme != std::string::npos && target_[0] != '/') {
    size_t slash = target_.find('/', scheme + 3);
    target_ = slash == std::string::npos ? "/" : target_.substr(slash);
  }
  expects_continue_ = minor_ == 1 && HasToken(headers_.Get("expect"), "100-continue");
}

Transport& Http1Exchange::out() { return connection_->transport(); }

size_t Http1Exchange::unsent_bytes() const {
  return connection_ != nullptr && !upgraded_ ? connection_->transport().unsent() : 0;
}

void Http1Exchange::BeforeRead() {
  if (!expects_continue_ || head_sent_ || connection_ == nullptr) return;
  expects_continue_ = false;
  if (!body_ended()) out().Append("HTTP/1.1 100 Continue\r\n\r\n");
}

void Http1Exchange::GrantBody(size_t) {
  if (connection_ != nullptr && !upgraded_) connection_->BodyRead();
}

void Http1Exchange::SendHead(int status, const Headers& headers, bool end) {
  if (connection_ == nullptr) return;
  head_sent_ = true;
  // A client that still waits for 100 will not send the body: the connection cannot be used again.
  if (expects_continue_ && !body_ended()) close_after_ = true;
  // Nor is it worth reading what is left of a long body only to drop it.
  if (!body_ended() && std::strtoull(std::string(headers_.Get("content-length")).c_str(), nullptr, 10) > kDiscardBytes)
    close_after_ = true;
  bool no_body = status < 200 || status == 204 || status == 304;
  std::string text = minor_ == 1 ? "HTTP/1.1 " : "HTTP/1.0 ";
  text.append(std::to_string(status)).append(" ").append(ReasonPhrase(status)).append("\r\n");
  bool has_length = false, has_date = false;
  for (const auto& [name, value] : headers.fields()) {
    if (name == "connection" && HasToken(value, "close")) {
      close_after_ = true;
      continue;
    }
    if (name == "transfer-encoding") continue;
    has_length |= name == "content-length";
    has_date |= name == "date";
    AppendField(text, name, value);
  }
  if (!has_date) text.append("date: ").append(HttpDate(shard_->loop().clock())).append("\r\n");
  if (end && !has_length && !no_body) text.append("content-length: 0\r\n");
  if (!end && !has_length && !no_body) {
    if (minor_ == 1) {
      chunked_ = method_ != "HEAD";
      text.append("transfer-encoding: chunked\r\n");
    } else {
      close_after_ = true;
    }
  }
  if (shard_->draining()) close_after_ = true;
  if (close_after_)
    text.append("connection: close\r\n");
  else if (minor_ == 0 && HasToken(headers_.Get("connection"), "keep-alive"))
    text.append("connection: keep-alive\r\n");
  text.append("\r\n");
  out().Append(text);
}

void Http1Exchange::SendPiece(std::string_view prefix, SharedBytes piece) {
  size_t size = prefix.size() + (piece ? piece->size() : 0);
  if (connection_ == nullptr || size == 0) return;
  if (chunked_) {
    char line[24];
    int n = std::snprintf(line, sizeof line, "%zx\r\n", size);
    out().Append({line, static_cast<size_t>(n)});
  }
  out().Append(prefix);
  if (piece) out().AppendShared(piece, *piece);
  if (chunked_) out().Append("\r\n");
}

void Http1Exchange::SendEnd(Headers trailers) {
  if (connection_ == nullptr || !chunked_) return;
  std::string text = "0\r\n";
  for (const auto& [name, value] : trailers.fields()) AppendField(text, name, value);
  out().Append(text.append("\r\n"));
}

void Http1Exchange::OnHandlerDone() {
  if (connection_ != nullptr) connection_->ExchangeDone();
}

// An answer without its end must not look complete.
void Http1Exchange::BreakOff() {
  if (connection_ != nullptr) connection_->Abort(Internal("the handler broke its answer off"));
}

Task<Result<std::unique_ptr<ByteStream>>> Http1Exchange::Upgrade(Headers headers) {
  if (connection_ == nullptr) co_return Err(Unavailable("connection closed"));
  if (head_sent_) co_return Err(FailedPrecondition("the answer has already begun"));
  head_sent_ = true;
  std::string text = "HTTP/1.1 101 Switching Protocols\r\n";
  for (const auto& [name, value] : headers.fields()) AppendField(text, name, value);
  out().Append(text.append("\r\n"));
  upgraded_ = true;
  MarkUpgraded();
  co_return connection_->TakeStream();
}

// ---- Http1Connection -----------------------------------------------------------------------------------------------

bool Http1Connection::WantsInput() const {
  if (lingering_) return true;
  if (!current_) return true;
  if (request_complete_) return input_.size() < kPipelinedBytes;
  return current_->handler_done() || current_->body_size() < shard_.limits().stream_window;
}

void Http1Connection::OnReadable() {
  if (!transport_) return;
  paused_ = false;
  Process();
  while (transport_ && !transport_->closed()) {
    if (paused_ || !WantsInput()) {
      paused_ = true;
      return;
    }
    Transport::ReadResult r = transport_->Read(ReadBuffer(), kReadBufferBytes);
    if (r.end == Transport::ReadEnd::kEof) return PeerEnded();
    if (r.end != Transport::ReadEnd::kData) return;
    if (lingering_) continue;
    input_.append(ReadBuffer(), r.size);
    Process();
    if (r.drained && !paused_ && WantsInput()) return;
  }
}

void Http1Connection::PeerEnded() {
  peer_ended_ = true;
  if (lingering_) {
    if (transport_->unsent() == 0) Abort(Unavailable("connection closed by peer"));
    return;  // our last words first: OnFill ends it
  }
  if (!current_ || !request_complete_) return Abort(Unavailable("connection closed by peer"));
  // The request is whole, and most likely nobody waits for its answer; a client that has only closed its half gets it
  // all the same when the handler does not heed its context.
  current_->CancelContext(Cancelled("client disconnected"));
  if (current_->handler_done()) Linger();
}

void Http1Connection::Process() {
  if (processing_) return;
  processing_ = true;
  std::string input = std::move(input_);
  input_.clear();
  std::string_view rest = input;
  while (!lingering_ && transport_ && !transport_->closed() && Advance(rest)) {
  }
  if (!rest.empty() && !lingering_) {
    // What is left goes before what an upgrade or a handler may have added meanwhile: nothing.
    rest.size() == input.size() ? void(input_ = std::move(input)) : void(input_ = std::string(rest));
  }
  processing_ = false;
}

// One step of the parser; false when it needs more input or must wait for the exchange.
bool Http1Connection::Advance(std::string_view& input) {
  if (current_ && request_complete_) return false;
  if (!current_ && shard_.draining()) {
    Abort(Unavailable("server is shutting down"));
    return false;
  }
  Http1Parser::Event event = parser_.Next(input);
  if (!head_begun_ && !parser_.idle()) {
    head_begun_ = true;
    since_ = shard_.loop().Now();
  }
  switch (event) {
    case Http1Parser::Event::kNeedMore:
      return false;
    case Http1Parser::Event::kHead:
      BeginExchange();
      return true;
    case Http1Parser::Event::kBody:
      if (!current_->handler_done()) {
        current_->BodyArrived(parser_.body());
        if (current_->body_size() >= shard_.limits().stream_window) {
          paused_ = true;  // goes on when the handler has read
          return false;
        }
      } else if ((discarded_ += parser_.body().size()) > kDiscardBytes) {
        Linger();
      }
      return true;
    case Http1Parser::Event::kEnd:
      request_complete_ = true;
      current_->BodyEnded();
      if (current_->handler_done()) ExchangeDone();
      return !current_;
    case Http1Parser::Event::kError:
      Reject(parser_.error_status(), parser_.error());
      return false;
  }
  return false;
}

void Http1Connection::BeginExchange() {
  bool has_body = parser_.has_body();
  bool keep_alive = parser_.keep_alive();
  current_ = std::make_shared<Http1Exchange>(shard_, peer_, *this, std::move(parser_.head()));
  if (!keep_alive) current_->CloseAfter();
  request_complete_ = !has_body;
  if (!has_body) current_->BodyEnded();
  // A body that came with its head is there before the handler asks.
  shard_.loop().Post([exchange = current_] { exchange->Start(); });
}

void Http1Connection::ExchangeDone() {
  if (!current_ || !transport_) {
    if (!transport_) shard_.Remove(this);
    return;
  }
  if (!current_->handler_done()) return;
  if (peer_ended_) return Linger();
  if (!request_complete_ || current_->close_after()) {
    if (current_->close_after() || discarded_ > kDiscardBytes) return Linger();
    transport_->ReadLater();  // what is left of the body is read and dropped
    return;
  }
  current_.reset();
  request_complete_ = false;
  head_begun_ = false;
  discarded_ = 0;
  parser_.Reset();
  since_ = shard_.loop().Now();
  transport_->ReadLater();
}

// Errors of the protocol itself: answered in its words, then the connection ends.
void Http1Connection::Reject(int status, const std::string& why) {
  if (current_) {
    Abort(InvalidArgument(why));
    return;
  }
  std::string body = std::to_string(status) + " " + std::string(ReasonPhrase(status)) + ": " + why;
  transport_->Append("HTTP/1.1 " + std::to_string(status) + " " + std::string(ReasonPhrase(status)) +
                     "\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\ncontent-length: " +
                     std::to_string(body.size()) + "\r\n\r\n" + body);
  Linger();
}

// Closing with unread bytes would make the kernel reset the connection and take the answer back.
void Http1Connection::Linger() {
  if (lingering_) return;
  lingering_ = true;
  input_.clear();
  since_ = shard_.loop().Now();
  if (current_) {
    current_->Detach(Unavailable("connection closed"));
    current_.reset();
  }
  transport_->ShutdownAfterFlush();
  transport_->ReadLater();
}

std::unique_ptr<TransportStream> Http1Connection::TakeStream() {
  auto stream = std::make_unique<TransportStream>(std::move(transport_), std::exchange(input_, {}));
  return stream;
}

void Http1Connection::OnFill() {
  if (lingering_ && peer_ended_ && transport_->unsent() == 0) return Abort(Unavailable("connection closed by peer"));
  if (current_ && transport_->unsent() <= shard_.limits().write_buffer / 2) current_->OutputDrained();
}

void Http1Connection::Tick(MonoTime now) {
  if (!transport_) return;
  const ServerLimits& l = shard_.limits();
  if (transport_->unsent() > 0 && now - transport_->last_progress() > l.write_stall_timeout)
    return Abort(DeadlineExceeded("the peer reads nothing"));
  if (lingering_) {
    if (transport_->shutdown_sent() && now - since_ > kLingerTime) Abort(Unavailable("closed"));
    return;
  }
  if (current_) return current_->CheckBody(now);
  if (head_begun_) {
    if (now - since_ > l.header_timeout) Reject(408, "the head of the request did not come in time");
  } else if (now - since_ > l.idle_timeout) {
    Abort(DeadlineExceeded("idle"));
  }
}

void Http1Connection::Drain() {
  if (!current_ && !lingering_) Abort(Unavailable("server is shutting down"));
}

void Http1Connection::Abort(const Status& why) {
  if (transport_) transport_->Close();
  auto current = std::move(current_);
  current_.reset();
  if (current) current->Detach(why);
  shard_.Remove(this);
}

}  // namespace

std::unique_ptr<ServerConnection> NewHttp1Connection(Shard& shard, std::unique_ptr<Transport> transport,
                                                     std::shared_ptr<const Peer> peer, std::string received) {
  return std::make_unique<Http1Connection>(shard, std::move(transport), std::move(peer), std::move(received));
}

}  // namespace base::net
