// The client's half of HTTP/1.1: one call at a time on a connection.
#include <algorithm>
#include <cstdio>

#include "base/net/client_impl.h"
#include "base/net/http1_parser.h"

namespace base::net {
namespace {

class Http1Client;

class Http1Call final : public ClientCall {
 public:
  Http1Call(Http1Client& connection, Loop& loop, bool chunked)
      : ClientCall(loop), connection_(&connection), chunked_(chunked) {}
  using ClientCall::body_size;
  using ClientCall::BodyArrived;
  using ClientCall::EndArrived;
  using ClientCall::Fail;
  using ClientCall::HeadArrived;
  using ClientCall::OutputDrained;
  void SetHead(int status, Headers headers) {
    status_ = status;
    headers_ = std::move(headers);
  }
  void SetTrailers(const Headers& trailers) { trailers_ = trailers; }
  bool sent_all() const { return sent_all_; }
  void SentAll() { sent_all_ = true; }
  void Detach() { connection_ = nullptr; }

 private:
  void SendPiece(std::string_view prefix, SharedBytes piece) override;
  void SendEnd() override;
  size_t unsent() const override;
  void Grant(size_t n) override;
  void Drop() override;

  Http1Client* connection_;
  bool chunked_, sent_all_ = false;
};

class Http1Client final : public ClientConnection, public TransportUser {
 public:
  Http1Client(ClientCore& core, std::unique_ptr<Transport> transport, std::string authority)
      : core_(core),
        transport_(std::move(transport)),
        authority_(std::move(authority)),
        parser_(Http1Parser::Kind::kResponse, core.options().max_response_headers),
        idle_since_(core.loop().Now()) {
    transport_->SetUser(*this);
  }

  bool Usable() const override { return !current_ && !dead_; }
  bool reused() const override { return served_ > 0; }
  Result<std::shared_ptr<ClientCall>> Begin(const RequestHead& head) override;
  void Tick(MonoTime now) override {
    if (!current_ && now - idle_since_ > core_.options().idle_timeout) Abort(Unavailable("idle"));
  }
  void Abort(const Status& why) override;

  Transport& transport() { return *transport_; }
  void MaybeDone();
  void ReadOn() {
    if (paused_) transport_->ReadLater();
  }

 private:
  void OnConnected() override {}
  void OnReadable() override;
  void OnFill() override {
    if (current_ && transport_->unsent() < (128 << 10)) current_->OutputDrained();
  }
  void OnFailed(const Status& why) override { Abort(why); }
  bool Process(std::string_view input);
  void OnEof();

  ClientCore& core_;
  std::unique_ptr<Transport> transport_;
  std::string authority_;
  Http1Parser parser_;
  std::shared_ptr<Http1Call> current_;
  std::string input_;  // kept while the reader of the body is slow
  MonoTime idle_since_;
  int served_ = 0;
  bool dead_ = false, paused_ = false, keep_alive_ = true;
};

void Http1Call::SendPiece(std::string_view prefix, SharedBytes piece) {
  size_t size = prefix.size() + (piece ? piece->size() : 0);
  if (connection_ == nullptr || size == 0) return;
  Transport& out = connection_->transport();
  if (chunked_) {
    char line[24];
    int n = std::snprintf(line, sizeof line, "%zx\r\n", size);
    out.Append({line, static_cast<size_t>(n)});
  }
  out.Append(prefix);
  if (piece) out.AppendShared(piece, *piece);
  if (chunked_) out.Append("\r\n");
}

void Http1Call::SendEnd() {
  if (connection_ == nullptr) return;
  if (chunked_) connection_->transport().Append("0\r\n\r\n");
  sent_all_ = true;
  connection_->MaybeDone();
}

size_t Http1Call::unsent() const { return connection_ != nullptr ? connection_->transport().unsent() : 0; }

void Http1Call::Grant(size_t) {
  if (connection_ != nullptr) connection_->ReadOn();
}

// HTTP/1.1 knows no way to end one answer but to end the connection.
void Http1Call::Drop() {
  if (connection_ != nullptr) connection_->Abort(Cancelled("call dropped"));
}

Result<std::shared_ptr<ClientCall>> Http1Client::Begin(const RequestHead& head) {
  if (!Usable()) return Err(Unavailable("connection closed"));
  bool chunked = head.has_body && !head.length;
  parser_.Reset();
  if (head.method == "HEAD") parser_.ExpectNoBody();
  transport_->Append(Http1RequestHead(head, authority_, chunked));
  current_ = std::make_shared<Http1Call>(*this, core_.loop(), chunked);
  if (!head.has_body) current_->SentAll();
  return current_;
}

void Http1Client::OnReadable() {
  if (dead_) return;
  paused_ = false;
  if (!input_.empty() && !Process(std::exchange(input_, {}))) return;
  while (!dead_) {
    if (current_ && current_->body_size() >= core_.options().stream_window) {
      paused_ = true;
      return;
    }
    Transport::ReadResult r = transport_->Read(ReadBuffer(), kReadBufferBytes);
    if (r.end == Transport::ReadEnd::kEof) return OnEof();
    if (r.end != Transport::ReadEnd::kData) return;
    if (!current_) return Abort(Unavailable("unsolicited bytes from the server"));
    if (!Process({ReadBuffer(), r.size}) || r.drained) return;
  }
}

// False when the connection is gone or must wait for its reader.
bool Http1Client::Process(std::string_view input) {
  while (current_) {
    switch (parser_.Next(input)) {
      case Http1Parser::Event::kNeedMore:
        return true;
      case Http1Parser::Event::kHead:
        if (parser_.head().status < 200) break;  // informational; its end follows
        keep_alive_ = parser_.keep_alive();
        current_->SetHead(parser_.head().status, std::move(parser_.head().headers));
        current_->HeadArrived();
        break;
      case Http1Parser::Event::kBody:
        current_->BodyArrived(parser_.body());
        if (current_->body_size() < core_.options().stream_window) break;
        input_ = std::string(input);
        paused_ = true;
        return false;
      case Http1Parser::Event::kEnd:
        if (!current_->head_ready()) {
          parser_.Reset();
          break;
        }
        current_->SetTrailers(parser_.trailers());
        current_->EndArrived();
        MaybeDone();
        if (!current_ && !dead_ && !input.empty()) Abort(Unavailable("unsolicited bytes from the server"));
        return !dead_;
      case Http1Parser::Event::kError:
        Abort(Unavailable("malformed HTTP response: " + parser_.error()));
        return false;
    }
  }
  return true;
}

void Http1Client::OnEof() {
  if (current_ && parser_.NextAtEof() == Http1Parser::Event::kEnd && current_->head_ready()) current_->EndArrived();
  Abort(Unavailable("connection closed by server"));
}

// The connection is free again once the answer has come and the request has left.
void Http1Client::MaybeDone() {
  if (!current_ || !current_->ended()) return;
  if (!keep_alive_ || !current_->sent_all() || transport_->unsent() > 0) return Abort(Unavailable("connection closed"));
  current_->Detach();
  current_.reset();
  ++served_;
  idle_since_ = core_.loop().Now();
  core_.Idle(this);
}

void Http1Client::Abort(const Status& why) {
  if (dead_) return;
  dead_ = true;
  transport_->Close();
  if (auto call = std::move(current_)) {
    call->Detach();
    call->Fail(why);
  }
  current_.reset();
  core_.Remove(this);
}

}  // namespace

std::string Http1RequestHead(const RequestHead& head, std::string_view authority, bool chunked) {
  std::string text = head.method + " " + head.path + " HTTP/1.1\r\n";
  if (!head.headers.Has("host")) text.append("host: ").append(authority).append("\r\n");
  for (const auto& [name, value] : head.headers.fields()) {
    if (name == "content-length" || name == "transfer-encoding") continue;
    text.append(name).append(": ").append(value).append("\r\n");
  }
  if (head.length) text.append("content-length: ").append(std::to_string(*head.length)).append("\r\n");
  if (chunked) text.append("transfer-encoding: chunked\r\n");
  return text.append("\r\n");
}

std::unique_ptr<ClientConnection> NewHttp1Client(ClientCore& core, std::unique_ptr<Transport> transport,
                                                 std::string authority) {
  return std::make_unique<Http1Client>(core, std::move(transport), std::move(authority));
}

}  // namespace base::net
