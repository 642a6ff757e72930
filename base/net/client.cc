#include "base/net/client.h"

#include <unistd.h>

#include <algorithm>

#include "base/net/client_impl.h"
#include "base/net/connect.h"
#include "base/net/http1_parser.h"
#include "base/net/transport_stream.h"

namespace base::net {
namespace {

constexpr size_t kWriteBuffer = 256 << 10;
constexpr Duration kFirstBackoff = std::chrono::milliseconds(50);
constexpr Duration kLastBackoff = std::chrono::seconds(2);
constexpr size_t kUpgradeErrorBody = 64 << 10;

bool Repeatable(std::string_view method) { return method == "GET" || method == "HEAD" || method == "OPTIONS"; }

class Response final : public ClientResponse {
 public:
  explicit Response(std::shared_ptr<ClientCall> call) : call_(std::move(call)) {}
  ~Response() override {
    if (!call_->ended()) call_->Abandon(Cancelled("response dropped"));
  }
  int status() const override { return call_->status(); }
  const Headers& headers() const override { return call_->headers(); }
  Task<Result<std::string>> Read(Context ctx) override { return call_->Read(std::move(ctx)); }
  const Headers& trailers() const override { return call_->trailers(); }

 private:
  std::shared_ptr<ClientCall> call_;
};

class Stream final : public ClientStream {
 public:
  explicit Stream(std::shared_ptr<ClientCall> call) : call_(std::move(call)) {}
  ~Stream() override {
    if (!response_ && !call_->ended()) call_->Abandon(Cancelled("stream dropped"));
  }
  Task<Status> Write(Context ctx, SharedBytes piece) override {
    return call_->Write(std::move(ctx), {}, std::move(piece));
  }
  Task<Status> CloseWrite(Context) override { co_return call_->CloseWrite(); }
  Task<Result<ClientResponse*>> Response(Context ctx) override {
    CO_TRY(co_await call_->WaitHead(ctx));
    if (!response_) response_ = std::make_unique<net::Response>(call_);
    co_return response_.get();
  }

 private:
  std::shared_ptr<ClientCall> call_;
  std::unique_ptr<net::Response> response_;
};

RequestHead HeadOf(ClientRequest& request, bool has_body, std::optional<size_t> length) {
  return {std::move(request.method), std::move(request.path), std::move(request.headers), has_body, length};
}

}  // namespace

// ---- ClientCall ----------------------------------------------------------------------------------------------------

Task<Status> ClientCall::WaitHead(Context ctx) {
  while (!head_ready_) {
    if (!failure_.ok()) co_return failure_;
    CO_TRY(co_await changed_.Wait(ctx));
  }
  co_return Ok();
}

Task<Status> ClientCall::WaitEnd(Context ctx) {
  while (!ended_) {
    if (!failure_.ok()) co_return failure_;
    CO_TRY(co_await changed_.Wait(ctx));
  }
  co_return Ok();
}

Task<Result<std::string>> ClientCall::Read(Context ctx) {
  while (body_.empty()) {
    if (ended_) co_return std::string();
    if (!failure_.ok()) co_return Err(failure_);
    CO_TRY(co_await changed_.Wait(ctx));
  }
  co_return TakeBody();
}

std::string ClientCall::TakeBody() {
  std::string out = std::exchange(body_, {});
  Grant(out.size());
  return out;
}

Task<Status> ClientCall::Write(Context ctx, std::string_view prefix, SharedBytes piece) {
  if (!failure_.ok()) co_return failure_;
  if (write_ended_) co_return FailedPrecondition("write after CloseWrite");
  SendPiece(prefix, std::move(piece));
  // An answer that is already whole makes the rest of the request pointless, yet no error.
  while (unsent() > kWriteBuffer && !ended_) {
    CO_TRY(co_await writable_.Wait(ctx));
    if (!failure_.ok()) co_return failure_;
  }
  co_return Ok();
}

void ClientCall::SendWhole(std::string_view prefix, SharedBytes piece) {
  if (!failure_.ok() || write_ended_) return;
  SendPiece(prefix, std::move(piece));
  write_ended_ = true;
  SendEnd();
}

Status ClientCall::CloseWrite() {
  if (!failure_.ok()) return failure_;
  if (!std::exchange(write_ended_, true)) SendEnd();
  return Ok();
}

void ClientCall::Abandon(const Status& why) {
  if (ended_ || !failure_.ok()) return;
  Fail(why);
  Drop();
}

void ClientCall::HeadArrived() {
  head_ready_ = true;
  changed_.NotifyAll();
}
void ClientCall::BodyArrived(std::string_view bytes) {
  body_.append(bytes);
  changed_.NotifyAll();
}
void ClientCall::EndArrived() {
  ended_ = true;
  changed_.NotifyAll();
  writable_.NotifyAll();
}
void ClientCall::Fail(const Status& why, bool not_processed) {
  if (ended_ || !failure_.ok()) return;
  failure_ = why;
  not_processed_ = not_processed;
  changed_.NotifyAll();
  writable_.NotifyAll();
}

// ---- ClientCore ----------------------------------------------------------------------------------------------------

Result<Endpoint> ParseEndpoint(const std::string& url) {
  Endpoint out;
  if (url.starts_with("unix:")) {
    out.address = url;
    out.host = out.authority = "localhost";
    return out;
  }
  std::string rest;
  if (url.starts_with("https://")) {
    out.tls = true;
    rest = url.substr(8);
  } else if (url.starts_with("http://")) {
    rest = url.substr(7);
  } else if (url.find("://") == std::string::npos) {
    rest = url;
  } else {
    return Err(InvalidArgument("unsupported endpoint " + url));
  }
  rest = rest.substr(0, rest.find('/'));
  out.authority = rest;
  bool has_port = rest.find(':') != std::string::npos && !rest.ends_with(']');
  out.address = has_port ? rest : rest + (out.tls ? ":443" : ":80");
  TRY_ASSIGN(auto parts, SplitHostPort(out.address));
  out.host = parts.first;
  return out;
}

ClientCore::ClientCore(Loop& loop, ClientOptions options)
    : loop_(loop), options_(std::move(options)), ctx_(Context().WithCancel()), dialed_(loop) {
  for (const std::string& url : options_.endpoints) {
    auto endpoint = ParseEndpoint(url);
    if (!endpoint) {
      bad_options_ = endpoint.error();
    } else if (endpoint->tls && !options_.tls) {
      bad_options_ = InvalidArgument("endpoint " + url + " needs TLS settings");
    } else {
      endpoints_.push_back(std::move(*endpoint));
    }
  }
  if (endpoints_.empty() && bad_options_.ok()) bad_options_ = InvalidArgument("a client needs an endpoint");
}

void ClientCore::Close(const Status& why) {
  closed_ = true;
  ctx_.Cancel(why);
  std::vector<ClientConnection*> all;
  for (auto& [raw, owned] : connections_) all.push_back(raw);
  for (ClientConnection* c : all)
    if (connections_.contains(c)) c->Abort(why);
}

void ClientCore::Remove(ClientConnection* connection) {
  if (shared_ == connection) shared_ = nullptr;
  std::erase(idle_, connection);
  auto it = connections_.find(connection);
  if (it == connections_.end()) return;
  loop_.Post([self = shared_from_this(), dying = std::move(it->second)] {});
  connections_.erase(it);
}

void ClientCore::Idle(ClientConnection* connection) {
  if (std::find(idle_.begin(), idle_.end(), connection) == idle_.end()) idle_.push_back(connection);
}

// An https endpoint may turn out to speak HTTP/2, so the first connection is waited for by everybody.
bool ClientCore::SharesConnections() const {
  if (options_.force_http1 || http1_known_) return false;
  return endpoint().tls || options_.http2_prior_knowledge;
}

ClientConnection* ClientCore::Ready() {
  if (shared_ != nullptr) {
    if (shared_->Usable()) return shared_;
    shared_ = nullptr;  // ends by itself when its last stream has
  }
  while (!idle_.empty()) {
    ClientConnection* c = idle_.back();
    idle_.pop_back();
    if (c->Usable()) return c;
  }
  return nullptr;
}

Task<Result<ClientConnection*>> ClientCore::Acquire(Context ctx) {
  auto self = shared_from_this();
  if (!bad_options_.ok()) co_return Err(bad_options_);
  for (;;) {
    if (closed_) co_return Err(Unavailable("client closed"));
    if (!ctx.status().ok()) co_return Err(ctx.status());
    if (ClientConnection* c = Ready()) co_return c;
    if (!last_error_.ok() && loop_.Now() < retry_at_) co_return Err(last_error_);
    if (!SharesConnections()) co_return co_await Dial(ctx);
    if (!dialing_) {
      dialing_ = true;
      Spawn(loop_, [](std::shared_ptr<ClientCore> core) -> Task<void> { co_await core->DialShared(); }(self));
    }
    CO_TRY(co_await dialed_.Wait(ctx));
  }
}

// Dials on behalf of everybody who waits, so nobody's deadline but its own ends it.
Task<void> ClientCore::DialShared() {
  (void)co_await Dial(ctx_);
  dialing_ = false;
  dialed_.NotifyAll();
}

Task<Result<ClientConnection*>> ClientCore::Dial(Context ctx) {
  auto transport = co_await DialAny(ctx, options_.force_http1);
  if (closed_) co_return Err(Unavailable("client closed"));
  if (!transport) {
    if (!ctx.status().ok()) co_return Err(ctx.status());
    backoff_ = std::clamp(backoff_ * 2, kFirstBackoff, kLastBackoff);
    retry_at_ = loop_.Now() + backoff_;
    last_error_ = transport.error();
    co_return Err(last_error_);
  }
  last_error_ = Ok();
  backoff_ = {};
  co_return Add(std::move(*transport));
}

ClientConnection* ClientCore::Add(std::unique_ptr<Transport> transport) {
  bool http2 = !options_.force_http1 &&
               (transport->ssl() ? NegotiatedAlpn(transport->ssl()) == "h2" : options_.http2_prior_knowledge);
  http1_known_ = !http2;
  auto connection = http2 ? NewHttp2Client(*this, std::move(transport), endpoint().authority)
                          : NewHttp1Client(*this, std::move(transport), endpoint().authority);
  ClientConnection* raw = connection.get();
  connections_.emplace(raw, std::move(connection));
  if (http2) {
    shared_ = raw;
  } else if (dialing_) {
    Idle(raw);  // for the first who waits
  }
  ScheduleTick();
  return raw;
}

Task<Result<std::unique_ptr<Transport>>> ClientCore::DialAny(Context ctx, bool http1_only) {
  Status last;
  for (size_t i = 0; i < endpoints_.size(); ++i) {
    const Endpoint& e = endpoint();
    auto transport = co_await DialEndpoint(ctx, e, http1_only);
    if (transport) co_return std::move(*transport);
    last = transport.error().Annotate("dial " + e.address + ": ");
    if (!ctx.status().ok()) break;
    ++current_;
  }
  co_return Err(Unavailable(std::string(last.message())));
}

Task<Result<std::unique_ptr<Transport>>> ClientCore::DialEndpoint(Context ctx, const Endpoint& endpoint,
                                                                  bool http1_only) {
  Context limited = ctx.WithTimeout(loop_, options_.connect_timeout);
  std::vector<SocketAddress> addresses;
  if (auto numeric = ParseSocketAddress(endpoint.address); numeric && endpoint.host != "localhost") {
    addresses.push_back(*numeric);
  } else {
    if (!resolver_) resolver_ = NewThreadPool("resolver", 1);
    CO_TRY_ASSIGN(addresses, co_await Resolve(*resolver_, loop_, endpoint.address));
  }
  Status last = Unavailable("no addresses");
  for (const SocketAddress& address : addresses) {
    auto socket = StartConnecting(address, options_.local_address);
    if (!socket) {
      last = socket.error();
      continue;
    }
    SslPtr ssl;
    if (endpoint.tls) {
      std::vector<std::string> alpn;
      if (http1_only) alpn = {"http/1.1"};
      auto made = NewClientSsl(*options_.tls, socket->fd, endpoint.host, alpn);
      if (!made) {
        ::close(socket->fd);
        co_return Err(made.error());
      }
      ssl = std::move(*made);
    }
    auto transport = co_await FinishConnecting(limited, loop_, *socket, std::move(ssl));
    if (transport) co_return transport;
    last = transport.error();
    if (!limited.status().ok()) break;
  }
  co_return Err(last);
}

Task<Result<std::shared_ptr<ClientCall>>> ClientCore::Start(Context ctx, RequestHead head, std::string prefix,
                                                            SharedBytes piece, bool wait_head) {
  auto self = shared_from_this();
  for (size_t attempt = 0;; ++attempt) {
    bool last = attempt >= endpoints_.size() + 1;
    CO_TRY_ASSIGN(ClientConnection * connection, co_await Acquire(ctx));
    bool reused = connection->reused();
    auto call = connection->Begin(head);
    if (!call) {
      if (last) co_return Err(call.error());
      continue;
    }
    if (piece || !prefix.empty()) {
      // Without waiting for room: it is all in memory anyway, and the server may answer before it has read it.
      (*call)->SendWhole(prefix, piece);
    }
    if (!wait_head) co_return std::move(*call);
    Status answered = co_await (*call)->WaitHead(ctx);
    if (answered.ok()) co_return std::move(*call);
    bool again = (*call)->not_processed() ||
                 (reused && (*call)->failure().code() == Code::kUnavailable && Repeatable(head.method));
    (*call)->Abandon(answered);
    if (!again || last || !ctx.status().ok()) co_return Err(answered);
  }
}

Task<Result<std::unique_ptr<Transport>>> ClientCore::DialHttp1(Context ctx, const Endpoint** used) {
  auto self = shared_from_this();
  if (!bad_options_.ok()) co_return Err(bad_options_);
  CO_TRY_ASSIGN(auto transport, co_await DialAny(ctx, true));
  *used = &endpoint();
  co_return std::move(transport);
}

void ClientCore::ScheduleTick() {
  if (ticking_ || closed_) return;
  ticking_ = true;
  Duration shortest = std::min({options_.keepalive_interval, options_.keepalive_timeout, options_.idle_timeout});
  Duration tick = std::clamp<Duration>(shortest / 4, std::chrono::milliseconds(20), std::chrono::seconds(2));
  loop_.After(tick, [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->Tick();
  });
}

void ClientCore::Tick() {
  ticking_ = false;
  MonoTime now = loop_.Now();
  std::vector<ClientConnection*> all;
  for (auto& [raw, owned] : connections_) all.push_back(raw);
  for (ClientConnection* c : all)
    if (connections_.contains(c)) c->Tick(now);
  if (!connections_.empty()) ScheduleTick();
}

// ---- Client --------------------------------------------------------------------------------------------------------

Task<Result<std::string>> ClientResponse::ReadAll(Context ctx, size_t limit) {
  std::string all;
  for (;;) {
    CO_TRY_ASSIGN(std::string piece, co_await Read(ctx));
    if (piece.empty()) co_return all;
    if (all.size() + piece.size() > limit) co_return Err(ResourceExhausted("response body too large"));
    all.empty() ? void(all = std::move(piece)) : void(all += piece);
  }
}

Client::Client(Loop& loop, ClientOptions options) : impl_(std::make_unique<Impl>()) {
  impl_->core = std::make_shared<ClientCore>(loop, std::move(options));
}

Client::~Client() { impl_->core->Close(Unavailable("client closed")); }

Loop& Client::loop() { return impl_->core->loop(); }

Task<Result<std::unique_ptr<ClientResponse>>> Client::Do(Context ctx, ClientRequest request) {
  auto core = impl_->core;
  SharedBytes body = std::move(request.body);
  bool has_body = body && !body->empty();
  std::optional<size_t> length;
  if (has_body || request.method == "POST" || request.method == "PUT" || request.method == "PATCH")
    length = has_body ? body->size() : 0;
  RequestHead head = HeadOf(request, has_body, length);
  CO_TRY_ASSIGN(auto call, co_await core->Start(ctx, std::move(head), {}, has_body ? body : nullptr, true));
  co_return std::make_unique<Response>(std::move(call));
}

Task<Result<std::unique_ptr<ClientStream>>> Client::Open(Context ctx, ClientRequest request) {
  auto core = impl_->core;
  RequestHead head = HeadOf(request, true, std::nullopt);
  CO_TRY_ASSIGN(auto call, co_await core->Start(ctx, std::move(head), {}, nullptr, false));
  co_return std::make_unique<Stream>(std::move(call));
}

namespace {

// Reads the answer to an upgrade request; `input` keeps what came behind its head.
Task<Status> ReadUpgradeHead(TransportStream& stream, Context ctx, Http1Parser& parser, std::string& input) {
  for (;;) {
    std::string_view rest = input;
    Http1Parser::Event event = parser.Next(rest);
    input.erase(0, input.size() - rest.size());
    if (event == Http1Parser::Event::kHead) {
      if (parser.head().status >= 200 || parser.head().status == 101) co_return Ok();
      parser.Reset();  // an informational answer
      continue;
    }
    if (event == Http1Parser::Event::kError) co_return Unavailable("malformed answer: " + parser.error());
    if (event == Http1Parser::Event::kEnd) continue;
    CO_TRY_ASSIGN(std::string more, co_await stream.Read(ctx, 64 << 10));
    if (more.empty()) co_return Unavailable("connection closed before the answer");
    input += more;
  }
}

Task<Result<std::string>> ReadUpgradeBody(TransportStream& stream, Context ctx, Http1Parser& parser,
                                          std::string input) {
  std::string body;
  for (bool eof = false; body.size() < kUpgradeErrorBody;) {
    std::string_view rest = input;
    Http1Parser::Event event = parser.Next(rest);
    if (event == Http1Parser::Event::kBody) body.append(parser.body());
    input.erase(0, input.size() - rest.size());
    if (event == Http1Parser::Event::kEnd || event == Http1Parser::Event::kError || eof) break;
    if (event != Http1Parser::Event::kNeedMore) continue;
    auto more = co_await stream.Read(ctx, 64 << 10);
    if (!more || more->empty()) break;
    input += *more;
  }
  co_return body;
}

}  // namespace

Task<Result<Client::Upgraded>> Client::Upgrade(Context ctx, ClientRequest request) {
  auto core = impl_->core;
  const Endpoint* endpoint = nullptr;
  CO_TRY_ASSIGN(auto transport, co_await core->DialHttp1(ctx, &endpoint));
  SharedBytes body = std::move(request.body);
  std::optional<size_t> length;
  if (body && !body->empty()) length = body->size();
  RequestHead head = HeadOf(request, length.has_value(), length);
  std::string text = Http1RequestHead(head, endpoint->authority, false);
  if (length) text += *body;
  auto stream = std::make_unique<TransportStream>(std::move(transport), "");
  CO_TRY(co_await stream->Write(ctx, std::move(text)));
  Http1Parser parser(Http1Parser::Kind::kResponse, core->options().max_response_headers);
  std::string input;
  CO_TRY(co_await ReadUpgradeHead(*stream, ctx, parser, input));
  Upgraded out{parser.head().status, parser.head().headers, nullptr, {}};
  if (out.status == 101) {
    stream->Unread(std::move(input));
    out.stream = std::move(stream);
    co_return out;
  }
  CO_TRY_ASSIGN(out.body, co_await ReadUpgradeBody(*stream, ctx, parser, std::move(input)));
  co_return out;
}

}  // namespace base::net
