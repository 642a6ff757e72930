#include "machinery/client/informer.h"

#include <algorithm>
#include <charconv>

#include "base/log.h"
#include "machinery/object/api_error.h"

namespace machinery::client {

std::string_view NamespaceOfKey(std::string_view key) {
  auto slash = key.find('/');
  return slash == key.npos ? std::string_view() : key.substr(0, slash);
}

std::string_view NameOfKey(std::string_view key) {
  auto slash = key.find('/');
  return slash == key.npos ? key : key.substr(slash + 1);
}

base::Duration ReflectorBackoff::Next() {
  base::Duration delay = std::chrono::milliseconds(100) * (1 << std::min(failures_++, 7));
  delay = std::min<base::Duration>(delay, std::chrono::seconds(10));
  seed_ = seed_ * 6364136223846793005u + 1442695040888963407u;
  return delay / 2 + delay * static_cast<int64_t>(seed_ >> 54) / 1024;
}

uint64_t ReflectorSeed(const Client& client, const Resource& r, const ListOptions& options) {
  return base::Fnv1a64(client.user_agent() + '\n' + r.group + '\n' + r.resource + '\n' + options.namespace_name + '\n' +
                       options.field_selector);
}

bool MustRelist(const base::Status& s) {
  if (s.ok()) return false;
  if (object::IsGone(s)) return true;
  // A server whose state was set back (restored from a backup) does not know the version we ask for.
  const auto* error = object::AsApiError(s);
  return error && std::ranges::any_of(error->causes,
                                      [](const object::Cause& c) { return c.reason == "ResourceVersionTooLarge"; });
}

bool WentBack(const std::string& before, const std::string& now) {
  uint64_t a = 0, b = 0;
  auto number = [](const std::string& text, uint64_t& out) {
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    return error == std::errc() && end == text.data() + text.size();
  };
  return number(before, a) && number(now, b) && b < a;
}

base::Status RevisionsWentBack() { return object::ResourceExpired("the server's revisions went back"); }

void LogReflector(const Resource& r, std::string_view what, const base::Status& s) {
  if (s.code() == base::Code::kCancelled) return;
  if (object::IsGone(s) || s.code() == base::Code::kUnavailable) {
    base::LogV(2, "Reflector starts again", {{"resource", r.resource}, {"what", what}, {"err", s}});
    return;
  }
  base::LogError("Reflector failed", s, {{"resource", r.resource}, {"what", what}});
}

}  // namespace machinery::client
