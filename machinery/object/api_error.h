// Kubernetes' own errors: a base::Status whose payload is what the original's metav1.Status says (reason, HTTP code,
// details with causes). Made here, wherever they arise; turned into bytes by the apiserver, read back by clients.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "machinery/value/value.h"

namespace machinery::object {

// A kind or resource with its group: {"apps", "deployments"}.
struct GroupResource {
  std::string group, resource;
  std::string ToString() const;  // "deployments.apps", "pods"
};
struct GroupKind {
  std::string group, kind;
};

struct Cause {
  std::string reason;  // "FieldValueRequired"
  std::string message;
  std::string field;  // "spec.containers[0].name"
};

// The payload. `code` is the HTTP status, `reason` the machine-readable word ("NotFound").
struct ApiError final : base::StatusPayload {
  int code = 500;
  std::string reason;
  std::string name, group, kind, uid;  // details; kind holds the resource for most errors
  std::vector<Cause> causes;
  int retry_after_seconds = 0;
  bool has_details = false;
};

// The payload of `s`, or nullptr.
const ApiError* AsApiError(const base::Status& s);
// Reason of any Status: the payload's, else what its code maps to ("InternalError", "Timeout", ...).
std::string_view ReasonOf(const base::Status& s);
int HttpCodeOf(const base::Status& s);
bool IsNotFound(const base::Status& s);
bool IsConflict(const base::Status& s);
bool IsAlreadyExists(const base::Status& s);
bool IsGone(const base::Status& s);  // 410: Expired or Gone
bool IsTooManyRequests(const base::Status& s);

// The original's texts (apimachinery api/errors).
base::Status NotFound(const GroupResource& gr, std::string_view name);  // pods "x" not found
base::Status AlreadyExists(const GroupResource& gr, std::string_view name);
base::Status Conflict(const GroupResource& gr, std::string_view name, std::string_view why);
base::Status Forbidden(const GroupResource& gr, std::string_view name, std::string_view why);
base::Status Unauthorized(std::string_view why = "Unauthorized");
base::Status BadRequest(std::string message);
base::Status MethodNotSupported(const GroupResource& gr, std::string_view action);
base::Status ResourceExpired(std::string message);  // 410 Expired
base::Status Gone(std::string message);
base::Status TooManyRequests(std::string message, int retry_after_seconds);
base::Status Timeout(std::string message, int retry_after_seconds);
base::Status TooLargeResourceVersion(uint64_t wanted, uint64_t current, int retry_after_seconds);
base::Status InternalError(std::string message);
base::Status ServiceUnavailable(std::string message);
base::Status RequestEntityTooLarge(std::string message);
base::Status NotAcceptable(const std::vector<std::string>& supported);
base::Status UnsupportedMediaType(const std::vector<std::string>& supported);
// The server's plain 404 for a path nobody serves: "the server could not find the requested resource".
base::Status UnknownPath();
// The plain 405 of a path that is served, but not with this method.
base::Status MethodNotAllowed();
// What the server says where it knows an HTTP code and nothing else (415, 422, ...); `message` replaces the usual text.
base::Status GenericResponse(int code, std::string message = "");
// A 500 without reason, as the original answers for errors that no layer has classified.
base::Status Unclassified(std::string message);

// One field error of validation, with the original's wording.
struct FieldError {
  enum class Type {
    kNotFound,
    kRequired,
    kDuplicate,
    kInvalid,
    kNotSupported,
    kForbidden,
    kTooLong,
    kTooMany,
    kTooFew,
    kInternal,
    kTypeInvalid
  };
  Type type = Type::kInvalid;
  std::string field;  // path
  value::Value bad_value;
  bool has_value = false;
  std::string detail;
  std::string Message() const;      // `Invalid value: "x": must be ...` (without the field)
  std::string ToString() const;     // `spec.x: Invalid value: ...`
  std::string_view Reason() const;  // "FieldValueInvalid"
};
using FieldErrors = std::vector<FieldError>;
FieldError Required(std::string field, std::string detail = "");
FieldError Invalid(std::string field, value::Value v, std::string detail);
FieldError NotSupported(std::string field, value::Value v, const std::vector<std::string>& supported);
FieldError Duplicate(std::string field, value::Value v);
FieldError FieldForbidden(std::string field, std::string detail);
FieldError TooLong(std::string field, int max_bytes);
FieldError TooMany(std::string field, int actual, int max);
FieldError FieldNotFound(std::string field, value::Value v);
// Appends `more` to `errors`.
void Append(FieldErrors& errors, FieldErrors more);
// One Invalid per message, all for the same field and value.
void AppendInvalid(FieldErrors& errors, const std::string& field, const value::Value& v,
                   const std::vector<std::string>& messages);
// The messages of all errors without repetitions: `a`, or `[a, b]` when there are several.
std::string Aggregate(const FieldErrors& errors);
// 422 Invalid with one cause per error: `Pod "x" is invalid: [a, b]`.
base::Status InvalidObject(const GroupKind& gk, std::string_view name, const FieldErrors& errors);

// metav1.Status as a tree (kind, apiVersion first), and back.
value::Value ToStatusObject(const base::Status& s);
base::Status FromStatusObject(const value::Value& v);

}  // namespace machinery::object
