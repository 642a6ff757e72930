// TokenReview and SelfSubjectReview: questions that are answered and not stored.
#include "apiserver/auth/tokens.h"
#include "apiserver/registry/registry.h"
#include "machinery/object/meta.h"
#include "machinery/object/time.h"

namespace apiserver::registry {

namespace object = machinery::object;
using machinery::request::Identity;
using machinery::schema::Kind;
using machinery::value::List;
using machinery::value::Map;

namespace {

Value Strings(const std::vector<std::string>& list) { return Value(List(list.begin(), list.end())); }

Value UserInfo(const Identity& who) {
  Map out;
  if (!who.name.empty()) out.Set("username", who.name);
  if (!who.uid.empty()) out.Set("uid", who.uid);
  if (!who.groups.empty()) out.Set("groups", Strings(who.groups));
  if (!who.extra.empty()) {
    Map extra;
    for (const auto& [key, values] : who.extra) extra.Set(key, Strings(values));
    out.Set("extra", Value(std::move(extra)));
  }
  return Value(std::move(out));
}

class Review : public Strategy {
 public:
  using Strategy::Strategy;
  bool CreateOnly() const override { return true; }
  // A review has no name.
  FieldErrors Validate(const Operation&, const Value&) const override { return {}; }
};

class TokenReview final : public Review {
 public:
  using Review::Review;
  base::Task<base::Result<Value>> Answer(Operation op, Value review) const override {
    std::string token(review.At("spec", "token").string_or());
    if (token.empty()) co_return base::Err(object::BadRequest("token is required for TokenReview in authentication"));
    auto wanted = object::StringsOf(review.At("spec", "audiences"));
    auto* tokens = op.registry->facilities().tokens;
    Map status;
    base::Result<std::optional<auth::TokenAnswer>> answer = std::nullopt;
    if (tokens) answer = tokens->AuthenticateToken(token, wanted);
    if (!answer) {
      status.Set("user", Value(Map{}));
      status.Set("error", answer.error().message());
    } else if (!*answer) {
      status.Set("user", Value(Map{}));
    } else {
      Identity who = (*answer)->identity;
      if (!who.InGroup("system:authenticated")) who.groups.emplace_back("system:authenticated");
      status.Set("authenticated", Value(true));
      status.Set("user", UserInfo(who));
      if (!(*answer)->audiences.empty()) status.Set("audiences", Strings((*answer)->audiences));
    }
    review.Set("status", Value(std::move(status)));
    co_return review;
  }
};

class SelfSubjectReview final : public Review {
 public:
  using Review::Review;
  base::Task<base::Result<Value>> Answer(Operation op, Value review) const override {
    if (op.request->identity.name.empty()) co_return base::Err(object::BadRequest("no user present on request"));
    auto now = std::chrono::floor<std::chrono::seconds>(op.registry->executor().WallNow());
    Value meta(Map{{"creationTimestamp", Value(object::FormatTime(now.time_since_epoch().count()))}});
    review.Set("metadata", std::move(meta));
    review.Set("status", Value(Map{{"userInfo", UserInfo(op.request->identity)}}));
    co_return review;
  }
};

}  // namespace

std::unique_ptr<Strategy> NewTokenReviewStrategy(const Kind& kind) { return std::make_unique<TokenReview>(kind); }
std::unique_ptr<Strategy> NewSelfSubjectReviewStrategy(const Kind& kind) {
  return std::make_unique<SelfSubjectReview>(kind);
}

}  // namespace apiserver::registry
