#include "apiserver/auth/tokens.h"

#include <algorithm>
#include <chrono>
#include <unordered_map>

#include "apiserver/registry/registry.h"
#include "base/bytes.h"
#include "base/strings.h"
#include "machinery/object/api_error.h"
#include "machinery/object/go_text.h"
#include "machinery/object/meta.h"
#include "machinery/object/time.h"

namespace apiserver::auth {

namespace object = machinery::object;
using machinery::request::Identity;
using machinery::value::List;
using machinery::value::Map;
using machinery::value::Value;
using Answer = base::Result<std::optional<TokenAnswer>>;

namespace {

constexpr std::string_view kAccountPrefix = "system:serviceaccount:";
constexpr std::string_view kExtra = "authentication.kubernetes.io/";

std::vector<std::string> Intersection(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  std::vector<std::string> out;
  for (const auto& x : a)
    if (std::find(b.begin(), b.end(), x) != b.end()) out.push_back(x);
  return out;
}

// Go's %q of a []string: ["a" "b"].
std::string QuotedList(const std::vector<std::string>& list) {
  std::string out = "[";
  for (const auto& s : list) out += (out.size() > 1 ? " " : "") + object::GoQuote(s);
  return out + "]";
}

// --- the token file ---

// One line of CSV with Go's encoding/csv rules for quotes.
std::vector<std::string> SplitCsv(std::string_view line) {
  std::vector<std::string> out(1);
  bool quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    char c = line[i];
    if (quoted) {
      if (c != '"')
        out.back() += c;
      else if (i + 1 < line.size() && line[i + 1] == '"')
        out.back() += line[++i];
      else
        quoted = false;
    } else if (c == '"' && out.back().empty()) {
      quoted = true;
    } else if (c == ',') {
      out.emplace_back();
    } else {
      out.back() += c;
    }
  }
  return out;
}

class FileTokens final : public TokenAuthenticator {
 public:
  explicit FileTokens(std::vector<std::string> audiences) : audiences_(std::move(audiences)) {}
  Answer AuthenticateToken(const std::string& token, const std::vector<std::string>& audiences) override {
    auto it = users_.find(token);
    if (it == users_.end()) return std::nullopt;
    TokenAnswer answer{it->second, Intersection(audiences.empty() ? audiences_ : audiences, audiences_)};
    return answer;
  }
  std::unordered_map<std::string, Identity> users_;

 private:
  std::vector<std::string> audiences_;
};

// --- service accounts ---

// A token whose signature was found good.
struct Verified {
  Value claims;
};

class AccountTokens final : public TokenAuthenticator {
 public:
  AccountTokens(registry::Registry& registry, std::vector<PublicKey> keys, ServiceAccountOptions options)
      : registry_(registry), keys_(std::move(keys)), options_(std::move(options)) {}

  Answer AuthenticateToken(const std::string& token, const std::vector<std::string>& audiences) override {
    TRY_ASSIGN(std::shared_ptr<const Value> claims, Verify(token));
    if (!claims) return std::nullopt;
    return Check(*claims, audiences.empty() ? options_.audiences : audiences);
  }

 private:
  static constexpr size_t kMaxRemembered = 4096;

  // The claims; null: not a token of mine.
  base::Result<std::shared_ptr<const Value>> Verify(const std::string& token) {
    auto known = verified_.find(token);
    if (known != verified_.end()) return known->second;
    auto parsed = ParseToken(token);
    if (!parsed) return nullptr;
    std::string issuer(parsed->claims.At("iss").string_or());
    if (std::find(options_.issuers.begin(), options_.issuers.end(), issuer) == options_.issuers.end()) return nullptr;
    for (const auto& key : keys_) {
      if (!parsed->key_id.empty() && parsed->key_id != key.key_id()) continue;
      if (parsed->algorithm != key.algorithm() || !key.Verify(parsed->signed_text, parsed->signature)) continue;
      if (verified_.size() >= kMaxRemembered) verified_.clear();
      return verified_[token] = std::make_shared<const Value>(std::move(parsed->claims));
    }
    return base::Err(base::Unauthenticated("failed to verify the signature of the token"));
  }

  Answer Check(const Value& claims, const std::vector<std::string>& wanted) {
    std::vector<std::string> theirs = claims.At("aud").is_string()
                                          ? std::vector<std::string>{claims.At("aud").as_string()}
                                          : object::StringsOf(claims.At("aud"));
    auto good = Intersection(wanted, theirs);
    if (good.empty())
      return base::Err(base::Unauthenticated("token audiences " + QuotedList(theirs) +
                                             " is invalid for the target audiences " + QuotedList(wanted)));
    TRY_ASSIGN(Identity identity, Live(claims));
    return TokenAnswer{std::move(identity), std::move(good)};
  }

  base::Result<Identity> Live(const Value& claims) {
    auto bad = [](std::string why) { return base::Err(base::Unauthenticated(std::move(why))); };
    int64_t now = std::chrono::floor<std::chrono::seconds>(registry_.executor().WallNow()).time_since_epoch().count();
    if (now > claims.At("exp").int_or()) return bad("service account token has expired");
    if (now < claims.At("nbf").int_or()) return bad("service account token is not valid yet");
    const Value& ours = claims.At("kubernetes.io");
    std::string ns(ours.At("namespace").string_or()), account(ours.At("serviceaccount", "name").string_or());
    std::string uid(ours.At("serviceaccount", "uid").string_or());
    TRY(SameAndAlive("serviceaccounts", "service account", ns, account, uid, now));
    Identity out;
    out.name = std::string(kAccountPrefix) + ns + ":" + account;
    out.uid = uid;
    out.groups = {"system:serviceaccounts", "system:serviceaccounts:" + ns};
    auto extra = [&](std::string_view key, std::string value) {
      out.extra[std::string(kExtra) + std::string(key)] = {std::move(value)};
    };
    for (std::string kind : {"pod", "secret"}) {
      const Value& ref = ours.At(kind);
      if (!ref.is_map()) continue;
      std::string name(ref.At("name").string_or()), ref_uid(ref.At("uid").string_or());
      TRY(SameAndAlive(kind + "s", kind, ns, name, ref_uid, now));
      if (kind == "pod") {
        extra("pod-name", name);
        extra("pod-uid", ref_uid);
      }
    }
    if (const Value& node = ours.At("node"); node.is_map()) {
      std::string name(node.At("name").string_or()), node_uid(node.At("uid").string_or());
      // A token of a pod names its node for information only; one bound to the node dies with it.
      if (!ours.At("pod").is_map()) TRY(SameAndAlive("nodes", "node", "", name, node_uid, now));
      extra("node-name", name);
      if (!node_uid.empty()) extra("node-uid", node_uid);
    }
    if (auto id = claims.At("jti").string_or(); !id.empty()) extra("credential-id", "JTI=" + std::string(id));
    return out;
  }

  // Objects that are going away stay good for as long as their grace lasts, and a minute more.
  base::Status SameAndAlive(const std::string& resource, const std::string& what, const std::string& ns,
                            const std::string& name, const std::string& uid, int64_t now) {
    constexpr int64_t kLeewaySeconds = 60;
    auto* store = registry_.FindStore("", resource);
    auto found = store ? store->Cached(ns, name) : nullptr;
    if (!found) return base::Unauthenticated(what + " is not found: " + ns + "/" + name);
    Value tree = found->Tree();
    if (object::UidOf(tree) != uid)
      return base::Unauthenticated(what + " UID (" + std::string(object::UidOf(tree)) + ") does not match claim (" +
                                   uid + ")");
    if (!object::IsDeleting(tree)) return base::Ok();
    auto at = object::ParseTime(object::DeletionTimestampOf(tree));
    if (at && at->seconds + kLeewaySeconds < now) return base::Unauthenticated(what + " has been deleted");
    return base::Ok();
  }

  registry::Registry& registry_;
  std::vector<PublicKey> keys_;
  ServiceAccountOptions options_;
  std::unordered_map<std::string, std::shared_ptr<const Value>> verified_;
};

}  // namespace

base::Result<std::unique_ptr<TokenAuthenticator>> TokenFile(std::string_view csv, std::vector<std::string> audiences) {
  auto out = std::make_unique<FileTokens>(std::move(audiences));
  while (!csv.empty()) {
    size_t end = csv.find('\n');
    std::string_view line = csv.substr(0, end);
    csv = end == csv.npos ? "" : csv.substr(end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    auto fields = SplitCsv(line);
    if (fields.size() < 3)
      return base::Err(
          base::InvalidArgument("token file must have at least 3 columns (token, user name, user uid), found " +
                                std::to_string(fields.size())));
    if (fields[0].empty()) continue;
    Identity user{.name = fields[1], .uid = fields[2]};
    if (fields.size() > 3 && !fields[3].empty()) user.groups = base::Split(fields[3], ',');
    out->users_[fields[0]] = std::move(user);
  }
  return out;
}

std::unique_ptr<TokenAuthenticator> ServiceAccountTokens(registry::Registry& registry, std::vector<PublicKey> keys,
                                                         ServiceAccountOptions options) {
  return std::make_unique<AccountTokens>(registry, std::move(keys), std::move(options));
}

std::function<base::Result<std::string>()> TokenIssuer::Signer(const Claims& c) const {
  Map ours, account;
  auto reference = [](const std::string& name, const std::string& uid) {
    Map ref;
    ref.Set("name", name);
    if (!uid.empty()) ref.Set("uid", uid);
    return Value(std::move(ref));
  };
  ours.Set("namespace", c.namespace_name);
  ours.Set("serviceaccount", reference(c.account, c.account_uid));
  if (c.bound) {
    std::string kind = base::Lower(c.bound->kind);
    ours.Set(kind, reference(c.bound->name, c.bound->uid));
  }
  if (c.node) ours.Set("node", reference(c.node->name, c.node->uid));
  int64_t expires = c.now + c.expiration_seconds;
  if (c.warn_after_seconds > 0) ours.Set("warnafter", Value(c.now + c.warn_after_seconds));
  List audiences(c.audiences.begin(), c.audiences.end());
  Map claims;
  claims.Set("aud", Value(std::move(audiences)));
  claims.Set("exp", Value(expires));
  claims.Set("iat", Value(c.now));
  claims.Set("iss", options_.issuers.front());
  claims.Set("jti", c.id);
  claims.Set("kubernetes.io", Value(std::move(ours)));
  claims.Set("nbf", Value(c.now));
  claims.Set("sub", std::string(kAccountPrefix) + c.namespace_name + ":" + c.account);
  return [key = key_, claims = Value(std::move(claims))] { return key->Sign(claims); };
}

base::Task<base::Result<std::optional<Identity>>> BearerTokens::Authenticate(base::Context,
                                                                             const Credentials& credentials) {
  if (credentials.bearer_token.empty()) co_return std::nullopt;
  auto answer = AuthenticateToken(credentials.bearer_token, {});
  if (!answer || !*answer) co_return base::Err(object::Unauthorized());
  co_return std::move((*answer)->identity);
}

Answer BearerTokens::AuthenticateToken(const std::string& token, const std::vector<std::string>& audiences) {
  std::vector<std::string> why = {"invalid bearer token"};
  for (auto& member : members_) {
    auto answer = member->AuthenticateToken(token, audiences);
    if (!answer)
      why.emplace_back(answer.error().message());
    else if (*answer)
      return answer;
  }
  return base::Err(base::Unauthenticated(why.size() == 1 ? why[0] : "[" + base::Join(why, ", ") + "]"));
}

}  // namespace apiserver::auth
