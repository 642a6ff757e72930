// The inside of Client, for the engine's own .cc files.
//
//   Client -> ClientCore --owns--> ClientConnection (HTTP/2: many calls, HTTP/1.1: one) --shares--> ClientCall
//
// Everything is called on the client's loop.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/net/address.h"
#include "base/net/client.h"
#include "base/net/transport.h"
#include "base/sync.h"

namespace base::net {

// A request on its way and its answer, shared by the connection and whoever waits.
class ClientCall {
 public:
  explicit ClientCall(Loop& loop) : changed_(loop), writable_(loop) {}
  virtual ~ClientCall() = default;

  // Waits for the head of the answer.
  Task<Status> WaitHead(Context ctx);
  // Waits for the end of everything.
  Task<Status> WaitEnd(Context ctx);
  Task<Result<std::string>> Read(Context ctx);
  Task<Status> Write(Context ctx, std::string_view prefix, SharedBytes piece);
  Status CloseWrite();
  // The whole body at once, without waiting.
  void SendWhole(std::string_view prefix, SharedBytes piece);
  // Nobody wants the rest: resets the stream (or gives the connection up).
  void Abandon(const Status& why);

  int status() const { return status_; }
  const Headers& headers() const { return headers_; }
  const Headers& trailers() const { return trailers_; }
  const Status& failure() const { return failure_; }
  bool ended() const { return ended_; }
  bool head_ready() const { return head_ready_; }
  // The server has certainly not acted on it: it may be sent again.
  bool not_processed() const { return not_processed_; }
  // What has come of the body so far.
  std::string TakeBody();

 protected:
  virtual void SendPiece(std::string_view prefix, SharedBytes piece) = 0;
  virtual void SendEnd() = 0;
  virtual size_t unsent() const = 0;
  virtual void Grant(size_t n) = 0;
  virtual void Drop() = 0;

  void HeadArrived();
  void BodyArrived(std::string_view bytes);
  void EndArrived();
  void Fail(const Status& why, bool not_processed = false);
  void OutputDrained() { writable_.NotifyAll(); }
  size_t body_size() const { return body_.size(); }

  int status_ = 0;
  Headers headers_, trailers_;

 private:
  std::string body_;
  bool head_ready_ = false, ended_ = false, write_ended_ = false, not_processed_ = false;
  Status failure_;
  Event changed_, writable_;
};

struct RequestHead {
  std::string method, path;
  Headers headers;
  bool has_body = false;         // pieces follow
  std::optional<size_t> length;  // of the body, where known
};

class ClientCore;

class ClientConnection {
 public:
  virtual ~ClientConnection() = default;
  // Takes another call now.
  virtual bool Usable() const = 0;
  // Had served a call before.
  virtual bool reused() const = 0;
  virtual Result<std::shared_ptr<ClientCall>> Begin(const RequestHead& head) = 0;
  virtual void Tick(MonoTime now) = 0;
  virtual void Abort(const Status& why) = 0;
};

struct Endpoint {
  bool tls = false;
  std::string address;    // "host:port" or "unix:/path"
  std::string host;       // verified, SNI
  std::string authority;  // Host, :authority
};
Result<Endpoint> ParseEndpoint(const std::string& url);

class ClientCore : public std::enable_shared_from_this<ClientCore> {
 public:
  ClientCore(Loop& loop, ClientOptions options);

  // A connection for one more call, made when there is none.
  Task<Result<ClientConnection*>> Acquire(Context ctx);
  // Acquires, begins, and tries again what was surely not processed. `piece` (may be null) is the whole body.
  Task<Result<std::shared_ptr<ClientCall>>> Start(Context ctx, RequestHead head, std::string prefix, SharedBytes piece,
                                                  bool wait_head);
  // A connection of its own for an upgrade: connected, its TLS done.
  Task<Result<std::unique_ptr<Transport>>> DialHttp1(Context ctx, const Endpoint** used);
  void Close(const Status& why);

  // From connections.
  void Remove(ClientConnection* connection);
  void Idle(ClientConnection* connection);

  Loop& loop() { return loop_; }
  const ClientOptions& options() const { return options_; }
  const Endpoint& endpoint() const { return endpoints_[current_ % endpoints_.size()]; }

 private:
  ClientConnection* Ready();
  Task<Result<ClientConnection*>> Dial(Context ctx);
  Task<void> DialShared();
  Task<Result<std::unique_ptr<Transport>>> DialEndpoint(Context ctx, const Endpoint& endpoint, bool http1_only);
  Task<Result<std::unique_ptr<Transport>>> DialAny(Context ctx, bool http1_only);
  ClientConnection* Add(std::unique_ptr<Transport> transport);
  bool SharesConnections() const;
  void ScheduleTick();
  void Tick();

  Loop& loop_;
  ClientOptions options_;
  std::vector<Endpoint> endpoints_;
  Status bad_options_;
  size_t current_ = 0;  // the endpoint used last
  Context ctx_;
  std::unique_ptr<BlockingPool> resolver_;
  std::unordered_map<ClientConnection*, std::unique_ptr<ClientConnection>> connections_;
  ClientConnection* shared_ = nullptr;   // HTTP/2
  std::vector<ClientConnection*> idle_;  // HTTP/1.1
  bool http1_known_ = false, dialing_ = false, ticking_ = false, closed_ = false;
  Event dialed_;
  Status last_error_;
  MonoTime retry_at_{};
  Duration backoff_{};
};

std::unique_ptr<ClientConnection> NewHttp1Client(ClientCore& core, std::unique_ptr<Transport> transport,
                                                 std::string authority);
std::unique_ptr<ClientConnection> NewHttp2Client(ClientCore& core, std::unique_ptr<Transport> transport,
                                                 std::string authority);
// The bytes of a request's head in HTTP/1.1.
std::string Http1RequestHead(const RequestHead& head, std::string_view authority, bool chunked);

struct Client::Impl {
  std::shared_ptr<ClientCore> core;
};

}  // namespace base::net
