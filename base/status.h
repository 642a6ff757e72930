// Errors as values. A Status says whether a thing worked and, if not, which of the canonical codes (gRPC's) applies and
// why, in words for a person. Result<T> is a value or a Status. Nothing in Keelson throws across a folder.
//
// A Status may carry a payload of a higher layer (machinery's Kubernetes Status with reason, details and causes); base
// only transports it. Immutable and cheap to copy; thread-safe.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace base {

// The canonical codes with gRPC's numbers (github.com/grpc/grpc doc/statuscodes.md).
enum class Code : uint8_t {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

// "NOT_FOUND", as gRPC spells it.
std::string_view CodeName(Code code);
// The HTTP status a code maps to where nothing more precise is known (google.rpc.Code).
int HttpStatusOf(Code code);
Code CodeOfHttpStatus(int http_status);

// What a higher layer hangs on a Status. Compare by dynamic_cast.
class StatusPayload {
 public:
  virtual ~StatusPayload() = default;
};

class [[nodiscard]] Status {
 public:
  Status() = default;  // OK
  Status(Code code, std::string message, std::shared_ptr<const StatusPayload> payload = nullptr);

  bool ok() const { return rep_ == nullptr; }
  Code code() const { return rep_ ? rep_->code : Code::kOk; }
  std::string_view message() const { return rep_ ? std::string_view(rep_->message) : std::string_view(); }
  const StatusPayload* payload() const { return rep_ ? rep_->payload.get() : nullptr; }
  std::shared_ptr<const StatusPayload> shared_payload() const { return rep_ ? rep_->payload : nullptr; }
  // "OK" or "NOT_FOUND: no such key".
  std::string ToString() const;
  // The same error with words in front: "reading x: " + message. OK stays OK.
  Status Annotate(std::string_view prefix) const;

  friend bool operator==(const Status& a, const Status& b) {
    return a.code() == b.code() && a.message() == b.message();
  }

 private:
  struct Rep {
    Code code;
    std::string message;
    std::shared_ptr<const StatusPayload> payload;
  };
  std::shared_ptr<const Rep> rep_;
};

template <class T>
using Result = std::expected<T, Status>;

inline Status Ok() { return {}; }
Status Cancelled(std::string message);
Status Unknown(std::string message);
Status InvalidArgument(std::string message);
Status DeadlineExceeded(std::string message);
Status NotFound(std::string message);
Status AlreadyExists(std::string message);
Status PermissionDenied(std::string message);
Status ResourceExhausted(std::string message);
Status FailedPrecondition(std::string message);
Status Aborted(std::string message);
Status OutOfRange(std::string message);
Status Unimplemented(std::string message);
Status Internal(std::string message);
Status Unavailable(std::string message);
Status DataLoss(std::string message);
Status Unauthenticated(std::string message);
// From errno: ENOENT -> kNotFound, EEXIST -> kAlreadyExists, ENOSPC/EDQUOT/EMFILE -> kResourceExhausted, EACCES/EPERM
// -> kPermissionDenied, EIO -> kDataLoss, else kUnknown; the message is "what: strerror".
Status FromErrno(int error, std::string_view what);

// An error as the unexpected half of any Result.
inline std::unexpected<Status> Err(Status s) { return std::unexpected<Status>(std::move(s)); }

// Lets TRY return from functions of Status and of Result<T> alike.
class ErrorReturn {
 public:
  explicit ErrorReturn(Status s) : status_(std::move(s)) {}
  operator Status() && { return std::move(status_); }
  template <class T>
  operator std::expected<T, Status>() && {
    return std::unexpected<Status>(std::move(status_));
  }

 private:
  Status status_;
};

namespace internal {
inline const Status& StatusOf(const Status& s) { return s; }
template <class T>
const Status& StatusOf(const Result<T>& r) {
  static const Status ok;
  return r.has_value() ? ok : r.error();
}
[[noreturn]] void CheckFailed(const char* condition, const char* file, int line, std::string_view note);
}  // namespace internal

// The Status inside a Status or a Result<T>: a reference into what lives on, a value out of what does not.
template <class R>
const Status& StatusOf(const R& r) {
  return internal::StatusOf(r);
}
template <class R>
  requires(!std::is_lvalue_reference_v<R>)
Status StatusOf(R&& r) {
  return internal::StatusOf(r);
}

}  // namespace base

#define BASE_CONCAT2(a, b) a##b
#define BASE_CONCAT(a, b) BASE_CONCAT2(a, b)

// TRY(expr);            expr is a Status or a Result: returns the error, if any.
// TRY_ASSIGN(lhs, expr) expr is a Result: lhs (may declare) becomes its value.
// CO_TRY, CO_TRY_ASSIGN: the same inside a coroutine (expr may contain co_await).
#define TRY(expr)                                                               \
  do {                                                                          \
    auto&& base_try_r = (expr);                                                 \
    if (!::base::StatusOf(base_try_r).ok()) [[unlikely]]                        \
      return ::base::ErrorReturn(::base::Status(::base::StatusOf(base_try_r))); \
  } while (0)
#define TRY_ASSIGN_IMPL(tmp, lhs, expr)                 \
  auto tmp = (expr);                                    \
  if (!tmp.has_value()) [[unlikely]]                    \
    return ::base::ErrorReturn(std::move(tmp.error())); \
  lhs = std::move(*tmp)
#define TRY_ASSIGN(lhs, expr) TRY_ASSIGN_IMPL(BASE_CONCAT(base_try_, __COUNTER__), lhs, expr)
#define CO_TRY(expr)                                                               \
  do {                                                                             \
    auto&& base_try_r = (expr);                                                    \
    if (!::base::StatusOf(base_try_r).ok()) [[unlikely]]                           \
      co_return ::base::ErrorReturn(::base::Status(::base::StatusOf(base_try_r))); \
  } while (0)
#define CO_TRY_ASSIGN_IMPL(tmp, lhs, expr)                 \
  auto tmp = (expr);                                       \
  if (!tmp.has_value()) [[unlikely]]                       \
    co_return ::base::ErrorReturn(std::move(tmp.error())); \
  lhs = std::move(*tmp)
#define CO_TRY_ASSIGN(lhs, expr) CO_TRY_ASSIGN_IMPL(BASE_CONCAT(base_try_, __COUNTER__), lhs, expr)

// What cannot happen. Always on; prints the condition and place and aborts.
#define CHECK(cond) CHECK_MSG(cond, "")
#define CHECK_MSG(cond, note)                                         \
  do {                                                                \
    if (!(cond)) [[unlikely]]                                         \
      ::base::internal::CheckFailed(#cond, __FILE__, __LINE__, note); \
  } while (0)
