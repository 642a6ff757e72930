#include "base/status.h"

#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace base {
namespace {
constexpr std::string_view kNames[] = {
    "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED"};
constexpr int kHttp[] = {200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401};
}  // namespace

std::string_view CodeName(Code code) { return kNames[static_cast<int>(code)]; }
int HttpStatusOf(Code code) { return kHttp[static_cast<int>(code)]; }

Code CodeOfHttpStatus(int http_status) {
  switch (http_status) {
    case 400:
    case 422:
      return Code::kInvalidArgument;
    case 401:
      return Code::kUnauthenticated;
    case 403:
      return Code::kPermissionDenied;
    case 404:
      return Code::kNotFound;
    case 409:
      return Code::kAborted;
    case 410:
      return Code::kOutOfRange;
    case 412:
      return Code::kFailedPrecondition;
    case 405:
    case 501:
      return Code::kUnimplemented;
    case 429:
      return Code::kResourceExhausted;
    case 499:
      return Code::kCancelled;
    case 502:
    case 503:
      return Code::kUnavailable;
    case 504:
      return Code::kDeadlineExceeded;
    default:
      if (http_status >= 200 && http_status < 300) return Code::kOk;
      return http_status >= 500 ? Code::kInternal : Code::kUnknown;
  }
}

Status::Status(Code code, std::string message, std::shared_ptr<const StatusPayload> payload) {
  if (code != Code::kOk) rep_ = std::make_shared<const Rep>(Rep{code, std::move(message), std::move(payload)});
}

std::string Status::ToString() const {
  if (ok()) return "OK";
  std::string out(CodeName(code()));
  return out.append(": ").append(message());
}

Status Status::Annotate(std::string_view prefix) const {
  if (ok()) return *this;
  return Status(code(), std::string(prefix).append(rep_->message), rep_->payload);
}

Status Cancelled(std::string m) { return Status(Code::kCancelled, std::move(m)); }
Status Unknown(std::string m) { return Status(Code::kUnknown, std::move(m)); }
Status InvalidArgument(std::string m) { return Status(Code::kInvalidArgument, std::move(m)); }
Status DeadlineExceeded(std::string m) { return Status(Code::kDeadlineExceeded, std::move(m)); }
Status NotFound(std::string m) { return Status(Code::kNotFound, std::move(m)); }
Status AlreadyExists(std::string m) { return Status(Code::kAlreadyExists, std::move(m)); }
Status PermissionDenied(std::string m) { return Status(Code::kPermissionDenied, std::move(m)); }
Status ResourceExhausted(std::string m) { return Status(Code::kResourceExhausted, std::move(m)); }
Status FailedPrecondition(std::string m) { return Status(Code::kFailedPrecondition, std::move(m)); }
Status Aborted(std::string m) { return Status(Code::kAborted, std::move(m)); }
Status OutOfRange(std::string m) { return Status(Code::kOutOfRange, std::move(m)); }
Status Unimplemented(std::string m) { return Status(Code::kUnimplemented, std::move(m)); }
Status Internal(std::string m) { return Status(Code::kInternal, std::move(m)); }
Status Unavailable(std::string m) { return Status(Code::kUnavailable, std::move(m)); }
Status DataLoss(std::string m) { return Status(Code::kDataLoss, std::move(m)); }
Status Unauthenticated(std::string m) { return Status(Code::kUnauthenticated, std::move(m)); }

Status FromErrno(int error, std::string_view what) {
  Code code = Code::kUnknown;
  switch (error) {
    case ENOENT:
      code = Code::kNotFound;
      break;
    case EEXIST:
      code = Code::kAlreadyExists;
      break;
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      code = Code::kResourceExhausted;
      break;
    case EACCES:
    case EPERM:
      code = Code::kPermissionDenied;
      break;
    case EIO:
      code = Code::kDataLoss;
      break;
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
      code = Code::kUnavailable;
      break;
    default:
      break;
  }
  // Go's words for the system's errors, which the originals' messages end in, begin small.
  std::string text = std::strerror(error);
  text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return Status(code, std::string(what).append(": ").append(text));
}

namespace internal {
void CheckFailed(const char* condition, const char* file, int line, std::string_view note) {
  std::fprintf(stderr, "%s:%d: check failed: %s %.*s\n", file, line, condition, static_cast<int>(note.size()),
               note.data());
  std::abort();
}
}  // namespace internal
}  // namespace base
