#include "machinery/client/client.h"

#include <map>
#include <mutex>

#include "base/protobuf_wire.h"
#include "machinery/codec/envelope.h"
#include "machinery/object/api_error.h"
#include "proto/k8s/meta/v1/status.pb.h"
#include "proto/options/options.pb.h"

namespace machinery::client {
namespace {
namespace metav1 = k8s::io::apimachinery::pkg::apis::meta::v1;
namespace options = keelson::options;

const Resource& Remember(const google::protobuf::Descriptor* descriptor,
                         Resource (*make)(const google::protobuf::Descriptor*)) {
  // Filled once per kind, at start; several loops may get there first.
  static std::mutex mutex;
  static std::map<const google::protobuf::Descriptor*, Resource> known;
  std::lock_guard lock(mutex);
  auto it = known.find(descriptor);
  if (it == known.end()) it = known.emplace(descriptor, make(descriptor)).first;
  return it->second;
}

Resource FromOptions(const google::protobuf::Descriptor* descriptor) {
  if (descriptor->options().ExtensionSize(options::kind) == 0) {
    const auto& file = descriptor->file()->options();
    return {file.GetExtension(options::api_group), file.GetExtension(options::api_version), "", descriptor->name(),
            true};
  }
  const auto& kind = descriptor->options().GetExtension(options::kind, 0);
  return {kind.group(), kind.version(), kind.resource(), descriptor->name(), kind.namespaced()};
}

base::Status FromMessage(const metav1::Status& s) {
  auto error = std::make_shared<object::ApiError>();
  error->code = s.code() ? s.code() : 500;
  error->reason = s.reason();
  error->has_details = s.has_details();
  error->name = s.details().name();
  error->group = s.details().group();
  error->kind = s.details().kind();
  error->uid = s.details().uid();
  error->retry_after_seconds = s.details().retryafterseconds();
  for (const auto& c : s.details().causes()) error->causes.push_back({c.reason(), c.message(), c.field()});
  base::Code code = s.reason() == "AlreadyExists" ? base::Code::kAlreadyExists : base::CodeOfHttpStatus(error->code);
  if (code == base::Code::kOk) code = base::Code::kUnknown;
  return base::Status(code, s.message(), std::move(error));
}
}  // namespace

const Resource& TypeOfDescriptor(const google::protobuf::Descriptor* descriptor) {
  return Remember(descriptor, FromOptions);
}

const Resource& ResourceOfDescriptor(const google::protobuf::Descriptor* descriptor) {
  const Resource& r = TypeOfDescriptor(descriptor);
  CHECK_MSG(!r.resource.empty(), descriptor->full_name());
  return r;
}

Client::Client(request::Transport& transport, std::string user_agent)
    : transport_(transport), user_agent_(std::move(user_agent)) {}

request::Request Client::NewRequest(request::Verb verb, const Resource& r, std::string ns, std::string name) const {
  request::Request out;
  out.verb = verb;
  out.group = r.group;
  out.version = r.version;
  out.resource = r.resource;
  out.namespace_name = std::move(ns);
  out.name = std::move(name);
  out.accept = request::kProtobuf;
  out.content_type = request::kProtobuf;
  out.user_agent = user_agent_;
  return out;
}

request::Request Client::NewListRequest(request::Verb verb, const Resource& r, ListOptions o) const {
  auto out = NewRequest(verb, r, std::move(o.namespace_name), "");
  out.options.label_selector = std::move(o.label_selector);
  out.options.field_selector = std::move(o.field_selector);
  out.options.resource_version = std::move(o.resource_version);
  out.options.resource_version_match = std::move(o.resource_version_match);
  out.options.limit = o.limit;
  out.options.continue_token = std::move(o.continue_token);
  out.options.timeout_seconds = o.timeout_seconds;
  return out;
}

void Client::SetDeleteOptions(request::Request& r, DeleteOptions o) {
  r.options.grace_period_seconds = o.grace_period_seconds;
  r.options.propagation_policy = std::move(o.propagation_policy);
  r.options.precondition_uid = std::move(o.uid);
  r.options.precondition_resource_version = std::move(o.resource_version);
}

std::string Client::PatchContentType(request::PatchType type) {
  switch (type) {
    case request::PatchType::kJson:
      return "application/json-patch+json";
    case request::PatchType::kMerge:
      return "application/merge-patch+json";
    case request::PatchType::kStrategicMerge:
      return "application/strategic-merge-patch+json";
    case request::PatchType::kApplyYaml:
      return "application/apply-patch+yaml";
    case request::PatchType::kNone:
      break;
  }
  return "";
}

base::Task<base::Result<request::Response>> Client::Send(base::Context ctx, request::Request r) {
  co_return co_await transport_.Do(std::move(ctx), std::move(r));
}

base::Status Client::ParseMessage(std::string_view bytes, google::protobuf::MessageLite& out) {
  if (!out.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    return base::Internal("cannot decode " + out.GetTypeName());
  return base::Ok();
}

base::Status Client::ParseObject(std::string_view bytes, google::protobuf::MessageLite& out) {
  TRY_ASSIGN(auto envelope, codec::OpenEnvelope(bytes));
  return ParseMessage(envelope.raw, out);
}

base::Status Client::ParseBody(const request::Response& response, google::protobuf::MessageLite& out) {
  if (!response.body) return base::Internal("the server's answer has no body");
  // Some verbs answer with a Status although they succeeded (a binding, an eviction); there is nothing to read then.
  TRY_ASSIGN(auto envelope, codec::OpenEnvelope(*response.body));
  if (envelope.kind == "Status" && !out.GetTypeName().ends_with(".Status")) return base::Ok();
  return ParseMessage(envelope.raw, out);
}

base::Status Client::StatusOfObject(std::string_view content_type, std::string_view bytes) {
  if (content_type.starts_with(request::kProtobuf)) {
    metav1::Status status;
    TRY(ParseObject(bytes, status));
    return FromMessage(status);
  }
  TRY_ASSIGN(auto tree, value::FromJson(bytes));
  return object::FromStatusObject(tree);
}

base::SharedBytes Client::Seal(const Resource& r, const google::protobuf::MessageLite& message) {
  return base::Share(codec::SealEnvelope(r.ApiVersion(), r.kind, message.SerializePartialAsString()));
}

base::Result<Client::RawList> Client::ParseList(const request::Response& response) {
  if (!response.body) return base::Err(base::Internal("the server's answer has no body"));
  TRY_ASSIGN(auto envelope, codec::OpenEnvelope(*response.body));
  RawList out;
  base::wire::Reader list(envelope.raw);
  while (list.Next()) {
    if (list.field() == 2) out.items.push_back(list.bytes());
    if (list.field() != 1) continue;
    base::wire::Reader meta(list.bytes());
    while (meta.Next()) {
      if (meta.field() == 2) out.resource_version = meta.bytes();
      if (meta.field() == 3) out.continue_token = meta.bytes();
    }
  }
  if (!list.ok()) return base::Err(base::Internal("cannot decode a " + std::string(envelope.kind)));
  return out;
}

}  // namespace machinery::client
