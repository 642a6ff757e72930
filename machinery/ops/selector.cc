#include "machinery/ops/selector.h"

#include <algorithm>
#include <charconv>
#include <tuple>

#include "base/strings.h"
#include "machinery/object/api_error.h"
#include "machinery/object/go_text.h"
#include "machinery/object/names.h"

namespace machinery::ops {
namespace {

using base::Result;
using base::Status;
using value::Value;
using Op = LabelSelector::Op;
using Requirement = LabelSelector::Requirement;

constexpr const char* kOperators = "in, notin, =, ==, !=, gt, lt";

Status Error(std::string message) { return base::InvalidArgument(std::move(message)); }

// What a URL can hold: every object of a list is held against every requirement.
constexpr size_t kMaxSelectorBytes = 64 << 10;
Status TooLong() { return Error("a selector may have " + std::to_string(kMaxSelectorBytes) + " bytes at most"); }

std::optional<int64_t> ParseInt(std::string_view s) {
  if (s.starts_with('+')) s.remove_prefix(1);
  int64_t v = 0;
  auto [p, ec] = std::from_chars(s.data(), s.data() + s.size(), v);
  if (s.empty() || ec != std::errc() || p != s.data() + s.size()) return std::nullopt;
  return v;
}

// Checks one requirement, all reasons at once.
Result<Requirement> Make(std::string key, Op op, std::vector<std::string> values) {
  object::FieldErrors errors;
  if (auto reasons = object::IsQualifiedName(key); !reasons.empty())
    errors.push_back(object::Invalid("key", key, base::Join(reasons, "; ")));
  auto values_error = [&](const char* why) {
    value::List list(values.begin(), values.end());
    errors.push_back(object::Invalid("values", values.empty() ? Value(value::List{}) : Value(std::move(list)), why));
  };
  switch (op) {
    case Op::kIn:
    case Op::kNotIn:
      if (values.empty()) values_error("for 'in', 'notin' operators, values set can't be empty");
      break;
    case Op::kEquals:
    case Op::kDoubleEquals:
    case Op::kNotEquals:
      if (values.size() != 1) values_error("exact-match compatibility requires one single value");
      break;
    case Op::kExists:
    case Op::kDoesNotExist:
      if (!values.empty()) values_error("values set must be empty for exists and does not exist");
      break;
    case Op::kGreaterThan:
    case Op::kLessThan:
      if (values.size() != 1) values_error("for 'Gt', 'Lt' operators, exactly one value is required");
      for (size_t i = 0; i < values.size(); ++i) {
        if (!ParseInt(values[i])) {
          errors.push_back(object::Invalid("values[" + std::to_string(i) + "]", values[i],
                                           "for 'Gt', 'Lt' operators, the value must be an integer"));
        }
      }
  }
  for (size_t i = 0; i < values.size(); ++i) {
    if (auto reasons = object::IsLabelValue(values[i]); !reasons.empty()) {
      errors.push_back(
          object::Invalid("values[" + std::to_string(i) + "][" + key + "]", values[i], base::Join(reasons, "; ")));
    }
  }
  if (!errors.empty()) return base::Err(Error(object::Aggregate(errors)));
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  return Requirement{std::move(key), op, std::move(values)};
}

void SortByKey(std::vector<Requirement>& requirements) {
  std::sort(requirements.begin(), requirements.end(), [](const Requirement& a, const Requirement& b) {
    return std::tie(a.key, a.op, a.values) < std::tie(b.key, b.op, b.values);
  });
}

struct Token {
  enum Kind { kEnd, kText, kComma, kOpen, kClose, kNot, kIn, kNotIn, kEq, kEqEq, kNotEq, kGreater, kLess, kBad } kind;
  std::string text;
};

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
bool IsSpecial(char c) { return std::string_view("=!(),><").find(c) != std::string_view::npos; }

Token ReadSpecial(std::string_view s, size_t& at) {
  static constexpr std::pair<std::string_view, Token::Kind> kTokens[] = {
      {"==", Token::kEqEq}, {"!=", Token::kNotEq}, {"=", Token::kEq},      {"!", Token::kNot}, {",", Token::kComma},
      {"(", Token::kOpen},  {")", Token::kClose},  {">", Token::kGreater}, {"<", Token::kLess}};
  for (auto& [text, kind] : kTokens) {
    if (!s.substr(at).starts_with(text)) continue;
    at += text.size();
    return {kind, std::string(text)};
  }
  ++at;
  return {Token::kBad, ""};
}

std::vector<Token> Tokenize(std::string_view s) {
  std::vector<Token> tokens;
  for (size_t at = 0; at < s.size() && s[at] != '\0';) {
    if (IsSpace(s[at])) {
      ++at;
    } else if (IsSpecial(s[at])) {
      tokens.push_back(ReadSpecial(s, at));
    } else {
      size_t begin = at;
      while (at < s.size() && s[at] != '\0' && !IsSpace(s[at]) && !IsSpecial(s[at])) ++at;
      std::string text(s.substr(begin, at - begin));
      Token::Kind kind = text == "in" ? Token::kIn : text == "notin" ? Token::kNotIn : Token::kText;
      tokens.push_back({kind, std::move(text)});
    }
  }
  tokens.push_back({Token::kEnd, ""});
  return tokens;
}

class Parser {
 public:
  explicit Parser(std::string_view text) : tokens_(Tokenize(text)) {}

  Result<std::vector<Requirement>> Run() {
    std::vector<Requirement> out;
    for (;;) {
      Token first = Peek();
      if (first.kind == Token::kEnd) return out;
      if (first.kind != Token::kText && first.kind != Token::kNot)
        return Fail("found '" + first.text + "', expected: !, identifier, or 'end of string'");
      Result<Requirement> r = One();
      if (!r) return Fail("unable to parse requirement: " + std::string(r.error().message()));
      out.push_back(std::move(*r));
      Token after = Take();
      if (after.kind == Token::kEnd) return out;
      if (after.kind != Token::kComma) return Fail("found '" + after.text + "', expected: ',' or 'end of string'");
      Token next = Peek();
      if (next.kind != Token::kText && next.kind != Token::kNot)
        return Fail("found '" + next.text + "', expected: identifier after ','");
    }
  }

 private:
  // Where a name or value may stand, the words `in` and `notin` are names.
  static Token AsValue(Token t) {
    if (t.kind == Token::kIn || t.kind == Token::kNotIn) t.kind = Token::kText;
    return t;
  }
  const Token& Raw() const { return tokens_[std::min(at_, tokens_.size() - 1)]; }
  Token Peek() const { return AsValue(Raw()); }
  Token Take() {
    Token t = Peek();
    ++at_;
    return t;
  }
  static std::unexpected<Status> Fail(std::string message) { return base::Err(Error(std::move(message))); }

  Result<Requirement> One() {
    Token key = Take();
    bool negated = key.kind == Token::kNot;
    if (negated) key = Take();
    if (key.kind != Token::kText) return Fail("found '" + key.text + "', expected: identifier");
    if (auto reasons = object::IsQualifiedName(key.text); !reasons.empty())
      return Fail(object::Invalid("<nil>", key.text, base::Join(reasons, "; ")).ToString());
    Token next = Peek();
    if (negated) return Make(key.text, Op::kDoesNotExist, {});
    if (next.kind == Token::kEnd || next.kind == Token::kComma) return Make(key.text, Op::kExists, {});
    Token op = Raw();
    ++at_;
    static constexpr std::pair<Token::Kind, Op> kOps[] = {
        {Token::kIn, Op::kIn},           {Token::kNotIn, Op::kNotIn},
        {Token::kEq, Op::kEquals},       {Token::kEqEq, Op::kDoubleEquals},
        {Token::kNotEq, Op::kNotEquals}, {Token::kGreater, Op::kGreaterThan},
        {Token::kLess, Op::kLessThan}};
    for (auto [token, wanted] : kOps) {
      if (op.kind != token) continue;
      TRY_ASSIGN(std::vector<std::string> values, wanted == Op::kIn || wanted == Op::kNotIn ? Values() : Exact());
      return Make(key.text, wanted, std::move(values));
    }
    return Fail("found '" + op.text + "', expected: " + kOperators);
  }

  Result<std::vector<std::string>> Exact() {
    Token t = Peek();
    if (t.kind == Token::kEnd || t.kind == Token::kComma) return std::vector<std::string>{""};
    ++at_;
    if (t.kind != Token::kText) return Fail("found '" + t.text + "', expected: identifier");
    return std::vector<std::string>{t.text};
  }

  // "(a,b)"; "()" and empty places mean the empty value.
  Result<std::vector<std::string>> Values() {
    if (Token open = Take(); open.kind != Token::kOpen) return Fail("found '" + open.text + "' expected: '('");
    std::vector<std::string> values;
    Token first = Peek();
    if (first.kind == Token::kClose) {
      ++at_;
      return std::vector<std::string>{""};
    }
    if (first.kind != Token::kText && first.kind != Token::kComma)
      return Fail("found '" + first.text + "', expected: ',', ')' or identifier");
    for (;;) {
      Token t = Take();
      if (t.kind == Token::kText) {
        values.push_back(t.text);
        Token next = Peek();
        if (next.kind == Token::kClose) break;
        if (next.kind != Token::kComma) return Fail("found '" + next.text + "', expected: ',' or ')'");
      } else if (t.kind == Token::kComma) {
        Token next = Peek();
        if (values.empty() || next.kind == Token::kComma || next.kind == Token::kClose) values.push_back("");
        if (next.kind == Token::kClose) break;
      } else {
        return Fail("found '" + t.text + "', expected: ',', or identifier");
      }
    }
    ++at_;  // ')'
    std::sort(values.begin(), values.end());
    values.erase(std::unique(values.begin(), values.end()), values.end());
    return values;
  }

  std::vector<Token> tokens_;
  size_t at_ = 0;
};

Result<Op> OpOfObject(std::string_view op) {
  if (op == "In") return Op::kIn;
  if (op == "NotIn") return Op::kNotIn;
  if (op == "Exists") return Op::kExists;
  if (op == "DoesNotExist") return Op::kDoesNotExist;
  return base::Err(Error(object::GoQuote(op) + " is not a valid label selector operator"));
}

bool Contains(const std::vector<std::string>& values, const std::string& v) {
  return std::binary_search(values.begin(), values.end(), v);  // Make has sorted them
}

}  // namespace

bool Requirement::Matches(const std::string* label) const {
  switch (op) {
    case Op::kIn:
    case Op::kEquals:
    case Op::kDoubleEquals:
      return label && Contains(values, *label);
    case Op::kNotIn:
    case Op::kNotEquals:
      return !label || !Contains(values, *label);
    case Op::kExists:
      return label != nullptr;
    case Op::kDoesNotExist:
      return label == nullptr;
    case Op::kGreaterThan:
    case Op::kLessThan: {
      if (!label || values.size() != 1) return false;
      std::optional<int64_t> have = ParseInt(*label), bound = ParseInt(values[0]);
      if (!have || !bound) return false;
      return op == Op::kGreaterThan ? *have > *bound : *have < *bound;
    }
  }
  return false;
}

std::string Requirement::ToString() const {
  std::string list = base::Join(values, ",");
  switch (op) {
    case Op::kIn:
      return key + " in (" + list + ")";
    case Op::kNotIn:
      return key + " notin (" + list + ")";
    case Op::kEquals:
      return key + "=" + list;
    case Op::kDoubleEquals:
      return key + "==" + list;
    case Op::kNotEquals:
      return key + "!=" + list;
    case Op::kGreaterThan:
      return key + ">" + list;
    case Op::kLessThan:
      return key + "<" + list;
    case Op::kExists:
      return key;
    case Op::kDoesNotExist:
      return "!" + key;
  }
  return "";
}

LabelSelector LabelSelector::Nothing() {
  LabelSelector s;
  s.nothing_ = true;
  return s;
}

Result<LabelSelector> LabelSelector::Parse(std::string_view text) {
  if (text.size() > kMaxSelectorBytes) return base::Err(TooLong());
  LabelSelector s;
  TRY_ASSIGN(s.requirements_, Parser(text).Run());
  SortByKey(s.requirements_);
  return s;
}

Result<LabelSelector> LabelSelector::FromObject(const Value& selector) {
  if (!selector.is_map()) return Nothing();
  LabelSelector s;
  if (const Value& labels = selector.At("matchLabels"); labels.is_map()) {
    for (const auto& e : labels.map()) {
      TRY_ASSIGN(Requirement r, Make(e.key, Op::kEquals, {std::string(e.value.string_or())}));
      s.requirements_.push_back(std::move(r));
    }
  }
  if (const Value& expressions = selector.At("matchExpressions"); expressions.is_list()) {
    for (const Value& e : expressions.list()) {
      TRY_ASSIGN(Op op, OpOfObject(e.At("operator").string_or()));
      std::vector<std::string> values;
      if (const Value& list = e.At("values"); list.is_list())
        for (const Value& v : list.list()) values.emplace_back(v.string_or());
      TRY_ASSIGN(Requirement r, Make(std::string(e.At("key").string_or()), op, std::move(values)));
      s.requirements_.push_back(std::move(r));
    }
  }
  SortByKey(s.requirements_);
  return s;
}

LabelSelector LabelSelector::FromMap(const Value& map) {
  LabelSelector s;
  if (map.is_map())
    for (const auto& e : map.map()) s.requirements_.push_back({e.key, Op::kEquals, {std::string(e.value.string_or())}});
  SortByKey(s.requirements_);
  return s;
}

bool LabelSelector::Matches(const Value& labels) const {
  if (nothing_) return false;
  for (const Requirement& r : requirements_) {
    const Value& v = labels.is_map() ? labels.At(r.key) : Value::Null();
    if (!r.Matches(v.is_string() ? &v.as_string() : nullptr)) return false;
  }
  return true;
}

std::string LabelSelector::ToString() const {
  std::vector<std::string> texts;
  for (const Requirement& r : requirements_) texts.push_back(r.ToString());
  return base::Join(texts, ",");
}

namespace {

std::vector<std::string> SplitTerms(std::string_view s) {
  std::vector<std::string> terms;
  if (s.empty()) return terms;
  terms.emplace_back();
  for (size_t i = 0; i < s.size(); ++i) {
    if (s[i] == '\\' && i + 1 < s.size()) {
      terms.back() += s[i++];
      terms.back() += s[i];
    } else if (s[i] == ',') {
      terms.emplace_back();
    } else {
      terms.back() += s[i];
    }
  }
  return terms;
}

Result<std::string> Unescape(std::string_view s) {
  std::string out;
  for (size_t i = 0; i < s.size(); ++i) {
    if (s[i] == '\\') {
      if (i + 1 == s.size()) return base::Err(Error("invalid field selector: invalid escape sequence: \\"));
      char next = s[++i];
      if (next != '\\' && next != ',' && next != '=')
        return base::Err(Error(std::string("invalid field selector: invalid escape sequence: \\") + next));
      out += next;
    } else if (s[i] == ',' || s[i] == '=') {
      return base::Err(Error("invalid field selector: unescaped character in value: " + std::to_string(int{s[i]})));
    } else {
      out += s[i];
    }
  }
  return out;
}

std::string Escape(std::string_view s) {
  std::string out;
  for (char c : s) {
    if (c == '\\' || c == ',' || c == '=') out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

Result<FieldSelector> FieldSelector::Parse(std::string_view text) {
  if (text.size() > kMaxSelectorBytes) return base::Err(TooLong());
  FieldSelector s;
  std::vector<std::string> terms = SplitTerms(text);
  std::sort(terms.begin(), terms.end());
  for (const std::string& term : terms) {
    if (term.empty()) continue;
    size_t at = 0;
    const std::string_view view = term;
    while (at < view.size() && view[at] != '=' && !view.substr(at).starts_with("!=")) ++at;
    if (at == term.size())
      return base::Err(Error("invalid selector: '" + std::string(text) + "'; can't understand '" + term + "'"));
    std::string_view rest = std::string_view(term).substr(at);
    bool equal = rest[0] == '=';
    rest.remove_prefix(!equal || rest.starts_with("==") ? 2 : 1);
    TRY_ASSIGN(std::string v, Unescape(rest));
    s.terms_.push_back({term.substr(0, at), std::move(v), equal});
  }
  return s;
}

bool FieldSelector::Matches(const std::function<std::string(std::string_view)>& get) const {
  for (const Term& t : terms_)
    if ((get(t.field) == t.value) != t.equal) return false;
  return true;
}

std::optional<std::string> FieldSelector::RequiredValue(std::string_view field) const {
  for (const Term& t : terms_)
    if (t.equal && t.field == field) return t.value;
  return std::nullopt;
}

std::string FieldSelector::ToString() const {
  std::vector<std::string> texts;
  for (const Term& t : terms_) texts.push_back(t.field + (t.equal ? "=" : "!=") + Escape(t.value));
  return base::Join(texts, ",");
}

}  // namespace machinery::ops
