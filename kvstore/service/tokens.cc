#include "kvstore/service/tokens.h"

#include <charconv>
#include <map>

#include "base/file.h"
#include "base/go_duration.h"
#include "base/json_writer.h"
#include "kvstore/transcode/json.h"

namespace kvstore::service {

using base::Err;
using base::InvalidArgument;
using base::Result;

namespace {

int64_t Seconds(base::WallTime t) {
  return std::chrono::duration_cast<std::chrono::seconds>(t.time_since_epoch()).count();
}

std::optional<int64_t> NumberOf(const transcode::JsonValue& claims, std::string_view name) {
  const transcode::JsonValue* v = claims.Find(name);
  int64_t n = 0;
  if (v == nullptr || v->kind != transcode::JsonValue::Kind::kNumber) return std::nullopt;
  auto [end, error] = std::from_chars(v->text.data(), v->text.data() + v->text.size(), n);
  if (error != std::errc()) return std::nullopt;
  return n;
}

}  // namespace

Result<std::string> TokenPolicy::Sign(const mvcc::Identity& who, base::WallTime now) const {
  base::JsonWriter w;
  w.BeginObject().Key("exp").Int(Seconds(now + ttl)).Key("revision").Uint(who.revision);
  w.Key("username").String(who.user).EndObject();
  return jwt->Sign(w.Take());
}

std::optional<mvcc::Identity> TokenPolicy::Verify(const std::string& token, base::WallTime now) const {
  auto payload = jwt->Verify(token);
  auto claims = payload ? transcode::ParseJson(*payload) : Err(InvalidArgument("bad signature"));
  if (!claims) return std::nullopt;
  const transcode::JsonValue* user = claims->Find("username");
  auto revision = NumberOf(*claims, "revision");
  if (user == nullptr || user->kind != transcode::JsonValue::Kind::kString || !revision) return std::nullopt;
  auto expiry = NumberOf(*claims, "exp"), not_before = NumberOf(*claims, "nbf");
  if ((expiry && *expiry <= Seconds(now)) || (not_before && *not_before > Seconds(now))) return std::nullopt;
  return mvcc::Identity{user->text, static_cast<uint64_t>(*revision)};
}

Result<TokenPolicy> ParseTokenPolicy(base::FileSystem& fs, const std::string& text, base::Duration simple_ttl) {
  std::map<std::string, std::string> options;
  std::string kind;
  for (size_t at = 0; at <= text.size();) {
    size_t comma = std::min(text.find(',', at), text.size());
    std::string item = text.substr(at, comma - at);
    size_t eq = item.find('=');
    if (at == 0) {
      kind = item;
    } else if (eq == std::string::npos || item.find('=', eq + 1) != std::string::npos ||
               !options.emplace(item.substr(0, eq), item.substr(eq + 1)).second) {
      return Err(InvalidArgument("auth: invalid auth options"));
    }
    at = comma + 1;
  }
  TokenPolicy out;
  if (kind == "simple" || kind.empty()) {
    if (simple_ttl > base::Duration::zero()) out.ttl = simple_ttl;
    return out;
  }
  if (kind != "jwt") return Err(InvalidArgument("auth: invalid auth options"));
  if (!options["ttl"].empty()) {
    TRY_ASSIGN(out.ttl, base::ParseGoDuration(options["ttl"]));
  }
  std::string file = options["priv-key"].empty() ? options["pub-key"] : options["priv-key"];
  if (file.empty()) return Err(InvalidArgument("missing key data"));
  TRY_ASSIGN(std::string key, base::ReadFile(fs, file));
  TRY_ASSIGN(out.jwt, base::JwsKey::Make(options["sign-method"], std::move(key)));
  return out;
}

}  // namespace kvstore::service
