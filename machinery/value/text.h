// What the text formats of the tree share: finding the bytes that need care, 16 at a time, and UTF-8. Pure;
// thread-safe. For machinery/value and machinery/codec.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace machinery::value {

// Bytes of the well-formed UTF-8 sequence at p (p < end), 0 when it is none.
size_t Utf8Length(const char* p, const char* end);
void AppendUtf8(std::string& out, uint32_t rune);

// The first byte that is not ASCII, or end.
inline const char* SkipAscii(const char* p, const char* end) {
#if defined(__SSE2__)
  for (; end - p >= 16; p += 16) {
    int bits = _mm_movemask_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    if (bits) return p + __builtin_ctz(static_cast<unsigned>(bits));
  }
#endif
  while (p != end && static_cast<unsigned char>(*p) < 0x80) ++p;
  return p;
}

// The first byte that cannot stand for itself inside a JSON string that is read: a quote, a backslash, a control
// character, or not ASCII; or end.
inline const char* SkipJsonPlain(const char* p, const char* end) {
#if defined(__SSE2__)
  const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\'), space = _mm_set1_epi8(0x20);
  for (; end - p >= 16; p += 16) {
    __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    // Signed comparison: bytes from 0x80 are negative and so below space, as control characters are.
    __m128i hit = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, backslash)),
                               _mm_cmplt_epi8(bytes, space));
    int bits = _mm_movemask_epi8(hit);
    if (bits) return p + __builtin_ctz(static_cast<unsigned>(bits));
  }
#endif
  for (; p != end; ++p) {
    auto c = static_cast<unsigned char>(*p);
    if (c == '"' || c == '\\' || c < 0x20 || c >= 0x80) break;
  }
  return p;
}

// The same for a JSON string that is written: Go also escapes <, > and &.
inline const char* SkipJsonSafe(const char* p, const char* end) {
#if defined(__SSE2__)
  const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\'), space = _mm_set1_epi8(0x20);
  const __m128i less = _mm_set1_epi8('<'), more = _mm_set1_epi8('>'), amp = _mm_set1_epi8('&');
  for (; end - p >= 16; p += 16) {
    __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    __m128i hit = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, backslash)),
                               _mm_cmplt_epi8(bytes, space));
    hit = _mm_or_si128(hit, _mm_or_si128(_mm_cmpeq_epi8(bytes, amp),
                                         _mm_or_si128(_mm_cmpeq_epi8(bytes, less), _mm_cmpeq_epi8(bytes, more))));
    int bits = _mm_movemask_epi8(hit);
    if (bits) return p + __builtin_ctz(static_cast<unsigned>(bits));
  }
#endif
  for (; p != end; ++p) {
    auto c = static_cast<unsigned char>(*p);
    if (c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' || c < 0x20 || c >= 0x80) break;
  }
  return p;
}

// Go's %q of a text that is mostly ASCII: for error messages.
std::string Quote(std::string_view text);

}  // namespace machinery::value
