#include "machinery/codec/text_value.h"

#include <algorithm>

namespace machinery::codec {

namespace {

constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::array<uint8_t, 256> kInverse = [] {
  std::array<uint8_t, 256> out{};
  out.fill(0xFF);
  for (uint8_t i = 0; i < 64; ++i) out[static_cast<unsigned char>(kAlphabet[i])] = i;
  return out;
}();

base::Status IllegalAt(size_t at) {
  return base::InvalidArgument("illegal base64 data at input byte " + std::to_string(at));
}

// The last characters (and those with line breaks among them), one by one, with Go's idea of where an error is.
base::Status DecodeTail(std::string_view text, size_t at, std::string& out) {
  auto skip_breaks = [&] {
    while (at < text.size() && (text[at] == '\n' || text[at] == '\r')) ++at;
  };
  for (;;) {
    uint32_t bits = 0;
    int have = 0;
    bool ended = false;
    while (have < 4) {
      skip_breaks();
      if (at == text.size()) {
        if (have == 0) return base::Ok();
        return IllegalAt(at - static_cast<size_t>(have));
      }
      char c = text[at++];
      uint8_t six = kInverse[static_cast<unsigned char>(c)];
      if (six != 0xFF) {
        bits = bits << 6 | six;
        ++have;
        continue;
      }
      if (c != '=' || have < 2) return IllegalAt(at - 1);
      if (have == 2) {
        skip_breaks();
        if (at == text.size()) return IllegalAt(text.size());
        if (text[at] != '=') return IllegalAt(at - 1);
        ++at;
      }
      skip_breaks();
      if (at < text.size()) return IllegalAt(at);
      ended = true;
      break;
    }
    bits <<= 6 * (4 - have);
    for (int i = 0; i < have - 1; ++i) out.push_back(static_cast<char>(bits >> (16 - 8 * i)));
    if (ended) return base::Ok();
  }
}

}  // namespace

base::Result<std::string> DecodeBase64(std::string_view text) {
  std::string out;
  out.reserve(text.size() / 4 * 3 + 3);
  size_t at = 0;
  for (; at + 4 <= text.size(); at += 4) {
    uint32_t a = kInverse[static_cast<unsigned char>(text[at])], b = kInverse[static_cast<unsigned char>(text[at + 1])],
             c = kInverse[static_cast<unsigned char>(text[at + 2])],
             d = kInverse[static_cast<unsigned char>(text[at + 3])];
    if ((a | b | c | d) > 63) break;
    uint32_t bits = a << 18 | b << 12 | c << 6 | d;
    const char three[3] = {static_cast<char>(bits >> 16), static_cast<char>(bits >> 8), static_cast<char>(bits)};
    out.append(three, 3);
  }
  TRY(DecodeTail(text, at, out));
  return out;
}

void AppendBase64(std::string& out, std::string_view bytes) {
  size_t start = out.size();
  out.resize(start + (bytes.size() + 2) / 3 * 4);
  char* to = out.data() + start;
  auto at = [&](size_t i) -> uint32_t { return i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0; };
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t bits = at(i) << 16 | at(i + 1) << 8 | at(i + 2);
    *to++ = kAlphabet[bits >> 18];
    *to++ = kAlphabet[bits >> 12 & 63];
    *to++ = i + 1 < bytes.size() ? kAlphabet[bits >> 6 & 63] : '=';
    *to++ = i + 2 < bytes.size() ? kAlphabet[bits & 63] : '=';
  }
}

void Row::Put(size_t flat, value::Value v) {
  bool kept = IsKept(index_.flat[flat], v);
  if (value::Value* found = Find(flat)) {
    if (kept) {
      *found = std::move(v);
      return;
    }
    auto i = static_cast<size_t>(
        std::find_if(entries_.begin(), entries_.end(), [&](auto& e) { return &e.value == found; }) - entries_.begin());
    entries_.erase(entries_.begin() + static_cast<ptrdiff_t>(i));
    std::copy(order_.begin() + static_cast<ptrdiff_t>(i) + 1,
              order_.begin() + static_cast<ptrdiff_t>(entries_.size()) + 1, order_.begin() + static_cast<ptrdiff_t>(i));
    seen_.reset(flat);
  } else if (kept) {
    Add(flat, std::move(v));
  }
}

void Row::SortMaps() {
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (index_.flat[order_[i]].type->shape == schema::Shape::kMap) entries_[i].value.map().SortByKey();
  }
}

value::Value Row::Finish() {
  value::Map map;
  if (sorted_ && (index_.always & ~seen_).none()) {
    map.entries() = std::move(entries_);
    return value::Value(std::move(map));
  }
  std::array<uint8_t, schema::kMaxFlatFields> place;  // of a seen field among the entries
  for (size_t i = 0; i < entries_.size(); ++i) place[order_[i]] = static_cast<uint8_t>(i);
  auto& out = map.entries();
  out.reserve(entries_.size() + (index_.always & ~seen_).count());
  for (size_t flat = 0; flat < index_.flat.size(); ++flat) {
    if (seen_[flat]) {
      out.push_back(std::move(entries_[place[flat]]));
    } else if (index_.always[flat]) {
      const schema::FlatField& f = index_.flat[flat];
      out.push_back({f.field->name, f.pointer ? value::Value() : f.type->index->zero});
    }
  }
  return value::Value(std::move(map));
}

}  // namespace machinery::codec
