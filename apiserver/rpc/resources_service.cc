#include "apiserver/rpc/resources_service.h"

#include "apiserver/chain/chain.h"
#include "base/protobuf_wire.h"
#include "machinery/object/api_error.h"
#include "machinery/value/value.h"
#include "proto/resources/v1/resources.pb.h"

namespace apiserver::rpc {

namespace object = machinery::object;
namespace wire = keelson::resources::v1;
using base::net::GrpcCall;
using base::net::GrpcServerStream;
using chain::Scope;
using machinery::request::Options;
using machinery::request::PatchType;
using machinery::request::Request;
using machinery::request::Response;

namespace {

constexpr std::string_view kDo = "/keelson.resources.v1.Resources/Do";
constexpr std::string_view kWatch = "/keelson.resources.v1.Resources/Watch";

Options OptionsOf(wire::Options& in) {
  Options o;
  o.label_selector = std::move(*in.mutable_label_selector());
  o.field_selector = std::move(*in.mutable_field_selector());
  o.resource_version = std::move(*in.mutable_resource_version());
  o.resource_version_match = std::move(*in.mutable_resource_version_match());
  o.limit = in.limit();
  o.continue_token = std::move(*in.mutable_continue_token());
  if (in.has_timeout_seconds()) o.timeout_seconds = in.timeout_seconds();
  o.allow_watch_bookmarks = in.allow_watch_bookmarks();
  if (in.has_send_initial_events()) o.send_initial_events = in.send_initial_events();
  o.dry_run.assign(in.dry_run().begin(), in.dry_run().end());
  o.field_manager = std::move(*in.mutable_field_manager());
  o.field_validation = std::move(*in.mutable_field_validation());
  if (in.has_force()) o.force = in.force();
  if (in.has_grace_period_seconds()) o.grace_period_seconds = in.grace_period_seconds();
  o.propagation_policy = std::move(*in.mutable_propagation_policy());
  if (in.has_orphan_dependents()) o.orphan_dependents = in.orphan_dependents();
  if (in.has_precondition_uid()) o.precondition_uid = in.precondition_uid();
  if (in.has_precondition_resource_version()) o.precondition_resource_version = in.precondition_resource_version();
  o.include_object = std::move(*in.mutable_include_object());
  return o;
}

PatchType PatchTypeOf(std::string_view name) {
  if (name == "json") return PatchType::kJson;
  if (name == "merge") return PatchType::kMerge;
  if (name == "strategic") return PatchType::kStrategicMerge;
  if (name == "apply") return PatchType::kApplyYaml;
  return PatchType::kNone;
}

base::Result<Request> Decode(const std::string& bytes) {
  wire::Request in;
  if (!in.ParseFromString(bytes)) return base::Err(object::BadRequest("the request does not parse"));
  auto verb = machinery::request::ParseVerb(in.verb());
  if (!verb) return base::Err(object::BadRequest("unknown verb \"" + in.verb() + "\""));
  Request r;
  r.verb = *verb;
  r.group = std::move(*in.mutable_group());
  r.version = std::move(*in.mutable_version());
  r.resource = std::move(*in.mutable_resource());
  r.namespace_name = std::move(*in.mutable_namespace_name());
  r.name = std::move(*in.mutable_name());
  r.subresource = std::move(*in.mutable_subresource());
  r.subpath = std::move(*in.mutable_subpath());
  r.options = OptionsOf(*in.mutable_options());
  for (auto& p : *in.mutable_parameters())
    r.parameters.emplace_back(std::move(*p.mutable_name()), std::move(*p.mutable_value()));
  r.content_type = std::move(*in.mutable_content_type());
  r.patch_type = PatchTypeOf(in.patch_type());
  r.accept = std::move(*in.mutable_accept());
  if (!in.body().empty()) r.body = base::Share(std::move(*in.mutable_body()));
  r.user_agent = std::move(*in.mutable_user_agent());
  return r;
}

// Before a byte of the request is read. Method and path are the wire's own, not what is asked.
base::Task<base::Status> Identify(chain::Chain& chain, GrpcCall& call) {
  auto scope = std::make_shared<Scope>(chain.state(), chain::Incoming{.wire = chain::Wire::kRpc,
                                                                      .http_major = 2,
                                                                      .headers = &call.headers,
                                                                      .peer = &call.peer,
                                                                      .context = call.ctx});
  CO_TRY(co_await chain.Pass(*scope, chain::Stage::kHead));
  call.caller = std::move(scope);
  co_return base::Ok();
}

// An error's Status object; without its causes, and then with half its words, where it is too long to be sent.
std::string DetailsOf(const base::Status& s, size_t max_bytes) {
  machinery::value::Value status = object::ToStatusObject(s);
  std::string text = machinery::value::ToJson(status);
  if (text.size() > max_bytes && status.At("details").is_map()) {
    status.Ensure("details").Remove("causes");
    text = machinery::value::ToJson(status);
  }
  if (text.size() > max_bytes) {
    std::string message(machinery::value::Utf8Prefix(status.At("message").string_or(), max_bytes / 8));
    status.Set("message", std::move(message));
    status.Remove("details");  // a name, a kind: as long as a client likes
    text = machinery::value::ToJson(status);
  }
  return text.size() > max_bytes ? std::string() : text;
}

Scope& ScopeOf(const GrpcCall& call) { return *static_cast<Scope*>(call.caller.get()); }

base::Result<Request> RequestOf(const GrpcCall& call, const std::string& bytes) {
  TRY_ASSIGN(Request r, Decode(bytes));
  r.identity = ScopeOf(call).identity;
  r.source_address = call.peer.address;
  return r;
}

// The head with the message class, the body (field 3) appended: a large list is copied once.
std::string Encode(const Response& response) {
  wire::Response head;
  head.set_code(response.code);
  head.set_content_type(response.content_type);
  for (const auto& w : response.warnings) head.add_warnings(machinery::value::ToValidUtf8(w));
  std::string out = head.SerializeAsString();
  if (!response.body || response.body->empty()) return out;
  out.reserve(out.size() + response.body->size() + 8);
  base::wire::PutBytes(out, 3, *response.body);
  return out;
}

base::Task<base::Result<std::string>> Do(chain::Chain& chain, const GrpcCall& call, std::string bytes) {
  Scope& scope = ScopeOf(call);
  CO_TRY_ASSIGN(Request r, RequestOf(call, bytes));
  if (r.verb == machinery::request::Verb::kWatch) co_return base::Err(object::MethodNotAllowed());
  scope.request = &r;
  CO_TRY(co_await chain.Pass(scope, chain::Stage::kMessage));
  CO_TRY_ASSIGN(Response response, co_await chain.Do(scope, r));
  co_return Encode(response);
}

base::Task<base::Status> Watch(chain::Chain& chain, GrpcServerStream& stream) {
  const GrpcCall& call = stream.call();
  CO_TRY_ASSIGN(auto bytes, co_await stream.Read());
  if (!bytes) co_return object::BadRequest("a watch needs a request");
  Scope& scope = ScopeOf(call);
  CO_TRY_ASSIGN(Request r, RequestOf(call, *bytes));
  if (r.verb != machinery::request::Verb::kWatch) co_return object::BadRequest("the verb of a watch is watch");
  scope.request = &r;
  CO_TRY(co_await chain.Pass(scope, chain::Stage::kMessage));
  CO_TRY_ASSIGN(auto events, co_await chain.Watch(scope, r));
  wire::Event started;
  started.set_type(wire::Event::STARTED);
  started.set_content_type(std::string(events->content_type()));
  CO_TRY(co_await stream.Write(base::Share(started.SerializeAsString())));
  while (true) {
    CO_TRY_ASSIGN(base::SharedBytes frame, co_await events->NextFrame(scope.context, chain::Framing::kMessage));
    if (!frame) co_return base::Ok();
    CO_TRY(co_await stream.Write(std::move(frame)));
  }
}

}  // namespace

void AddResources(base::net::GrpcService& service, chain::Chain& chain) {
  service.Unary(std::string(kDo),
                [&chain](const GrpcCall& call, std::string bytes) { return Do(chain, call, std::move(bytes)); });
  service.Stream(std::string(kWatch), [&chain](GrpcServerStream& stream) { return Watch(chain, stream); });
  service.SetInterceptor([&chain](const std::string&, GrpcCall& call) { return Identify(chain, call); });
  service.encode_details = DetailsOf;
}

}  // namespace apiserver::rpc
