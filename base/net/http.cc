#include "base/net/http.h"

#include "base/sync.h"

#include <algorithm>

namespace base::net {

void Headers::Set(std::string_view name, std::string value) {
  for (auto it = fields_.begin(); it != fields_.end(); ++it) {
    if (it->first != name) continue;
    it->second = std::move(value);
    fields_.erase(std::remove_if(it + 1, fields_.end(), [&](const auto& f) { return f.first == name; }), fields_.end());
    return;
  }
  fields_.emplace_back(name, std::move(value));
}

void Headers::Remove(std::string_view name) {
  std::erase_if(fields_, [&](const auto& f) { return f.first == name; });
}

std::string_view Headers::Get(std::string_view name) const {
  for (const auto& [n, v] : fields_)
    if (n == name) return v;
  return {};
}

bool Headers::Has(std::string_view name) const {
  return std::any_of(fields_.begin(), fields_.end(), [&](const auto& f) { return f.first == name; });
}

void Headers::Fit(size_t limit) {
  constexpr size_t kShort = 1024;
  auto size = [](const auto& f) { return f.first.size() + f.second.size() + 32; };
  if (bytes() <= limit) return;
  for (auto& [name, value] : fields_) {
    if (value.size() <= kShort) continue;
    size_t end = kShort;
    while (end > 0 && (static_cast<unsigned char>(value[end]) & 0xC0) == 0x80) --end;
    value.resize(name.ends_with("-bin") ? 0 : end);
  }
  size_t total = 0;
  std::erase_if(fields_, [&](const auto& f) {
    bool gone = total + size(f) > limit || (f.second.empty() && f.first.ends_with("-bin"));
    if (!gone) total += size(f);
    return gone;
  });
}

std::vector<std::string_view> Headers::GetAll(std::string_view name) const {
  std::vector<std::string_view> out;
  for (const auto& [n, v] : fields_)
    if (n == name) out.push_back(v);
  return out;
}

namespace {

Task<void> Pump(ByteStream& from, ByteStream& to, Context ctx, Status& outcome) {
  for (;;) {
    auto piece = co_await from.Read(ctx, 64 << 10);
    if (!piece) {
      outcome = piece.error();
      break;
    }
    bool end = piece->empty();
    outcome = end ? co_await to.CloseWrite(ctx) : co_await to.Write(ctx, std::move(*piece));
    if (end || !outcome.ok()) break;
  }
  // A half that failed ends the other one too; a half that ended leaves it alone.
  if (!outcome.ok()) ctx.Cancel(outcome);
}

bool Unreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
         c == '_' || c == '~';
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

Task<Status> Splice(Executor& executor, Context ctx, std::unique_ptr<ByteStream> a, std::unique_ptr<ByteStream> b) {
  TaskScope scope(executor, ctx);
  Status forth, back;
  scope.Spawn(Pump(*a, *b, scope.context(), forth));
  scope.Spawn(Pump(*b, *a, scope.context(), back));
  co_await scope.Join();
  // The one that was only cancelled says less than the one that failed.
  co_return forth.ok() || forth.code() == Code::kCancelled ? (back.ok() ? forth : back) : forth;
}

std::string PercentDecode(std::string_view text, bool form) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      int high = HexDigit(text[i + 1]), low = HexDigit(text[i + 2]);
      if (high >= 0 && low >= 0) {
        out.push_back(static_cast<char>(high << 4 | low));
        i += 2;
        continue;
      }
    }
    out.push_back(form && text[i] == '+' ? ' ' : text[i]);
  }
  return out;
}

std::string PercentEncode(std::string_view text) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string out;
  for (char c : text) {
    if (Unreserved(c)) {
      out.push_back(c);
    } else {
      out.push_back('%');
      out.push_back(kDigits[static_cast<uint8_t>(c) >> 4]);
      out.push_back(kDigits[static_cast<uint8_t>(c) & 15]);
    }
  }
  return out;
}

std::vector<std::pair<std::string, std::string>> ParseQuery(std::string_view query) {
  std::vector<std::pair<std::string, std::string>> out;
  while (!query.empty()) {
    size_t end = std::min(query.find('&'), query.size());
    std::string_view part = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    if (part.empty()) continue;
    size_t equals = part.find('=');
    out.emplace_back(PercentDecode(part.substr(0, equals), true),
                     equals == std::string_view::npos ? "" : PercentDecode(part.substr(equals + 1), true));
  }
  return out;
}

}  // namespace base::net
