// The inside of Server, for the engine's own .cc files.
//
//   Server --accept--> Shard (one per loop) --owns--> ServerConnection: Sniffer -> Http1Connection | Http2Connection
//                                                          \--- exchanges, shared with the handlers that run on them
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/net/connection_book.h"
#include "base/net/server.h"
#include "base/net/transport.h"
#include "base/sync.h"

namespace base::net {

// What all shards share; never changes while the server runs.
struct ServerCore {
  Handler handler;
  ServerLimits limits;
  std::shared_ptr<ConnectionBook> book;
  std::atomic<size_t> unread{0};  // see ServerLimits::unread_bytes
};

class ServerConnection {
 public:
  virtual ~ServerConnection() = default;
  // About four times per shortest timeout.
  virtual void Tick(MonoTime now) = 0;
  // No new requests; ends when the running ones have.
  virtual void Drain() = 0;
  // Ends now; running handlers see their contexts end.
  virtual void Abort(const Status& why) = 0;
  // Something that was answered has not left yet.
  virtual bool HasOutput() const { return false; }
};

// One loop's connections. Everything but Adopt is called on that loop.
class Shard : public std::enable_shared_from_this<Shard> {
 public:
  Shard(Loop& loop, std::shared_ptr<ServerCore> core) : loop_(loop), core_(std::move(core)), idle_(loop) {}

  // Thread-safe: takes an accepted socket over.
  void Adopt(int fd, std::shared_ptr<ServerTls> tls, std::string address, ConnectionBook::Place place);
  void Add(std::unique_ptr<ServerConnection> connection, ConnectionBook::Place place);
  // Destroys it in a later turn.
  void Remove(ServerConnection* connection);
  // Replaces one connection object by the next of the same socket.
  void Replace(ServerConnection* old, std::unique_ptr<ServerConnection> fresh);
  Task<void> Stop(Duration drain);
  void AbortAll(const Status& why);

  Loop& loop() { return loop_; }
  const ServerLimits& limits() const { return core_->limits; }
  ServerCore& core() { return *core_; }
  // The handshake has told who the peer is; false: there is no room for the likes of it.
  bool Welcome(ServerConnection* connection, const Peer& peer);
  const Handler& handler() const { return core_->handler; }
  bool draining() const { return draining_; }
  void ExchangeBegan() { ++exchanges_; }
  void ExchangeEnded() {
    if (--exchanges_ == 0) idle_.NotifyAll();
  }

 private:
  struct Held {
    std::unique_ptr<ServerConnection> connection;
    ConnectionBook::Place place;
  };
  void Start(int fd, std::shared_ptr<ServerTls> tls, std::string address, ConnectionBook::Place place);
  void ScheduleTick();
  void Tick();

  Loop& loop_;
  std::shared_ptr<ServerCore> core_;
  std::unordered_map<ServerConnection*, Held> connections_;
  size_t exchanges_ = 0;
  Event idle_;
  bool draining_ = false, ticking_ = false;
};

std::unique_ptr<ServerConnection> NewHttp1Connection(Shard& shard, std::unique_ptr<Transport> transport,
                                                     std::shared_ptr<const Peer> peer, std::string received);
std::unique_ptr<ServerConnection> NewHttp2Connection(Shard& shard, std::unique_ptr<Transport> transport,
                                                     std::shared_ptr<const Peer> peer, std::string received);

// What exchanges of both protocols have in common; the protocol puts bytes on the wire.
class ExchangeBase : public Exchange, public std::enable_shared_from_this<ExchangeBase> {
 public:
  ExchangeBase(Shard& shard, std::shared_ptr<const Peer> peer);
  ~ExchangeBase() override;

  std::string_view method() const override { return method_; }
  std::string_view path() const override { return std::string_view(target_).substr(0, target_.find('?')); }
  std::string_view query() const override {
    size_t mark = target_.find('?');
    return mark == std::string::npos ? std::string_view() : std::string_view(target_).substr(mark + 1);
  }
  const Headers& headers() const override { return headers_; }
  const Peer& peer() const override { return *peer_; }
  const Context& context() const override { return ctx_; }
  Executor& executor() override { return shard_->loop(); }

  Task<Result<std::string>> ReadBody(Context ctx) override;
  Status HoldBody(size_t bytes) override;
  void ReleaseBody() override;
  // Ends the wait for a body that comes too slowly.
  void CheckBody(MonoTime now);
  std::optional<std::string> TakeWholeBody() override;
  Task<Status> Respond(int status, Headers headers, SharedBytes body) override;
  Task<Status> RespondOnce(int status, Headers headers, std::string prefix, SharedBytes piece,
                           Headers trailers) override;
  Task<Status> StartResponse(int status, Headers headers) override;
  Task<Status> Write(SharedBytes piece) override;
  Task<Status> Write(std::string prefix, SharedBytes piece) override;
  bool TryWrite(SharedBytes& piece) override;
  Task<Status> Finish(Headers trailers) override;

  // Starts the handler on this exchange.
  void Start();
  bool responded() const { return answer_ == Answer::kDone; }
  bool handler_done() const { return handler_done_; }
  bool body_ended() const { return body_ended_; }
  size_t body_size() const { return body_.size(); }

 protected:
  // The protocol's half. `end` says that nothing follows the head.
  virtual void SendHead(int status, const Headers& headers, bool end) = 0;
  virtual void SendPiece(std::string_view prefix, SharedBytes piece) = 0;
  virtual void SendEnd(Headers trailers) = 0;
  virtual void GrantBody(size_t n) = 0;
  virtual void BeforeRead() {}
  // The handler has returned; an answer it left open has been closed or broken off.
  virtual void OnHandlerDone() = 0;
  // Answers what the handler did not finish: breaks the exchange off.
  virtual void BreakOff() = 0;

  void BodyArrived(std::string_view bytes);
  void BodyEnded() {
    body_ended_ = true;
    readable_.NotifyAll();
  }
  void OutputDrained() { writable_.NotifyAll(); }
  // The client is gone or the server stops: waits end, the context too.
  void Fail(const Status& why);
  // Waits that heed the context end; the answer may still be given.
  void CancelContext(const Status& why) { ctx_.Cancel(why); }
  // Counts bytes as unread until the exchange ends or Uncount; false: over the server's bound, nothing is counted.
  bool Count(size_t n);
  void Uncount(size_t n);
  // Heads of more than a client might take are cut.
  void FitHead(Headers& headers) const {
    if (headers.bytes() > kSmallHead) [[unlikely]]
      headers.Fit(max_head_bytes());
  }
  // What the client may be sent as a head.
  virtual size_t max_head_bytes() const { return kMaxAnswerHead; }
  // An Upgrade has taken the connection: no answer will follow.
  void MarkUpgraded() { answer_ = Answer::kDone; }

  std::shared_ptr<Shard> shard_;
  std::shared_ptr<const Peer> peer_;
  std::string method_, target_;
  Headers headers_;

 private:
  enum class Answer { kNone, kOpen, kDone };
  // An answer that the handler left out is given, one that it left open is broken off.
  void HandlerEnded();
  Status BeginAnswer(Answer next);
  Task<Status> WaitForRoom();

  static constexpr size_t kSmallHead = 2 << 10;       // nobody takes less
  static constexpr size_t kMaxAnswerHead = 48 << 10;  // nghttp2 sends no more than 64 KiB

  Context ctx_;
  std::string body_;
  size_t counted_ = 0, held_ = 0;
  uint64_t body_received_ = 0;
  std::optional<MonoTime> held_since_;  // somebody waits for the rest of a message
  Status body_failure_;
  bool body_ended_ = false, handler_done_ = false;
  Answer answer_ = Answer::kNone;
  Status failure_;
  Event readable_, writable_;
};

// "Sun, 06 Nov 1994 08:49:37 GMT", refreshed once a second.
std::string_view HttpDate(const Clock& clock);
std::string_view ReasonPhrase(int status);

}  // namespace base::net
