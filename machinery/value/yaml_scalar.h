// Which value a plain YAML 1.1 scalar is, by go-yaml v2's rules: yes/no/on/off are booleans, 0x, 0b and leading-zero
// octals are integers, 1_000 is 1000, dates stay text. Pure; thread-safe. For yaml.cc.
#pragma once

#include <string>
#include <string_view>

#include "machinery/value/value.h"

namespace machinery::value {

enum class YamlTag : uint8_t { kString, kBool, kInt, kFloat, kNull, kTimestamp, kMerge };

struct YamlScalar {
  YamlTag tag = YamlTag::kString;
  Value value;
  double number = 0;  // kFloat: NaN and infinities have no Value
  bool finite = true;
};
// `allow_timestamp` is false where an explicit tag asks for something else.
YamlScalar ResolveYaml(std::string_view text, bool allow_timestamp = true);
// Go's strconv.FormatFloat(v, 'g', -1, 32): how float keys become text.
std::string YamlFloatKey(double number);

}  // namespace machinery::value
