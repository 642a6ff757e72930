#include "machinery/object/api_error.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <set>

#include "base/strings.h"
#include "machinery/object/go_text.h"

namespace machinery::object {
namespace {

using base::Code;
using base::Status;
using value::Map;
using value::Value;

// The canonical code of an HTTP code, so that gRPC callers and Kubernetes callers see the same failure.
Code CodeFor(int http, std::string_view reason) {
  if (reason == "AlreadyExists") return Code::kAlreadyExists;
  if (http == 409) return Code::kAborted;
  if (http == 422) return Code::kInvalidArgument;
  if (http == 410) return Code::kOutOfRange;
  if (http == 405) return Code::kUnimplemented;
  if (http == 406 || http == 413 || http == 415) return Code::kInvalidArgument;
  return base::CodeOfHttpStatus(http);
}

Status Make(ApiError error, std::string message) {
  Code code = CodeFor(error.code, error.reason);
  return Status(code, std::move(message), std::make_shared<const ApiError>(std::move(error)));
}

ApiError ForResource(int code, std::string_view reason, const GroupResource& gr, std::string_view name) {
  ApiError e;
  e.code = code;
  e.reason = reason;
  e.name = name;
  e.group = gr.group;
  e.kind = gr.resource;
  e.has_details = true;
  return e;
}

ApiError Plain(int code, std::string_view reason) {
  ApiError e;
  e.code = code;
  e.reason = reason;
  return e;
}

std::string Quoted(const GroupResource& gr, std::string_view name) { return gr.ToString() + " " + GoQuote(name); }

struct ReasonOfCode {
  Code code;
  std::string_view reason;
  int http;
};
constexpr ReasonOfCode kReasons[] = {
    {Code::kNotFound, "NotFound", 404},
    {Code::kAlreadyExists, "AlreadyExists", 409},
    {Code::kInvalidArgument, "BadRequest", 400},
    {Code::kUnauthenticated, "Unauthorized", 401},
    {Code::kPermissionDenied, "Forbidden", 403},
    {Code::kDeadlineExceeded, "Timeout", 504},
    {Code::kCancelled, "Timeout", 504},
    {Code::kResourceExhausted, "TooManyRequests", 429},
    {Code::kAborted, "Conflict", 409},
    {Code::kUnavailable, "ServiceUnavailable", 503},
    {Code::kUnimplemented, "MethodNotAllowed", 405},
};

struct GenericText {
  int code;
  std::string_view reason, message;
};
// What the original says for a bare HTTP code.
constexpr GenericText kGeneric[] = {
    {400, "BadRequest", "the server rejected our request for an unknown reason"},
    {401, "Unauthorized", "the server has asked for the client to provide credentials"},
    {403, "Forbidden", "unknown"},
    {404, "NotFound", "the server could not find the requested resource"},
    {405, "MethodNotAllowed", "the server does not allow this method on the requested resource"},
    {406, "NotAcceptable", "the server was unable to respond with a content type that the client supports"},
    {409, "Conflict", "the server reported a conflict"},
    {415, "UnsupportedMediaType", "unknown"},
    {422, "Invalid", "the server rejected our request due to an error in our request"},
    {429, "TooManyRequests", "the server has received too many requests and has asked us to try again later"},
    {500, "InternalError", "an error on the server has prevented the request from succeeding"},
    {503, "ServiceUnavailable", "the server is currently unable to handle the request"},
    {504, "Timeout",
     "the server was unable to return a response in the time allotted, but may still be processing the request"},
};

std::string_view TypeText(FieldError::Type type) {
  using T = FieldError::Type;
  switch (type) {
    case T::kNotFound:
      return "Not found";
    case T::kRequired:
      return "Required value";
    case T::kDuplicate:
      return "Duplicate value";
    case T::kInvalid:
    case T::kTypeInvalid:
      return "Invalid value";
    case T::kNotSupported:
      return "Unsupported value";
    case T::kForbidden:
      return "Forbidden";
    case T::kTooLong:
      return "Too long";
    case T::kTooMany:
      return "Too many";
    case T::kTooFew:
      return "Too few";
    case T::kInternal:
      return "Internal error";
  }
  return "";
}

FieldError MakeField(FieldError::Type type, std::string field, std::string detail) {
  FieldError e;
  e.type = type;
  e.field = std::move(field);
  e.detail = std::move(detail);
  return e;
}

FieldError WithValue(FieldError e, Value v) {
  e.bad_value = std::move(v);
  e.has_value = true;
  return e;
}

Value DetailsObject(const ApiError& e) {
  Map details;
  auto set = [&](std::string_view key, const std::string& text) {
    if (!text.empty()) details.Set(key, Value(text));
  };
  set("name", e.name);
  set("group", e.group);
  set("kind", e.kind);
  set("uid", e.uid);
  if (!e.causes.empty()) {
    value::List causes;
    for (const Cause& c : e.causes) {
      Map cause;
      if (!c.reason.empty()) cause.Set("reason", Value(c.reason));
      if (!c.message.empty()) cause.Set("message", Value(c.message));
      if (!c.field.empty()) cause.Set("field", Value(c.field));
      causes.emplace_back(std::move(cause));
    }
    details.Set("causes", Value(std::move(causes)));
  }
  if (e.retry_after_seconds != 0) details.Set("retryAfterSeconds", Value(e.retry_after_seconds));
  return Value(std::move(details));
}

}  // namespace

std::string GroupResource::ToString() const { return group.empty() ? resource : resource + "." + group; }

const ApiError* AsApiError(const Status& s) { return dynamic_cast<const ApiError*>(s.payload()); }

std::string_view ReasonOf(const Status& s) {
  if (const ApiError* e = AsApiError(s)) return e->reason;
  for (const ReasonOfCode& r : kReasons)
    if (r.code == s.code()) return r.reason;
  return s.ok() ? "" : "InternalError";
}

int HttpCodeOf(const Status& s) {
  if (const ApiError* e = AsApiError(s)) return e->code;
  for (const ReasonOfCode& r : kReasons)
    if (r.code == s.code()) return r.http;
  return s.ok() ? 200 : 500;
}

bool IsNotFound(const Status& s) { return ReasonOf(s) == "NotFound"; }
bool IsConflict(const Status& s) { return ReasonOf(s) == "Conflict"; }
bool IsAlreadyExists(const Status& s) { return ReasonOf(s) == "AlreadyExists"; }
bool IsGone(const Status& s) { return ReasonOf(s) == "Expired" || ReasonOf(s) == "Gone"; }
bool IsTooManyRequests(const Status& s) { return ReasonOf(s) == "TooManyRequests"; }

Status NotFound(const GroupResource& gr, std::string_view name) {
  return Make(ForResource(404, "NotFound", gr, name), Quoted(gr, name) + " not found");
}
Status AlreadyExists(const GroupResource& gr, std::string_view name) {
  return Make(ForResource(409, "AlreadyExists", gr, name), Quoted(gr, name) + " already exists");
}
Status Conflict(const GroupResource& gr, std::string_view name, std::string_view why) {
  return Make(ForResource(409, "Conflict", gr, name),
              "Operation cannot be fulfilled on " + Quoted(gr, name) + ": " + std::string(why));
}
Status Forbidden(const GroupResource& gr, std::string_view name, std::string_view why) {
  std::string message = gr.resource.empty() && gr.group.empty() ? "forbidden: "
                        : name.empty()                          ? gr.ToString() + " is forbidden: "
                                                                : Quoted(gr, name) + " is forbidden: ";
  return Make(ForResource(403, "Forbidden", gr, name), message + std::string(why));
}
Status Unauthorized(std::string_view why) {
  return Make(Plain(401, "Unauthorized"), why.empty() ? "not authorized" : std::string(why));
}
Status BadRequest(std::string message) { return Make(Plain(400, "BadRequest"), std::move(message)); }
Status MethodNotSupported(const GroupResource& gr, std::string_view action) {
  return Make(ForResource(405, "MethodNotAllowed", gr, ""),
              std::string(action) + " is not supported on resources of kind " + GoQuote(gr.ToString()));
}
Status ResourceExpired(std::string message) { return Make(Plain(410, "Expired"), std::move(message)); }
Status Gone(std::string message) { return Make(Plain(410, "Gone"), std::move(message)); }

Status TooManyRequests(std::string message, int retry_after_seconds) {
  ApiError e = Plain(429, "TooManyRequests");
  e.has_details = true;
  e.retry_after_seconds = retry_after_seconds;
  return Make(std::move(e), std::move(message));
}
Status Timeout(std::string message, int retry_after_seconds) {
  ApiError e = Plain(504, "Timeout");
  e.has_details = true;
  e.retry_after_seconds = retry_after_seconds;
  return Make(std::move(e), "Timeout: " + message);
}
Status TooLargeResourceVersion(uint64_t wanted, uint64_t current, int retry_after_seconds) {
  ApiError e = Plain(504, "Timeout");
  e.has_details = true;
  e.retry_after_seconds = retry_after_seconds;
  e.causes.push_back({"ResourceVersionTooLarge", "Too large resource version", ""});
  return Make(std::move(e), "Timeout: Too large resource version: " + std::to_string(wanted) +
                                ", current: " + std::to_string(current));
}
Status InternalError(std::string message) {
  ApiError e = Plain(500, "InternalError");
  e.has_details = true;
  e.causes.push_back({"", message, ""});
  return Make(std::move(e), "Internal error occurred: " + message);
}
Status ServiceUnavailable(std::string message) { return Make(Plain(503, "ServiceUnavailable"), std::move(message)); }
Status RequestEntityTooLarge(std::string message) {
  return Make(Plain(413, "RequestEntityTooLarge"), "Request entity too large: " + message);
}
Status NotAcceptable(const std::vector<std::string>& supported) {
  return Make(Plain(406, "NotAcceptable"),
              "only the following media types are accepted: " + base::Join(supported, ", "));
}
Status UnsupportedMediaType(const std::vector<std::string>& supported) {
  return Make(Plain(415, "UnsupportedMediaType"),
              "the body of the request was in an unknown format - accepted media types include: " +
                  base::Join(supported, ", "));
}
Status UnknownPath() { return GenericResponse(404); }
Status MethodNotAllowed() { return GenericResponse(405); }

Status GenericResponse(int code, std::string message) {
  ApiError e = Plain(code, "Unknown");
  e.has_details = true;
  std::string text =
      "the server responded with the status code " + std::to_string(code) + " but did not return more information";
  for (const GenericText& g : kGeneric) {
    if (g.code != code) continue;
    e.reason = g.reason;
    text = g.message;
  }
  return Make(std::move(e), message.empty() ? std::move(text) : std::move(message));
}

Status Unclassified(std::string message) { return Make(Plain(500, ""), std::move(message)); }

std::string FieldError::Message() const {
  std::string out(TypeText(type));
  if (has_value) {
    out += ": ";
    out += bad_value.is_string() ? GoQuote(bad_value.as_string()) : value::ToJson(bad_value);
  }
  if (!detail.empty()) out += ": " + detail;
  return out;
}

std::string FieldError::ToString() const { return field + ": " + Message(); }

std::string_view FieldError::Reason() const {
  switch (type) {
    case Type::kNotFound:
      return "FieldValueNotFound";
    case Type::kRequired:
      return "FieldValueRequired";
    case Type::kDuplicate:
      return "FieldValueDuplicate";
    case Type::kInvalid:
      return "FieldValueInvalid";
    case Type::kNotSupported:
      return "FieldValueNotSupported";
    case Type::kForbidden:
      return "FieldValueForbidden";
    case Type::kTooLong:
      return "FieldValueTooLong";
    case Type::kTooMany:
      return "FieldValueTooMany";
    case Type::kTooFew:
      return "FieldValueTooFew";
    case Type::kInternal:
      return "InternalError";
    case Type::kTypeInvalid:
      return "FieldValueTypeInvalid";
  }
  return "";
}

FieldError Required(std::string field, std::string detail) {
  return MakeField(FieldError::Type::kRequired, std::move(field), std::move(detail));
}
FieldError Invalid(std::string field, Value v, std::string detail) {
  return WithValue(MakeField(FieldError::Type::kInvalid, std::move(field), std::move(detail)), std::move(v));
}
FieldError NotSupported(std::string field, Value v, const std::vector<std::string>& supported) {
  std::vector<std::string> quoted;
  for (const std::string& s : supported) quoted.push_back(GoQuote(s));
  std::string detail = quoted.empty() ? "" : "supported values: " + base::Join(quoted, ", ");
  return WithValue(MakeField(FieldError::Type::kNotSupported, std::move(field), std::move(detail)), std::move(v));
}
FieldError Duplicate(std::string field, Value v) {
  return WithValue(MakeField(FieldError::Type::kDuplicate, std::move(field), ""), std::move(v));
}
FieldError FieldForbidden(std::string field, std::string detail) {
  return MakeField(FieldError::Type::kForbidden, std::move(field), std::move(detail));
}
FieldError TooLong(std::string field, int max_bytes) {
  std::string detail =
      max_bytes < 0 ? "value is too long"
                    : "may not be more than " + std::to_string(max_bytes) + (max_bytes == 1 ? " byte" : " bytes");
  return MakeField(FieldError::Type::kTooLong, std::move(field), std::move(detail));
}
FieldError TooMany(std::string field, int actual, int max) {
  std::string detail =
      max < 0 ? "has too many items" : "must have at most " + std::to_string(max) + (max == 1 ? " item" : " items");
  FieldError e = MakeField(FieldError::Type::kTooMany, std::move(field), std::move(detail));
  return actual < 0 ? e : WithValue(std::move(e), Value(actual));
}
FieldError FieldNotFound(std::string field, Value v) {
  return WithValue(MakeField(FieldError::Type::kNotFound, std::move(field), ""), std::move(v));
}

void Append(FieldErrors& errors, FieldErrors more) {
  errors.insert(errors.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

void AppendInvalid(FieldErrors& errors, const std::string& field, const Value& v,
                   const std::vector<std::string>& messages) {
  for (const std::string& m : messages) errors.push_back(Invalid(field, v, m));
}

std::string Aggregate(const FieldErrors& errors) {
  std::vector<std::string> texts;
  std::set<std::string> seen;
  for (const FieldError& e : errors)
    if (std::string text = e.ToString(); seen.insert(text).second) texts.push_back(std::move(text));
  return texts.size() == 1 ? texts[0] : "[" + base::Join(texts, ", ") + "]";
}

Status InvalidObject(const GroupKind& gk, std::string_view name, const FieldErrors& errors) {
  ApiError e = ForResource(422, "Invalid", {gk.group, gk.kind}, name);
  for (const FieldError& f : errors) e.causes.push_back({std::string(f.Reason()), f.Message(), f.field});
  std::string message = GroupResource{gk.group, gk.kind}.ToString() + " " + GoQuote(name) + " is invalid";
  if (!errors.empty()) message += ": " + Aggregate(errors);
  return Make(std::move(e), std::move(message));
}

Value ToStatusObject(const Status& s) {
  Map out{{"kind", Value("Status")}, {"apiVersion", Value("v1")}, {"metadata", Value(Map{})}};
  if (s.ok()) {
    out.Set("status", Value("Success"));
    out.Set("code", Value(200));
    return Value(std::move(out));
  }
  out.Set("status", Value("Failure"));
  const ApiError* e = AsApiError(s);
  if (!s.message().empty()) out.Set("message", Value(s.message()));
  if (!ReasonOf(s).empty() && (e || s.code() != Code::kUnknown)) out.Set("reason", Value(ReasonOf(s)));
  if (e && e->has_details) out.Set("details", DetailsObject(*e));
  out.Set("code", Value(HttpCodeOf(s)));
  return Value(std::move(out));
}

Status FromStatusObject(const Value& v) {
  if (v.At("status").string_or() == "Success") return {};
  ApiError e;
  e.code = static_cast<int>(v.At("code").int_or(500));
  e.reason = v.At("reason").string_or();
  const Value& details = v.At("details");
  e.has_details = details.is_map();
  e.name = details.At("name").string_or();
  e.group = details.At("group").string_or();
  e.kind = details.At("kind").string_or();
  e.uid = details.At("uid").string_or();
  e.retry_after_seconds = static_cast<int>(details.At("retryAfterSeconds").int_or());
  if (const Value& causes = details.At("causes"); causes.is_list()) {
    for (const Value& c : causes.list()) {
      e.causes.push_back({std::string(c.At("reason").string_or()), std::string(c.At("message").string_or()),
                          std::string(c.At("field").string_or())});
    }
  }
  return Make(std::move(e), std::string(v.At("message").string_or()));
}

}  // namespace machinery::object
