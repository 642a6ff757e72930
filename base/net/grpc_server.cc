// The server's half of gRPC over HTTP/2 (github.com/grpc/grpc doc/PROTOCOL-HTTP2.md).
#include "base/log.h"
#include "base/net/grpc.h"
#include "base/net/grpc_wire.h"

namespace base::net {
namespace {

Headers ResponseHead() {
  Headers h;
  h.Add("content-type", "application/grpc");
  return h;
}

// Clients in use take heads of 8 to 16 KiB; beyond, they end the call without a word of ours.
constexpr size_t kMaxMessage = 2 << 10;
constexpr size_t kMaxDetails = 4 << 10;  // before base64

using EncodeDetails = std::function<std::string(const Status&, size_t)>;

void AddStatus(Headers& out, const Status& status, const EncodeDetails& encode_details) {
  out.Add("grpc-status", std::to_string(static_cast<int>(status.code())));
  if (status.ok()) return;
  std::string_view message = status.message();
  if (message.size() > kMaxMessage) {
    size_t end = kMaxMessage;
    while (end > 0 && (static_cast<unsigned char>(message[end]) & 0xC0) == 0x80) --end;
    message = message.substr(0, end);
  }
  if (!message.empty()) out.Add("grpc-message", EncodeGrpcMessage(message));
  if (encode_details) {
    std::string details = encode_details(status, kMaxDetails);
    if (!details.empty() && details.size() <= kMaxDetails)
      out.Add("grpc-status-details-bin", EncodeGrpcBinary(details));
  }
}

// What the head of a call says before any message is read.
struct CallHead {
  Status error;
  std::optional<Duration> timeout;
};
CallHead ReadHead(const Exchange& exchange) {
  CallHead head;
  const Headers& h = exchange.headers();
  if (auto encoding = h.Get("grpc-encoding"); !encoding.empty() && encoding != "identity") {
    head.error =
        Unimplemented("grpc: Decompressor is not installed for grpc-encoding \"" + std::string(encoding) + "\"");
    return head;
  }
  if (auto timeout = h.Get("grpc-timeout"); !timeout.empty()) {
    head.timeout = ParseGrpcTimeout(timeout);
    if (!head.timeout) head.error = Internal("malformed grpc-timeout: " + std::string(timeout));
  }
  return head;
}

Status TooLong(uint64_t size, const GrpcLimits& limits) {
  if (size <= limits.max_send_bytes) return Ok();
  return ResourceExhausted("trying to send message larger than max (" + std::to_string(size) + " vs. " +
                           std::to_string(limits.max_send_bytes) + ")");
}

// What a client hears of a handler that threw; the log says the rest.
Status Broken(const Exchange& exchange, const std::exception_ptr& thrown) {
  Status error = Internal(DescribeException(thrown));
  LogError("A call was ended by an exception", error, {{"method", exchange.path()}});
  return Internal("the server failed while it handled the call");
}

// One call's state, both kinds.
class ServerStream final : public GrpcServerStream {
 public:
  ServerStream(Exchange& exchange, GrpcCall call, const GrpcLimits& limits)
      : exchange_(exchange), call_(std::move(call)), limits_(limits), reader_(limits.max_receive_bytes) {}

  const GrpcCall& call() const override { return call_; }
  size_t unsent_bytes() const override { return exchange_.unsent_bytes(); }
  void AddTrailer(std::string name, std::string value) override { trailers_.Add(std::move(name), std::move(value)); }

  Task<Result<std::optional<std::string>>> Read() override {
    for (;;) {
      CO_TRY_ASSIGN(auto message, reader_.Next());
      if (message) {
        exchange_.ReleaseBody();
        co_return message;
      }
      if (!reader_.empty()) CO_TRY(exchange_.HoldBody(reader_.memory()));
      CO_TRY_ASSIGN(std::string piece, co_await exchange_.ReadBody(call_.ctx));
      if (piece.empty()) {
        if (!reader_.empty()) co_return Err(Internal("unexpected EOF"));
        co_return std::nullopt;
      }
      reader_.Feed(std::move(piece));
    }
  }

  Task<Status> Write(SharedBytes message) override {
    CO_TRY(TooLong(message->size(), limits_));
    if (!started_) CO_TRY(co_await Start());
    co_return co_await exchange_.Write(GrpcPrefix(message->size()), std::move(message));
  }

  Task<Status> Start() {
    started_ = true;
    return exchange_.StartResponse(200, std::move(head_));
  }

  bool started() const { return started_; }
  Headers& head() { return head_; }
  Headers& trailers() { return trailers_; }
  GrpcMessageReader& reader() { return reader_; }

 private:
  Exchange& exchange_;
  GrpcCall call_;
  GrpcLimits limits_;
  GrpcMessageReader reader_;
  Headers head_ = ResponseHead(), trailers_;
  bool started_ = false;
};

class LongAnswer final : public GrpcLongAnswer {
 public:
  LongAnswer(Exchange& exchange, const GrpcLimits& limits) : exchange_(exchange), limits_(limits) {}
  Task<Status> Begin(uint64_t size) override {
    CO_TRY(TooLong(size, limits_));
    begun_ = true;
    CO_TRY(co_await exchange_.StartResponse(200, ResponseHead()));
    co_return co_await exchange_.Write(Share(GrpcPrefix(size)));
  }
  Task<Status> Write(SharedBytes piece) override { return exchange_.Write(std::move(piece)); }
  bool begun() const { return begun_; }

 private:
  Exchange& exchange_;
  const GrpcLimits& limits_;
  bool begun_ = false;
};

// The one message of a unary request.
Task<Result<std::string>> ReadUnary(Exchange& exchange, const Context& ctx, const GrpcLimits& limits) {
  GrpcMessageReader reader(limits.max_receive_bytes);
  if (auto whole = exchange.TakeWholeBody()) {
    reader.Feed(std::move(*whole));
  } else {
    for (;;) {
      CO_TRY(exchange.HoldBody(reader.memory()));
      CO_TRY_ASSIGN(std::string piece, co_await exchange.ReadBody(ctx));
      if (piece.empty()) break;
      reader.Feed(std::move(piece));
      CO_TRY(reader.CheckSize());
      if (reader.HasMore()) co_return Err(Internal("more than one message in a unary call"));
    }
    exchange.ReleaseBody();
  }
  CO_TRY_ASSIGN(auto message, reader.Next());
  if (!message) co_return Err(Internal(reader.empty() ? "no request message" : "unexpected EOF"));
  if (!reader.empty()) co_return Err(Internal("more than one message in a unary call"));
  co_return std::move(*message);
}

}  // namespace

void GrpcService::Unary(std::string method, GrpcUnaryHandler handler) {
  // unreachable from outside: the table is made at start
  CHECK_MSG(methods_.try_emplace(method, Method{std::move(handler), nullptr}).second, method);
}
void GrpcService::Stream(std::string method, GrpcStreamHandler handler) {
  // unreachable from outside: the table is made at start
  CHECK_MSG(methods_.try_emplace(method, Method{nullptr, std::move(handler)}).second, method);
}
void GrpcService::SetInterceptor(Interceptor interceptor) { interceptor_ = std::move(interceptor); }

bool GrpcService::Accepts(const Exchange& exchange) {
  std::string_view type = exchange.headers().Get("content-type");
  return exchange.http_major() == 2 && type.starts_with("application/grpc") &&
         (type.size() == 16 || type[16] == '+' || type[16] == ';');
}

Task<Status> GrpcService::SendStatus(Exchange& exchange, const Status& status, Headers trailers) {
  Headers head = ResponseHead();
  AddStatus(head, status, encode_details);
  for (const auto& [name, value] : trailers.fields()) head.Add(name, value);
  // Trailers-only: the status stands in the one and only head.
  return exchange.Respond(200, std::move(head), SharedBytes());
}

Task<void> GrpcService::Serve(Exchange& exchange) {
  auto it = methods_.find(exchange.path());
  if (it == methods_.end()) {
    std::string path(exchange.path());
    size_t slash = path.rfind('/');
    std::string service = slash == std::string::npos || slash == 0 ? "" : path.substr(1, slash - 1);
    bool known = false;
    for (const auto& [name, unused] : methods_) known |= name.starts_with("/" + service + "/");
    (void)co_await SendStatus(
        exchange,
        Unimplemented(known ? "unknown method " + path.substr(slash + 1) + " for service " + service
                            : "unknown service " + service),
        {});
    co_return;
  }
  CallHead head = ReadHead(exchange);
  if (!head.error.ok()) {
    (void)co_await SendStatus(exchange, head.error, {});
    co_return;
  }
  Context ctx = exchange.context();
  if (head.timeout) ctx = ctx.WithTimeout(exchange.executor(), *head.timeout);
  GrpcCall call{exchange.headers(), exchange.peer(), ctx, exchange.executor()};
  if (interceptor_) {
    Status allowed;
    try {
      allowed = co_await interceptor_(it->first, call);
    } catch (...) {
      allowed = Broken(exchange, std::current_exception());
    }
    if (!allowed.ok()) {
      (void)co_await SendStatus(exchange, allowed, {});
      co_return;
    }
  }
  if (it->second.unary) {
    co_await ServeUnary(exchange, call, it->second.unary);
  } else {
    co_await ServeStream(exchange, call, it->second.stream);
  }
}

Task<void> GrpcService::ServeUnary(Exchange& exchange, GrpcCall call, const GrpcUnaryHandler& handler) {
  auto request = co_await ReadUnary(exchange, call.ctx, limits_);
  if (!request) {
    (void)co_await SendStatus(exchange, request.error(), {});
    co_return;
  }
  LongAnswer long_answer(exchange, limits_);
  call.long_answer = &long_answer;
  Result<std::string> response;
  try {
    response = co_await handler(call, std::move(*request));
  } catch (...) {
    response = Err(Broken(exchange, std::current_exception()));
  }
  Headers trailers;
  if (long_answer.begun()) {
    AddStatus(trailers, StatusOf(response), encode_details);
    (void)co_await exchange.Finish(std::move(trailers));
    co_return;
  }
  Status too_long = response ? TooLong(response->size(), limits_) : Ok();
  if (!response || !too_long.ok()) {
    (void)co_await SendStatus(exchange, response ? too_long : response.error(), {});
    co_return;
  }
  trailers.Add("grpc-status", "0");
  std::string prefix = GrpcPrefix(response->size());
  (void)co_await exchange.RespondOnce(200, ResponseHead(), std::move(prefix), Share(std::move(*response)),
                                      std::move(trailers));
}

Task<void> GrpcService::ServeStream(Exchange& exchange, const GrpcCall& call, const GrpcStreamHandler& handler) {
  ServerStream stream(exchange, call, limits_);
  Status status;
  try {
    status = co_await handler(stream);
  } catch (...) {
    status = Broken(exchange, std::current_exception());
  }
  if (!stream.started()) {
    if (status.ok() || !stream.head().fields().empty()) {
      // Metadata was set, or a client waits for headers before it looks at trailers.
      Headers extra = stream.trailers();
      for (const auto& [name, value] : stream.head().fields())
        if (name != "content-type") extra.Add(name, value);
      (void)co_await SendStatus(exchange, status, std::move(extra));
      co_return;
    }
    (void)co_await SendStatus(exchange, status, stream.trailers());
    co_return;
  }
  Headers trailers;
  AddStatus(trailers, status, encode_details);
  for (const auto& [name, value] : stream.trailers().fields()) trailers.Add(name, value);
  (void)co_await exchange.Finish(std::move(trailers));
}

}  // namespace base::net
