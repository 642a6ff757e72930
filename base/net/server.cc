#include "base/net/server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <future>

#include "base/log.h"
#include "base/net/acceptor.h"
#include "base/net/server_impl.h"

namespace base::net {

namespace {
constexpr std::string_view kTooManyBodies = "the server holds too many unread requests, please try again later";
}  // namespace

// ---- Exchange: what both protocols share ---------------------------------------------------------------------------

Task<Result<std::string>> Exchange::ReadAll(Context ctx, size_t limit) {
  if (auto whole = TakeWholeBody()) {
    if (whole->size() > limit) co_return Err(ResourceExhausted("request body too large"));
    co_return std::move(*whole);
  }
  std::string all;
  for (;;) {
    CO_TRY(HoldBody(all.capacity()));
    CO_TRY_ASSIGN(std::string piece, co_await ReadBody(ctx));
    if (piece.empty()) {
      ReleaseBody();
      co_return all;
    }
    if (all.size() + piece.size() > limit) co_return Err(ResourceExhausted("request body too large"));
    all.empty() ? void(all = std::move(piece)) : void(all += piece);
  }
}

Task<Status> Exchange::Respond(int status, Headers headers, std::string body) {
  return Respond(status, std::move(headers), Share(std::move(body)));
}

ExchangeBase::ExchangeBase(Shard& shard, std::shared_ptr<const Peer> peer)
    : shard_(shard.shared_from_this()),
      peer_(std::move(peer)),
      ctx_(Context().WithCancel()),
      readable_(shard.loop()),
      writable_(shard.loop()) {}

ExchangeBase::~ExchangeBase() { Uncount(counted_); }

bool ExchangeBase::Count(size_t n) {
  ServerCore& core = shard_->core();
  size_t limit = peer_->local || peer_->verified_chain ? core.limits.unread_bytes : core.limits.unread_bytes / 2;
  if (core.unread.fetch_add(n, std::memory_order_relaxed) + n > limit) {
    core.unread.fetch_sub(n, std::memory_order_relaxed);
    return false;
  }
  counted_ += n;
  return true;
}

void ExchangeBase::Uncount(size_t n) {
  counted_ -= n;
  if (n > 0) shard_->core().unread.fetch_sub(n, std::memory_order_relaxed);
}

void ExchangeBase::BodyArrived(std::string_view bytes) {
  body_received_ += bytes.size();
  if (body_failure_.ok() && Count(bytes.size())) {
    body_.append(bytes);
  } else {
    if (body_failure_.ok()) body_failure_ = Unavailable(std::string(kTooManyBodies));
    GrantBody(bytes.size());
  }
  readable_.NotifyAll();
}

Status ExchangeBase::HoldBody(size_t bytes) {
  if (!held_since_) held_since_ = shard_->loop().Now();
  if (bytes <= held_) return Ok();
  if (!Count(bytes - held_)) return Unavailable(std::string(kTooManyBodies));
  held_ = bytes;
  return Ok();
}

void ExchangeBase::ReleaseBody() {
  held_since_.reset();
  Uncount(std::exchange(held_, 0));
}

void ExchangeBase::CheckBody(MonoTime now) {
  if (!held_since_ || body_ended_ || !body_failure_.ok()) return;
  const ServerLimits& l = shard_->limits();
  Duration allowed = Duration(l.body_grace) + std::chrono::seconds(body_received_ / l.min_body_rate);
  if (now - *held_since_ <= allowed) return;
  body_failure_ = DeadlineExceeded("the body of the request comes too slowly");
  readable_.NotifyAll();
}

void ExchangeBase::Start() {
  shard_->ExchangeBegan();
  auto self = shared_from_this();
  SpawnCaught([this] { return shard_->handler()(*this); },
              [self](const std::exception_ptr* thrown) {
                if (thrown)
                  LogError("A request was ended by an exception", Internal(DescribeException(*thrown)),
                           {{"method", self->method()}, {"path", self->path()}});
                self->HandlerEnded();
              });
}

void ExchangeBase::HandlerEnded() {
  handler_done_ = true;
  if (failure_.ok() && answer_ == Answer::kNone) {
    Headers headers;
    headers.Add("content-type", "text/plain; charset=utf-8");
    (void)BeginAnswer(Answer::kDone);
    SendHead(500, headers, true);
  } else if (failure_.ok() && answer_ == Answer::kOpen) {
    BreakOff();
  }
  OnHandlerDone();
  shard_->ExchangeEnded();
}

void ExchangeBase::Fail(const Status& why) {
  if (!failure_.ok()) return;
  failure_ = why.ok() ? Cancelled("connection closed") : why;
  readable_.NotifyAll();
  writable_.NotifyAll();
  ctx_.Cancel(failure_);
}

Task<Result<std::string>> ExchangeBase::ReadBody(Context ctx) {
  BeforeRead();
  while (body_.empty()) {
    if (!body_failure_.ok()) co_return Err(body_failure_);
    if (body_ended_) co_return std::string();
    if (!failure_.ok()) co_return Err(failure_);
    CO_TRY(co_await readable_.Wait(ctx));
  }
  std::string piece = std::exchange(body_, {});
  Uncount(piece.size());
  GrantBody(piece.size());
  co_return piece;
}

std::optional<std::string> ExchangeBase::TakeWholeBody() {
  if (!body_ended_ || !body_failure_.ok()) return std::nullopt;
  std::string whole = std::exchange(body_, {});
  Uncount(whole.size());
  GrantBody(whole.size());
  return whole;
}

Status ExchangeBase::BeginAnswer(Answer next) {
  if (!failure_.ok()) return failure_;
  if (answer_ != Answer::kNone) return FailedPrecondition("the answer has already begun");
  answer_ = next;
  return Ok();
}

Task<Status> ExchangeBase::WaitForRoom() {
  while (unsent_bytes() > shard_->limits().write_buffer) {
    CO_TRY(co_await writable_.Wait(ctx_));
    if (!failure_.ok()) co_return failure_;
  }
  co_return Ok();
}

Task<Status> ExchangeBase::Respond(int status, Headers headers, SharedBytes body) {
  CO_TRY(BeginAnswer(Answer::kDone));
  size_t size = body ? body->size() : 0;
  bool allowed = status >= 200 && status != 204 && status != 304;
  if (allowed && !headers.Has("content-length")) headers.Add("content-length", std::to_string(size));
  bool empty = size == 0 || !allowed || method_ == "HEAD";
  FitHead(headers);
  SendHead(status, headers, empty);
  if (empty) co_return Ok();
  SendPiece({}, std::move(body));
  SendEnd({});
  co_return Ok();
}

Task<Status> ExchangeBase::RespondOnce(int status, Headers headers, std::string prefix, SharedBytes piece,
                                       Headers trailers) {
  CO_TRY(BeginAnswer(Answer::kDone));
  FitHead(headers);
  FitHead(trailers);
  SendHead(status, headers, false);
  SendPiece(prefix, std::move(piece));
  SendEnd(std::move(trailers));
  co_return Ok();
}

Task<Status> ExchangeBase::StartResponse(int status, Headers headers) {
  CO_TRY(BeginAnswer(Answer::kOpen));
  FitHead(headers);
  SendHead(status, headers, false);
  co_return Ok();
}

Task<Status> ExchangeBase::Write(SharedBytes piece) { return Write({}, std::move(piece)); }

Task<Status> ExchangeBase::Write(std::string prefix, SharedBytes piece) {
  if (!failure_.ok()) co_return failure_;
  if (answer_ != Answer::kOpen) co_return FailedPrecondition("the answer has not begun or is over");
  if (method_ != "HEAD") SendPiece(prefix, std::move(piece));
  if (unsent_bytes() > shard_->limits().write_buffer) co_return co_await WaitForRoom();
  co_return Ok();
}

bool ExchangeBase::TryWrite(SharedBytes& piece) {
  if (!failure_.ok() || answer_ != Answer::kOpen || unsent_bytes() > shard_->limits().write_buffer) return false;
  if (method_ != "HEAD") SendPiece({}, std::move(piece));
  return true;
}

Task<Status> ExchangeBase::Finish(Headers trailers) {
  if (!failure_.ok()) co_return failure_;
  if (answer_ != Answer::kOpen) co_return FailedPrecondition("the answer has not begun or is over");
  answer_ = Answer::kDone;
  FitHead(trailers);
  SendEnd(std::move(trailers));
  co_return Ok();
}

std::string_view HttpDate(const Clock& clock) {
  thread_local time_t at = 0;
  thread_local char text[40];
  thread_local size_t length = 0;
  time_t now = std::chrono::duration_cast<std::chrono::seconds>(clock.WallNow().time_since_epoch()).count();
  if (now != at) {
    tm t;
    ::gmtime_r(&now, &t);
    length = std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &t);
    at = now;
  }
  return {text, length};
}

// tidy: length: RFC 9110's phrases, one case each
std::string_view ReasonPhrase(int status) {
  switch (status) {
    case 100:
      return "Continue";
    case 101:
      return "Switching Protocols";
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 206:
      return "Partial Content";
    case 301:
      return "Moved Permanently";
    case 302:
      return "Found";
    case 304:
      return "Not Modified";
    case 307:
      return "Temporary Redirect";
    case 308:
      return "Permanent Redirect";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 406:
      return "Not Acceptable";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 410:
      return "Gone";
    case 412:
      return "Precondition Failed";
    case 413:
      return "Request Entity Too Large";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 422:
      return "Unprocessable Entity";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Status";
  }
}

// ---- Sniffer: the beginning of a connection, until its protocol is known --------------------------------------------

namespace {

constexpr std::string_view kHttp2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

class Sniffer final : public ServerConnection, public TransportUser {
 public:
  Sniffer(Shard& shard, int fd, SslPtr ssl, std::string address, bool local)
      : shard_(shard), transport_(std::make_unique<Transport>(shard.loop(), fd, std::move(ssl), *this)) {
    peer_.address = std::move(address);
    peer_.local = local;
    began_ = shard.loop().Now();
  }
  Status Start() { return transport_->Start(false); }

  void Tick(MonoTime now) override {
    Duration patience = shard_.limits().header_timeout;
    // Where others wait for a place, whoever has not said anything must be quick.
    if (!peer_.local && shard_.core().book->Crowded()) patience /= 6;
    if (now - began_ > patience) Abort(DeadlineExceeded("no request came"));
  }
  void Drain() override { Abort(Unavailable("server is shutting down")); }
  void Abort(const Status&) override {
    if (transport_) transport_->Close();
    shard_.Remove(this);
  }

  void OnConnected() override {
    DescribePeer(transport_->ssl(), peer_);
    if (!shard_.Welcome(this, peer_)) return Abort(ResourceExhausted("too many connections"));
    if (NegotiatedAlpn(transport_->ssl()) == "h2") Become(NewHttp2Connection);
  }
  void OnReadable() override {
    while (transport_) {
      Transport::ReadResult r = transport_->Read(ReadBuffer(), kReadBufferBytes);
      if (r.end == Transport::ReadEnd::kAgain) return;
      if (r.end != Transport::ReadEnd::kData) return Abort(Unavailable("closed"));
      received_.append(ReadBuffer(), r.size);
      std::string_view seen = std::string_view(received_).substr(0, kHttp2Preface.size());
      if (!kHttp2Preface.starts_with(seen)) return Become(NewHttp1Connection);
      if (seen.size() == kHttp2Preface.size()) return Become(NewHttp2Connection);
    }
  }
  void OnFill() override {}
  void OnFailed(const Status&) override { shard_.Remove(this); }

 private:
  using Factory = std::unique_ptr<ServerConnection> (*)(Shard&, std::unique_ptr<Transport>, std::shared_ptr<const Peer>,
                                                        std::string);
  void Become(Factory factory) {
    auto next =
        factory(shard_, std::move(transport_), std::make_shared<const Peer>(std::move(peer_)), std::move(received_));
    shard_.Replace(this, std::move(next));
  }

  Shard& shard_;
  std::unique_ptr<Transport> transport_;
  Peer peer_;
  std::string received_;
  MonoTime began_;
};

}  // namespace

// ---- Shard ---------------------------------------------------------------------------------------------------------

void Shard::Adopt(int fd, std::shared_ptr<ServerTls> tls, std::string address, ConnectionBook::Place place) {
  loop_.Post(
      [self = shared_from_this(), fd, tls = std::move(tls), address = std::move(address),
       place = std::move(place)]() mutable { self->Start(fd, std::move(tls), std::move(address), std::move(place)); });
}

void Shard::Start(int fd, std::shared_ptr<ServerTls> tls, std::string address, ConnectionBook::Place place) {
  if (draining_) {
    ::close(fd);
    return;
  }
  SslPtr ssl = tls ? NewServerSsl(*tls, fd) : nullptr;
  auto connection = std::make_unique<Sniffer>(*this, fd, std::move(ssl), std::move(address), place.local());
  Sniffer& raw = *connection;
  Add(std::move(connection), std::move(place));
  Status started = raw.Start();
  if (!started.ok()) Remove(&raw);
}

void Shard::Add(std::unique_ptr<ServerConnection> connection, ConnectionBook::Place place) {
  ServerConnection* raw = connection.get();
  connections_.emplace(raw, Held{std::move(connection), std::move(place)});
  ScheduleTick();
}

bool Shard::Welcome(ServerConnection* connection, const Peer& peer) {
  auto it = connections_.find(connection);
  if (it == connections_.end()) return false;
  if (peer.verified_chain) it->second.place.Identified();
  return !it->second.place.Unwelcome();
}

void Shard::Remove(ServerConnection* connection) {
  auto it = connections_.find(connection);
  if (it == connections_.end()) return;
  loop_.Post([self = shared_from_this(), dying = std::move(it->second.connection)] {});
  connections_.erase(it);
}

void Shard::Replace(ServerConnection* old, std::unique_ptr<ServerConnection> fresh) {
  auto it = connections_.find(old);
  ConnectionBook::Place place = it == connections_.end() ? ConnectionBook::Place() : std::move(it->second.place);
  Remove(old);
  if (fresh) Add(std::move(fresh), std::move(place));
}

void Shard::ScheduleTick() {
  if (ticking_) return;
  ticking_ = true;
  const ServerLimits& l = core_->limits;
  Duration shortest = std::min({Duration(l.header_timeout), Duration(l.idle_timeout), Duration(l.ping_interval),
                                Duration(l.write_stall_timeout)});
  Duration tick = std::clamp<Duration>(shortest / 4, std::chrono::milliseconds(20), std::chrono::seconds(2));
  loop_.After(tick, [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->Tick();
  });
}

void Shard::Tick() {
  ticking_ = false;
  MonoTime now = loop_.Now();
  // A tick may end its connection, which removes it from the map.
  std::vector<ServerConnection*> all;
  all.reserve(connections_.size());
  for (auto& [raw, owned] : connections_) all.push_back(raw);
  for (ServerConnection* c : all)
    if (connections_.contains(c)) c->Tick(now);
  if (!connections_.empty()) ScheduleTick();
}

void Shard::AbortAll(const Status& why) {
  std::vector<ServerConnection*> all;
  for (auto& [raw, owned] : connections_) all.push_back(raw);
  for (ServerConnection* c : all)
    if (connections_.contains(c)) c->Abort(why);
}

Task<void> Shard::Stop(Duration drain) {
  auto self = shared_from_this();
  draining_ = true;
  std::vector<ServerConnection*> all;
  for (auto& [raw, owned] : connections_) all.push_back(raw);
  for (ServerConnection* c : all)
    if (connections_.contains(c)) c->Drain();
  Context until = Context().WithTimeout(loop_, drain);
  while (exchanges_ > 0) {
    if (!(co_await idle_.Wait(until)).ok()) break;
  }
  // What has been answered still leaves.
  auto has_output = [this] {
    return std::any_of(connections_.begin(), connections_.end(),
                       [](const auto& c) { return c.second.connection->HasOutput(); });
  };
  do (void)co_await Sleep(loop_, Context(), std::chrono::milliseconds(1));
  while (has_output() && !until.done());
  AbortAll(Unavailable("server is shutting down"));
  while (exchanges_ > 0) (void)co_await idle_.Wait(Context());
}

// ---- Listeners -----------------------------------------------------------------------------------------------------

namespace {

// One address: who may come in there is given a place and a shard.
class Listener {
 public:
  Listener(Loop& loop, int fd, std::shared_ptr<ServerTls> tls, std::string unix_path)
      : acceptor_(loop, fd, [this](int accepted, const sockaddr_storage& from) { Take(accepted, from); }),
        tls_(std::move(tls)),
        unix_path_(std::move(unix_path)) {}
  ~Listener() {
    if (!unix_path_.empty()) ::unlink(unix_path_.c_str());
  }
  Status Start(ServerCore& core, const std::vector<std::shared_ptr<Shard>>& shards, size_t& next) {
    core_ = &core;
    shards_ = &shards;
    next_ = &next;
    return acceptor_.Start();
  }

 private:
  void Take(int fd, const sockaddr_storage& from) {
    auto place = core_->book->Enter(from, tls_ != nullptr);
    if (!place) {
      ::close(fd);
      return;
    }
    if (from.ss_family != AF_UNIX) TuneTcp(fd);
    (*shards_)[(*next_)++ % shards_->size()]->Adopt(fd, tls_, AddressText(from), std::move(*place));
  }

  Acceptor acceptor_;
  std::shared_ptr<ServerTls> tls_;
  std::string unix_path_;
  ServerCore* core_ = nullptr;
  const std::vector<std::shared_ptr<Shard>>* shards_ = nullptr;
  size_t* next_ = nullptr;
};

}  // namespace

struct Server::Impl {
  std::vector<Loop*> loops;
  std::shared_ptr<ServerCore> core;
  std::vector<std::shared_ptr<Shard>> shards;
  std::vector<std::unique_ptr<Listener>> listeners;
  size_t next_shard = 0;
  bool stopped = false;

  Status Add(int fd, std::shared_ptr<ServerTls> tls, std::string unix_path) {
    auto listener = std::make_unique<Listener>(*loops[0], fd, std::move(tls), std::move(unix_path));
    TRY(listener->Start(*core, shards, next_shard));
    listeners.push_back(std::move(listener));
    return Ok();
  }
};

Server::Server(std::vector<Loop*> loops, Handler handler, ServerLimits limits) : impl_(std::make_unique<Impl>()) {
  // unreachable from outside: the daemon's own call at start
  CHECK_MSG(!loops.empty(), "a server needs a loop");
  impl_->core = std::make_shared<ServerCore>();
  impl_->core->handler = std::move(handler);
  impl_->core->limits = limits;
  size_t kept = std::min(limits.kept_connections, limits.max_connections / 4);
  impl_->core->book = std::make_shared<ConnectionBook>(limits.max_connections, limits.max_connections_per_peer, kept);
  impl_->loops = std::move(loops);
  for (Loop* loop : impl_->loops) impl_->shards.push_back(std::make_shared<Shard>(*loop, impl_->core));
}

// Connections that Stop has not ended are dropped. A loop that runs on another thread is asked to; one that does not
// run (or is ours) is done here.
Server::~Server() {
  impl_->listeners.clear();
  if (impl_->stopped) return;
  for (size_t i = 0; i < impl_->shards.size(); ++i) {
    auto abort = [shard = impl_->shards[i]] { shard->AbortAll(Unavailable("server destroyed")); };
    if (impl_->loops[i]->impl().RunsElsewhere()) {
      impl_->loops[i]->Post(abort);
    } else {
      abort();
    }
  }
}

Result<std::string> Server::Listen(const std::string& address, std::shared_ptr<ServerTls> tls, bool share_port) {
  TRY_ASSIGN(SocketAddress where, ParseSocketAddress(address));
  std::string unix_path = address.starts_with("unix:") ? UnixPath(address) : "";
  if (!unix_path.empty()) {
    // A socket file that nobody listens on any more is in the way of bind().
    struct stat st;
    if (::stat(unix_path.c_str(), &st) == 0 && S_ISSOCK(st.st_mode)) ::unlink(unix_path.c_str());
  }
  Result<int> opened = OpenListener(where, share_port);
  // Every address of a machine without IPv6.
  if (!opened && (address.starts_with(':') || address.starts_with("[::]:"))) {
    TRY_ASSIGN(where, ParseSocketAddress("0.0.0.0" + address.substr(address.rfind(':'))));
    opened = OpenListener(where, share_port);
  }
  if (!opened) return Err(opened.error());
  std::string bound = unix_path.empty() ? BoundAddress(*opened) : "unix:" + unix_path;
  TRY(impl_->Add(*opened, std::move(tls), unix_path));
  return bound;
}

Task<void> Server::Stop(Duration drain) {
  impl_->stopped = true;
  impl_->listeners.clear();
  Loop& home = *impl_->loops[0];
  TaskScope scope(home, Context());
  for (size_t i = 0; i < impl_->shards.size(); ++i) {
    scope.Spawn([](Loop& home, Loop& loop, std::shared_ptr<Shard> shard, Duration drain) -> Task<void> {
      if (&loop != &home) co_await ResumeOn(loop);
      co_await shard->Stop(drain);
      if (&loop != &home) co_await ResumeOn(home);
    }(home, *impl_->loops[i], impl_->shards[i], drain));
  }
  co_await scope.Join();
}

size_t Server::connections() const { return impl_->core->book->size(); }

}  // namespace base::net
