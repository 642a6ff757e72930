#include "machinery/client/connection.h"

#include "base/net/grpc.h"
#include "machinery/object/api_error.h"
#include "proto/resources/v1/resources.pb.h"

namespace machinery::client {
namespace {
namespace wire = keelson::resources::v1;

constexpr std::string_view kDo = "/keelson.resources.v1.Resources/Do";
constexpr std::string_view kWatch = "/keelson.resources.v1.Resources/Watch";
// A list of everything is one message.
constexpr size_t kMaxAnswer = size_t{1} << 30;

std::string_view PatchName(request::PatchType type) {
  constexpr std::string_view kNames[] = {"", "json", "merge", "strategic", "apply"};
  return kNames[static_cast<int>(type)];
}

void FillOptions(wire::Options& out, request::Options in) {
  out.set_label_selector(std::move(in.label_selector));
  out.set_field_selector(std::move(in.field_selector));
  out.set_resource_version(std::move(in.resource_version));
  out.set_resource_version_match(std::move(in.resource_version_match));
  out.set_limit(in.limit);
  out.set_continue_token(std::move(in.continue_token));
  if (in.timeout_seconds) out.set_timeout_seconds(*in.timeout_seconds);
  out.set_allow_watch_bookmarks(in.allow_watch_bookmarks);
  if (in.send_initial_events) out.set_send_initial_events(*in.send_initial_events);
  for (auto& d : in.dry_run) out.add_dry_run(std::move(d));
  out.set_field_manager(std::move(in.field_manager));
  out.set_field_validation(std::move(in.field_validation));
  if (in.force) out.set_force(*in.force);
  if (in.grace_period_seconds) out.set_grace_period_seconds(*in.grace_period_seconds);
  out.set_propagation_policy(std::move(in.propagation_policy));
  if (in.orphan_dependents) out.set_orphan_dependents(*in.orphan_dependents);
  if (in.precondition_uid) out.set_precondition_uid(std::move(*in.precondition_uid));
  if (in.precondition_resource_version)
    out.set_precondition_resource_version(std::move(*in.precondition_resource_version));
  out.set_include_object(std::move(in.include_object));
}

base::SharedBytes Encode(request::Request in) {
  wire::Request out;
  out.set_verb(std::string(request::VerbName(in.verb)));
  out.set_group(std::move(in.group));
  out.set_version(std::move(in.version));
  out.set_resource(std::move(in.resource));
  out.set_namespace_name(std::move(in.namespace_name));
  out.set_name(std::move(in.name));
  out.set_subresource(std::move(in.subresource));
  out.set_subpath(std::move(in.subpath));
  FillOptions(*out.mutable_options(), std::move(in.options));
  for (auto& [name, value] : in.parameters) {
    auto* p = out.add_parameters();
    p->set_name(std::move(name));
    p->set_value(std::move(value));
  }
  out.set_content_type(std::move(in.content_type));
  out.set_patch_type(std::string(PatchName(in.patch_type)));
  out.set_accept(std::move(in.accept));
  if (in.body) out.set_body(*in.body);
  out.set_user_agent(std::move(in.user_agent));
  return base::Share(out.SerializeAsString());
}

base::Status DecodeStatus(base::Code code, std::string message, std::string details) {
  if (!details.empty()) {
    if (auto tree = value::FromJson(details)) return object::FromStatusObject(*tree);
  }
  return base::Status(code, std::move(message));
}

class Stream final : public request::WatchStream {
 public:
  Stream(std::unique_ptr<base::net::GrpcClientStream> stream, std::string content_type)
      : stream_(std::move(stream)), content_type_(std::move(content_type)) {}
  std::string_view content_type() const override { return content_type_; }
  base::Task<base::Result<std::optional<request::WatchEvent>>> Next(base::Context ctx) override {
    CO_TRY_ASSIGN(auto bytes, co_await stream_->Read(std::move(ctx)));
    if (!bytes) co_return std::optional<request::WatchEvent>();
    wire::Event event;
    if (!event.ParseFromString(*bytes)) co_return base::Err(base::Internal("cannot decode a watch event"));
    request::WatchEvent out;
    out.type = static_cast<request::EventType>(event.type());
    out.object = base::Share(std::move(*event.mutable_object()));
    co_return std::optional<request::WatchEvent>(std::move(out));
  }

 private:
  std::unique_ptr<base::net::GrpcClientStream> stream_;
  std::string content_type_;
};

base::net::Headers Credentials(const TokenSource& token) {
  base::net::Headers out;
  if (!token) return out;
  std::string text = token();
  if (!text.empty()) out.Add("authorization", "Bearer " + text);
  return out;
}

// One account's calls on a channel that others may share.
class GrpcTransport final : public request::Transport {
 public:
  GrpcTransport(base::net::GrpcChannel& channel, TokenSource token) : channel_(channel), token_(std::move(token)) {}

  base::Task<base::Result<request::Response>> Do(base::Context ctx, request::Request request) override {
    CO_TRY_ASSIGN(auto bytes,
                  co_await channel_.Unary(std::move(ctx), kDo, Encode(std::move(request)), OwnCredentials()));
    wire::Response in;
    if (!in.ParseFromString(bytes)) co_return base::Err(base::Internal("cannot decode the server's answer"));
    request::Response out;
    out.code = in.code();
    out.content_type = in.content_type();
    out.body = base::Share(std::move(*in.mutable_body()));
    out.warnings.assign(in.warnings().begin(), in.warnings().end());
    co_return out;
  }

  base::Task<base::Result<std::unique_ptr<request::WatchStream>>> Watch(base::Context ctx,
                                                                        request::Request request) override {
    request.verb = request::Verb::kWatch;
    CO_TRY_ASSIGN(auto stream, co_await channel_.Open(ctx, kWatch, OwnCredentials()));
    CO_TRY(co_await stream->Write(ctx, Encode(std::move(request))));
    CO_TRY(co_await stream->CloseWrite(ctx));
    CO_TRY_ASSIGN(auto first, co_await stream->Read(ctx));
    wire::Event started;
    if (!first || !started.ParseFromString(*first) || started.type() != wire::Event::STARTED)
      co_return base::Err(base::Unavailable("the watch ended before it began"));
    co_return std::unique_ptr<request::WatchStream>(
        std::make_unique<Stream>(std::move(stream), std::move(*started.mutable_content_type())));
  }

  base::net::Headers OwnCredentials() const { return Credentials(token_); }

 private:
  base::net::GrpcChannel& channel_;
  TokenSource token_;
};

class GrpcConnection final : public Connection {
 public:
  GrpcConnection(base::Loop& loop, base::net::ClientOptions options, TokenSource token)
      : channel_(loop, std::move(options), {.max_receive_bytes = kMaxAnswer}), own_(channel_, std::move(token)) {
    channel_.decode_status = DecodeStatus;
  }
  request::Transport& transport() override { return own_; }
  std::unique_ptr<request::Transport> As(TokenSource token) override {
    return std::make_unique<GrpcTransport>(channel_, std::move(token));
  }
  base::Task<base::Result<std::vector<DiscoveredResource>>> Discover(base::Context ctx) override {
    // Discovery is no resource: it goes over the HTTP client below.
    return client::Discover(std::move(ctx), channel_.client(), own_.OwnCredentials());
  }

 private:
  base::net::GrpcChannel channel_;
  GrpcTransport own_;
};

}  // namespace

std::unique_ptr<Connection> Connect(base::Loop& loop, base::net::ClientOptions options, TokenSource token) {
  return std::make_unique<GrpcConnection>(loop, std::move(options), std::move(token));
}

}  // namespace machinery::client
