// The client's half of gRPC over HTTP/2.
#include <charconv>

#include "base/net/client_impl.h"
#include "base/net/grpc.h"
#include "base/net/grpc_wire.h"

namespace base::net {
namespace {

RequestHead MakeHead(Context& ctx, Loop& loop, std::string_view method, Headers metadata) {
  RequestHead head{"POST", std::string(method), {}, true, std::nullopt};
  head.headers.Add("content-type", "application/grpc");
  head.headers.Add("te", "trailers");
  head.headers.Add("user-agent", "grpc-keelson/1.0");
  if (auto deadline = ctx.deadline()) head.headers.Add("grpc-timeout", FormatGrpcTimeout(*deadline - loop.Now()));
  for (const auto& [name, value] : metadata.fields())
    head.headers.Add(name, name.ends_with("-bin") ? EncodeGrpcBinary(value) : value);
  return head;
}

// What an answer that is no gRPC answer means (doc/http-grpc-status-mapping.md).
Status StatusOfHttp(int http) {
  std::string text = "unexpected HTTP status code received from server: " + std::to_string(http);
  switch (http) {
    case 400:
      return Internal(text);
    case 401:
      return Unauthenticated(text);
    case 403:
      return PermissionDenied(text);
    case 404:
      return Unimplemented(text);
    case 429:
    case 502:
    case 503:
    case 504:
      return Unavailable(text);
    default:
      return Unknown(text);
  }
}

using Decoder = std::function<Status(Code, std::string, std::string)>;

Status StatusOf(const ClientCall& call, const Decoder& decode) {
  // Trailers-only answers carry the status in their head.
  const Headers& from = call.trailers().Has("grpc-status") ? call.trailers() : call.headers();
  std::string_view text = from.Get("grpc-status");
  if (text.empty()) {
    if (call.status() != 200) return StatusOfHttp(call.status());
    if (!call.headers().Get("content-type").starts_with("application/grpc"))
      return Unknown("unexpected content-type \"" + std::string(call.headers().Get("content-type")) + "\"");
    return Internal("server closed the stream without sending trailers");
  }
  int code = 2;
  std::from_chars(text.data(), text.data() + text.size(), code);
  if (code == 0) return Ok();
  Code c = code > 16 || code < 0 ? Code::kUnknown : static_cast<Code>(code);
  std::string message = DecodeGrpcMessage(from.Get("grpc-message"));
  std::string details = DecodeGrpcBinary(from.Get("grpc-status-details-bin")).value_or("");
  return decode ? decode(c, std::move(message), std::move(details)) : Status(c, std::move(message));
}

class ClientStreamImpl final : public GrpcClientStream {
 public:
  ClientStreamImpl(std::shared_ptr<ClientCall> call, const Context& ctx, const GrpcLimits& limits, Decoder decode)
      : call_(std::move(call)), limits_(limits), reader_(limits.max_receive_bytes), decode_(std::move(decode)) {
    // The context of the call, not only of a wait: its end resets the stream.
    end_ = ctx.OnDone([call = std::weak_ptr<ClientCall>(call_), ctx_status = ctx] {
      if (auto c = call.lock()) c->Abandon(ctx_status.status());
    });
  }
  ~ClientStreamImpl() override {
    end_.Reset();
    call_->Abandon(Cancelled("stream dropped"));
  }

  Task<Status> Write(Context ctx, SharedBytes message) override {
    if (message->size() > limits_.max_send_bytes)
      co_return ResourceExhausted("trying to send message larger than max (" + std::to_string(message->size()) +
                                  " vs. " + std::to_string(limits_.max_send_bytes) + ")");
    std::string prefix = GrpcPrefix(message->size());
    co_return co_await call_->Write(ctx, prefix, std::move(message));
  }
  Task<Status> CloseWrite(Context) override { co_return call_->CloseWrite(); }

  Task<Result<std::optional<std::string>>> Read(Context ctx) override {
    for (;;) {
      auto message = reader_.Next();
      if (!message) {
        call_->Abandon(message.error());
        co_return Err(message.error());
      }
      if (*message) co_return std::move(*message);
      CO_TRY_ASSIGN(std::string piece, co_await call_->Read(ctx));
      if (piece.empty()) break;
      reader_.Feed(std::move(piece));
    }
    CO_TRY(StatusOf(*call_, decode_));
    if (!reader_.empty()) co_return Err(Internal("unexpected EOF"));
    co_return std::nullopt;
  }

 private:
  std::shared_ptr<ClientCall> call_;
  GrpcLimits limits_;
  GrpcMessageReader reader_;
  Decoder decode_;
  Context::Registration end_;
};

}  // namespace

GrpcChannel::GrpcChannel(Loop& loop, ClientOptions options, GrpcLimits limits)
    : client_(loop,
              [&options] {
                options.http2_prior_knowledge = true;
                return std::move(options);
              }()),
      limits_(limits) {}

Task<Result<std::string>> GrpcChannel::Unary(Context ctx, std::string_view method, SharedBytes request,
                                             Headers metadata) {
  auto core = client_.impl_->core;
  GrpcLimits limits = limits_;
  Decoder decode = decode_status;
  if (request->size() > limits.max_send_bytes)
    co_return Err(ResourceExhausted("trying to send message larger than max (" + std::to_string(request->size()) +
                                    " vs. " + std::to_string(limits.max_send_bytes) + ")"));
  RequestHead head = MakeHead(ctx, core->loop(), method, std::move(metadata));
  std::string prefix = GrpcPrefix(request->size());
  CO_TRY_ASSIGN(auto call, co_await core->Start(ctx, std::move(head), std::move(prefix), std::move(request), true));
  GrpcMessageReader reader(limits.max_receive_bytes);
  Status outcome;
  while (outcome.ok()) {
    auto piece = co_await call->Read(ctx);
    if (!piece) {
      outcome = piece.error();
    } else if (piece->empty()) {
      break;
    } else {
      reader.Feed(std::move(*piece));
      outcome = reader.CheckSize();
    }
  }
  if (!outcome.ok()) {
    call->Abandon(outcome);
    co_return Err(outcome);
  }
  CO_TRY(StatusOf(*call, decode));
  CO_TRY_ASSIGN(auto message, reader.Next());
  if (!message || !reader.empty()) co_return Err(Internal("a unary call wants exactly one message"));
  co_return std::move(*message);
}

Task<Result<std::unique_ptr<GrpcClientStream>>> GrpcChannel::Open(Context ctx, std::string_view method,
                                                                  Headers metadata) {
  auto core = client_.impl_->core;
  GrpcLimits limits = limits_;
  Decoder decode = decode_status;
  RequestHead head = MakeHead(ctx, core->loop(), method, std::move(metadata));
  CO_TRY_ASSIGN(auto call, co_await core->Start(ctx, std::move(head), {}, nullptr, false));
  co_return std::make_unique<ClientStreamImpl>(std::move(call), ctx, limits, std::move(decode));
}

}  // namespace base::net
