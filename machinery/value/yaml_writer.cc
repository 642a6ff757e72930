// YAML out through libyaml's emitter, set up as go-yaml v2 sets up its port of it.
#include <yaml.h>

#include <algorithm>
#include <cctype>

#include "base/bytes.h"
#include "machinery/value/text.h"
#include "machinery/value/value.h"
#include "machinery/value/yaml_scalar.h"

namespace machinery::value {

namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsLetter(unsigned char c) { return std::isalpha(c) || c >= 0x80; }

// go-yaml's order of keys: runs of digits by number, letters before others at the first difference.
bool KeyBefore(std::string_view a, std::string_view b) {
  size_t n = std::min(a.size(), b.size());
  bool digits = false;
  for (size_t i = 0; i < n; ++i) {
    if (a[i] == b[i]) {
      digits = IsDigit(a[i]);
      continue;
    }
    bool a_letter = IsLetter(static_cast<unsigned char>(a[i])), b_letter = IsLetter(static_cast<unsigned char>(b[i]));
    if (a_letter && b_letter) return a[i] < b[i];
    if (a_letter || b_letter) return digits ? a_letter : b_letter;
    // Leading zeros: where both are digits behind zeros, the digit runs are compared as numbers.
    size_t a_end = i, b_end = i;
    uint64_t a_number = 0, b_number = 0;
    if (a[i] == '0' || b[i] == '0') {
      for (size_t j = i; j-- > 0 && IsDigit(a[j]);) {
        if (a[j] != '0') {
          a_number = b_number = 1;
          break;
        }
      }
    }
    for (; a_end < a.size() && IsDigit(a[a_end]); ++a_end)
      a_number = a_number * 10 + static_cast<uint64_t>(a[a_end] - '0');
    for (; b_end < b.size() && IsDigit(b[b_end]); ++b_end)
      b_number = b_number * 10 + static_cast<uint64_t>(b[b_end] - '0');
    if (a_number != b_number) return a_number < b_number;
    if (a_end != b_end) return a_end < b_end;
    return static_cast<unsigned char>(a[i]) < static_cast<unsigned char>(b[i]);
  }
  return a.size() < b.size();
}

// YAML 1.1 would read "1:30" as a number of base 60; go-yaml does not, but quotes it for those who do.
bool IsBase60(std::string_view s) {
  size_t i = 0;
  if (i < s.size() && (s[i] == '+' || s[i] == '-')) ++i;
  if (i >= s.size() || !IsDigit(s[i]) || s.find(':') == s.npos) return false;
  ++i;
  while (i < s.size() && (IsDigit(s[i]) || s[i] == '_')) ++i;
  size_t groups = 0;
  while (i < s.size() && s[i] == ':') {
    ++i;
    if (i < s.size() && s[i] >= '0' && s[i] <= '5' && i + 1 < s.size() && IsDigit(s[i + 1])) ++i;
    if (i >= s.size() || !IsDigit(s[i])) return false;
    ++i;
    ++groups;
  }
  if (groups == 0) return false;
  if (i < s.size() && s[i] == '.') {
    ++i;
    while (i < s.size() && (IsDigit(s[i]) || s[i] == '_')) ++i;
  }
  return i == s.size();
}

class Emitter {
 public:
  Emitter() {
    yaml_emitter_initialize(&emitter_);
    yaml_emitter_set_output(&emitter_, &Emitter::Write, &out_);
    yaml_emitter_set_unicode(&emitter_, 1);
  }
  ~Emitter() { yaml_emitter_delete(&emitter_); }
  Emitter(const Emitter&) = delete;

  std::string Run(const Value& v) {
    yaml_event_t event;
    yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING);
    Emit(&event);
    yaml_document_start_event_initialize(&event, nullptr, nullptr, nullptr, 1);
    Emit(&event);
    Put(v);
    yaml_document_end_event_initialize(&event, 1);
    Emit(&event);
    yaml_stream_end_event_initialize(&event);
    Emit(&event);
    yaml_emitter_flush(&emitter_);
    return std::move(out_);
  }

 private:
  static int Write(void* out, unsigned char* bytes, size_t n) {
    static_cast<std::string*>(out)->append(reinterpret_cast<const char*>(bytes), n);
    return 1;
  }
  // unreachable from outside: texts are valid UTF-8 (Text sees to it), so it fails only without memory
  void Emit(yaml_event_t* event) { CHECK_MSG(yaml_emitter_emit(&emitter_, event), emitter_.problem); }

  void Scalar(std::string_view text, yaml_scalar_style_t style, const char* tag = nullptr) {
    yaml_event_t event;
    const auto* bytes = reinterpret_cast<const yaml_char_t*>(text.data());
    yaml_scalar_event_initialize(&event, nullptr, reinterpret_cast<const yaml_char_t*>(tag), bytes,
                                 static_cast<int>(text.size()), tag == nullptr, tag == nullptr, style);
    Emit(&event);
  }

  void Text(std::string_view s) {
    if (!IsValidUtf8(s))
      return Scalar(base::Base64Encode(s), YAML_DOUBLE_QUOTED_SCALAR_STYLE, "tag:yaml.org,2002:binary");
    if (s.find('\n') != s.npos) return Scalar(s, YAML_LITERAL_SCALAR_STYLE);
    YamlTag tag = ResolveYaml(s).tag;
    bool plain = tag == YamlTag::kString && !IsBase60(s) && s != "<<";
    Scalar(s, plain ? YAML_PLAIN_SCALAR_STYLE : YAML_DOUBLE_QUOTED_SCALAR_STYLE);
  }

  void Put(const Value& v) {
    yaml_event_t event;
    if (v.is_map()) {
      std::vector<const Map::Entry*> order;
      for (const Map::Entry& e : v.map()) order.push_back(&e);
      std::sort(order.begin(), order.end(), [](auto* a, auto* b) { return KeyBefore(a->key, b->key); });
      auto style = order.empty() ? YAML_FLOW_MAPPING_STYLE : YAML_BLOCK_MAPPING_STYLE;
      yaml_mapping_start_event_initialize(&event, nullptr, nullptr, 1, style);
      Emit(&event);
      for (const Map::Entry* e : order) {
        Text(e->key);
        Put(e->value);
      }
      yaml_mapping_end_event_initialize(&event);
      Emit(&event);
    } else if (v.is_list()) {
      auto style = v.list().empty() ? YAML_FLOW_SEQUENCE_STYLE : YAML_BLOCK_SEQUENCE_STYLE;
      yaml_sequence_start_event_initialize(&event, nullptr, nullptr, 1, style);
      Emit(&event);
      for (const Value& item : v.list()) Put(item);
      yaml_sequence_end_event_initialize(&event);
      Emit(&event);
    } else if (v.is_string()) {
      Text(v.as_string());
    } else {
      Scalar(ToJson(v), YAML_PLAIN_SCALAR_STYLE);
    }
  }

  std::string out_;
  yaml_emitter_t emitter_{};
};

}  // namespace

std::string ToYaml(const Value& v) { return Emitter().Run(v); }

}  // namespace machinery::value
