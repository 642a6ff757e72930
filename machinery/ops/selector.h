// Label and field selectors: parsed from text or from a LabelSelector object, matched, printed in canonical form. Texts
// of parse errors are the original's (kInvalidArgument; the apiserver makes a BadRequest of them).
// Immutable values; thread-safe.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "machinery/value/value.h"

namespace machinery::ops {

class LabelSelector {
 public:
  enum class Op { kIn, kNotIn, kEquals, kDoubleEquals, kNotEquals, kExists, kDoesNotExist, kGreaterThan, kLessThan };
  struct Requirement {
    std::string key;
    Op op = Op::kExists;
    std::vector<std::string> values;  // sorted
    // `label`: the object's text for `key`, nullptr when it has none.
    bool Matches(const std::string* label) const;
    std::string ToString() const;
  };

  LabelSelector() = default;  // everything
  static LabelSelector Nothing();
  // "a=b,c in (d,e),!f".
  static base::Result<LabelSelector> Parse(std::string_view text);
  // A meta/v1 LabelSelector as tree; null selects nothing, an empty one everything.
  static base::Result<LabelSelector> FromObject(const value::Value& selector);
  // key = value for each entry of a map of strings (Service selectors); unchecked.
  static LabelSelector FromMap(const value::Value& map);

  // `labels`: a map of strings or null.
  bool Matches(const value::Value& labels) const;
  bool Empty() const { return requirements_.empty() && !nothing_; }
  bool MatchesNothing() const { return nothing_; }
  const std::vector<Requirement>& requirements() const { return requirements_; }  // by key
  std::string ToString() const;

 private:
  std::vector<Requirement> requirements_;
  bool nothing_ = false;
};

class FieldSelector {
 public:
  struct Term {
    std::string field, value;
    bool equal = true;
  };
  FieldSelector() = default;  // everything
  // "metadata.name=a,spec.nodeName!=b"; backslash escapes \ , =.
  static base::Result<FieldSelector> Parse(std::string_view text);
  void Add(Term term) { terms_.push_back(std::move(term)); }

  // `get` gives the text of a field, "" when absent.
  bool Matches(const std::function<std::string(std::string_view field)>& get) const;
  // The value that `field` must have, if the selector pins it.
  std::optional<std::string> RequiredValue(std::string_view field) const;
  bool Empty() const { return terms_.empty(); }
  const std::vector<Term>& terms() const { return terms_; }
  std::string ToString() const;

 private:
  std::vector<Term> terms_;
};

}  // namespace machinery::ops
