#include "base/flags.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <set>

#include "base/file.h"
#include "base/go_duration.h"
#include "base/json_writer.h"
#include "base/strings.h"

namespace base {
namespace {

Status Syntax(std::string_view function, std::string_view text) {
  return InvalidArgument(std::string(function) + ": parsing " + GoQuote(text) + ": invalid syntax");
}

Result<bool> ParseBool(std::string_view t) {
  for (auto yes : {"1", "t", "T", "true", "TRUE", "True"})
    if (t == yes) return true;
  for (auto no : {"0", "f", "F", "false", "FALSE", "False"})
    if (t == no) return false;
  return Err(Syntax("strconv.ParseBool", t));
}

template <class I>
Result<I> ParseInteger(std::string_view text) {
  constexpr std::string_view kFunction = std::is_signed_v<I> ? "strconv.ParseInt" : "strconv.ParseUint";
  std::string_view digits = text;
  int base = 10;
  if (digits.starts_with('+')) digits.remove_prefix(1);
  if (digits.starts_with("0x") || digits.starts_with("0X")) {
    base = 16;
    digits.remove_prefix(2);
  }
  I v{};
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), v, base);
  if (error == std::errc::result_out_of_range)
    return Err(InvalidArgument(std::string(kFunction) + ": parsing " + GoQuote(text) + ": value out of range"));
  if (error != std::errc() || end != digits.data() + digits.size() || digits.empty())
    return Err(Syntax(kFunction, text));
  return v;
}

Result<double> ParseDouble(std::string_view text) {
  double v = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), v);
  if (error != std::errc() || end != text.data() + text.size() || text.empty())
    return Err(Syntax("strconv.ParseFloat", text));
  return v;
}

// Comma-separated as encoding/csv reads one record: a part may stand in double quotes.
Result<std::vector<std::string>> SplitList(std::string_view text) {
  std::vector<std::string> out;
  if (text.empty()) return out;
  std::string part;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"' && (quoted || part.empty())) {
      if (quoted && i + 1 < text.size() && text[i + 1] == '"') {
        part.push_back('"');
        ++i;
      } else {
        quoted = !quoted;
      }
    } else if (text[i] == ',' && !quoted) {
      out.push_back(std::exchange(part, {}));
    } else {
      part.push_back(text[i]);
    }
  }
  if (quoted) return Err(InvalidArgument("extraneous or missing \" in quoted-field"));
  out.push_back(std::move(part));
  return out;
}

// A variable of type T with the three functions that differ between types.
template <class T>
class Bound final : public FlagValue {
 public:
  explicit Bound(T* value) : value_(value) {}
  Status Set(std::string_view text, bool fresh) override {
    if constexpr (std::is_same_v<T, std::string>) {
      *value_ = text;
      return Ok();
    } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
      TRY_ASSIGN(auto parts, SplitList(text));
      if (fresh) value_->clear();
      for (auto& p : parts) value_->push_back(std::move(p));
      return Ok();
    } else if constexpr (kIsMap) {
      return SetMap(text, fresh);
    } else {
      TRY_ASSIGN(*value_, ParseScalar(text));
      return Ok();
    }
  }
  std::string_view type() const override {
    if constexpr (std::is_same_v<T, bool>) return "bool";
    if constexpr (std::is_same_v<T, int32_t>) return "int32";
    if constexpr (std::is_same_v<T, int64_t>) return "int";
    if constexpr (std::is_same_v<T, uint32_t>) return "uint32";
    if constexpr (std::is_same_v<T, uint64_t>) return "uint";
    if constexpr (std::is_same_v<T, double>) return "float";
    if constexpr (std::is_same_v<T, std::string>) return "string";
    if constexpr (std::is_same_v<T, Duration>) return "duration";
    if constexpr (std::is_same_v<T, std::vector<std::string>>) return "strings";
    if constexpr (std::is_same_v<T, std::map<std::string, std::string>>) return "mapStringString";
    return "mapStringBool";
  }
  std::string DefaultText() const override {
    const T& v = *value_;
    if constexpr (std::is_same_v<T, std::string>) {
      return v.empty() ? "" : GoQuote(v);
    } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
      return v.empty() ? "" : "[" + base::Join(v, ",") + "]";
    } else if constexpr (kIsMap) {
      std::vector<std::string> parts;
      for (const auto& [key, value] : v) parts.push_back(key + "=" + MapText(value));
      return base::Join(parts, ",");
    } else if constexpr (std::is_same_v<T, Duration>) {
      return v == Duration::zero() ? "" : FormatGoDuration(v);
    } else if constexpr (std::is_same_v<T, bool>) {
      return v ? "true" : "";
    } else if constexpr (std::is_same_v<T, double>) {
      return v == 0 ? "" : GoFloat(v);
    } else {
      return v == 0 ? "" : std::to_string(v);
    }
  }
  bool is_bool() const override { return std::is_same_v<T, bool>; }

 private:
  static constexpr bool kIsMap =
      std::is_same_v<T, std::map<std::string, std::string>> || std::is_same_v<T, std::map<std::string, bool>>;
  static std::string MapText(const std::string& s) { return s; }
  static std::string MapText(bool b) { return b ? "true" : "false"; }

  static auto ParseScalar(std::string_view text) {
    if constexpr (std::is_same_v<T, bool>) {
      return ParseBool(text);
    } else if constexpr (std::is_same_v<T, double>) {
      return ParseDouble(text);
    } else if constexpr (std::is_same_v<T, Duration>) {
      return ParseGoDuration(text);
    } else {
      return ParseInteger<T>(text);
    }
  }
  Status SetMap(std::string_view text, bool fresh)
    requires kIsMap
  {
    TRY_ASSIGN(auto parts, SplitList(text));
    T next = fresh ? T() : *value_;
    for (const std::string& part : parts) {
      if (part.empty()) continue;
      size_t equals = part.find('=');
      if (equals == std::string::npos)
        return InvalidArgument("malformed pair, expect string=" +
                               std::string(std::is_same_v<typename T::mapped_type, bool> ? "bool" : "string"));
      std::string value = part.substr(equals + 1);
      if constexpr (std::is_same_v<typename T::mapped_type, bool>) {
        auto parsed = ParseBool(value);
        if (!parsed) return InvalidArgument("invalid value of " + part.substr(0, equals) + ": " + value);
        next[part.substr(0, equals)] = *parsed;
      } else {
        next[part.substr(0, equals)] = std::move(value);
      }
    }
    *value_ = std::move(next);
    return Ok();
  }

  T* value_;
};

class Choice final : public FlagValue {
 public:
  Choice(std::string* value, std::vector<std::string> choices) : value_(value), choices_(std::move(choices)) {}
  Status Set(std::string_view text, bool) override {
    if (std::find(choices_.begin(), choices_.end(), text) == choices_.end())
      return InvalidArgument("must be one of: " + base::Join(choices_, ","));
    *value_ = text;
    return Ok();
  }
  std::string_view type() const override { return "string"; }
  std::string DefaultText() const override { return value_->empty() ? "" : GoQuote(*value_); }

 private:
  std::string* value_;
  std::vector<std::string> choices_;
};

}  // namespace

std::string FlagSet::Normalized(std::string_view name) {
  std::string out(name);
  std::replace(out.begin(), out.end(), '_', '-');
  return out;
}

Flag& Flag::Short(char letter) {
  short_ = letter;
  return *this;
}
Flag& Flag::Config(std::string path) {
  config_paths_.push_back(std::move(path));
  return *this;
}
Flag& Flag::Type(std::string type) {
  type_ = std::move(type);
  return *this;
}
Flag& Flag::Hidden() {
  hidden_ = true;
  return *this;
}

FlagSet::FlagSet(FlagProgram program) : program_(std::move(program)), section_("Misc") {}
FlagSet::~FlagSet() = default;

void FlagSet::Section(std::string name) { section_ = std::move(name); }

Flag& FlagSet::AddCustom(std::string name, std::unique_ptr<FlagValue> value, std::string help) {
  auto flag = std::make_unique<Flag>();
  flag->name_ = name;
  flag->help_ = std::move(help);
  flag->section_ = section_;
  flag->type_ = value->type();
  flag->default_text_ = value->DefaultText();
  flag->value_ = std::move(value);
  CHECK_MSG(by_name_.emplace(std::move(name), flag.get()).second, "flag redefined: " + flag->name_);
  if (std::find(section_order_.begin(), section_order_.end(), section_) == section_order_.end())
    section_order_.push_back(section_);
  flags_.push_back(std::move(flag));
  return *flags_.back();
}

#define BASE_ADD_FLAG(T)                                                                   \
  Flag& FlagSet::Add(std::string name, T* value, std::string help) {                       \
    return AddCustom(std::move(name), std::make_unique<Bound<T>>(value), std::move(help)); \
  }
using StringMap = std::map<std::string, std::string>;
using BoolMap = std::map<std::string, bool>;
BASE_ADD_FLAG(bool)
BASE_ADD_FLAG(int32_t)
BASE_ADD_FLAG(int64_t)
BASE_ADD_FLAG(uint32_t)
BASE_ADD_FLAG(uint64_t)
BASE_ADD_FLAG(double)
BASE_ADD_FLAG(std::string)
BASE_ADD_FLAG(std::vector<std::string>)
BASE_ADD_FLAG(Duration)
BASE_ADD_FLAG(StringMap)
BASE_ADD_FLAG(BoolMap)
#undef BASE_ADD_FLAG

Flag& FlagSet::AddChoice(std::string name, std::string* value, std::vector<std::string> choices, std::string help) {
  return AddCustom(std::move(name), std::make_unique<Choice>(value, std::move(choices)), std::move(help));
}

void FlagSet::Unsupported(std::initializer_list<std::string_view> names) {
  for (auto n : names) unsupported_[Normalized(n)] = true;
}
void FlagSet::Unsupported(const std::vector<std::string>& names) {
  for (const auto& n : names) unsupported_[Normalized(n)] = true;
}

Flag* FlagSet::Find(std::string_view name) const {
  auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : it->second;
}

bool FlagSet::Changed(std::string_view name) const {
  const Flag* flag = Find(name);
  return flag != nullptr && flag->changed_;
}

Status FlagSet::UnknownFlag(std::string_view name) const {
  if (unsupported_.contains(name))
    return Unimplemented("flag --" + std::string(name) + " is not supported yet by keelson");
  if (program_.style == FlagProgram::Style::kEtcd)
    return InvalidArgument("flag provided but not defined: -" + std::string(name));
  return InvalidArgument("unknown flag: --" + std::string(name));
}

struct FlagSet::Cursor {
  const std::vector<std::string>& args;
  size_t next = 0;
  bool done() const { return next >= args.size(); }
};

Status FlagSet::CollectLong(Cursor& cursor, std::string_view body, std::vector<Setting>& out) {
  size_t equals = body.find('=');
  std::string name = Normalized(body.substr(0, equals));
  if (name.empty() || name[0] == '-') return InvalidArgument("bad flag syntax: " + cursor.args[cursor.next - 1]);
  if (name == "help" && Find(name) == nullptr) {
    help_ = true;
    return Ok();
  }
  if (name == "version" && !program_.version.empty() && Find(name) == nullptr) {
    version_ = true;
    return Ok();
  }
  Flag* flag = Find(name);
  if (flag == nullptr) return UnknownFlag(name);
  std::string spelled = "--" + name;
  if (equals != std::string_view::npos) {
    out.push_back({flag, std::string(body.substr(equals + 1)), spelled});
  } else if (flag->value_->is_bool()) {
    out.push_back({flag, "true", spelled});
  } else if (!cursor.done()) {
    out.push_back({flag, cursor.args[cursor.next++], spelled});
  } else {
    return InvalidArgument("flag needs an argument: " + spelled);
  }
  return Ok();
}

Status FlagSet::CollectShort(Cursor& cursor, std::string_view letters, std::vector<Setting>& out) {
  const std::string whole(letters);
  while (!letters.empty()) {
    char letter = letters[0];
    letters.remove_prefix(1);
    auto it = std::find_if(flags_.begin(), flags_.end(), [&](const auto& f) { return f->short_ == letter; });
    if (it == flags_.end() && letter == 'h') {
      help_ = true;
      return Ok();
    }
    if (it == flags_.end())
      return InvalidArgument("unknown shorthand flag: '" + std::string(1, letter) + "' in -" + whole);
    Flag* flag = it->get();
    std::string spelled = "-" + std::string(1, letter) + ", --" + flag->name_;
    if (letters.starts_with('=')) {
      out.push_back({flag, std::string(letters.substr(1)), spelled});
      return Ok();
    }
    if (flag->value_->is_bool()) {
      out.push_back({flag, "true", spelled});
      continue;
    }
    if (letters.empty() && cursor.done())
      return InvalidArgument("flag needs an argument: '" + std::string(1, letter) + "' in -" + whole);
    out.push_back({flag, letters.empty() ? cursor.args[cursor.next++] : std::string(letters), spelled});
    return Ok();
  }
  return Ok();
}

Status FlagSet::Collect(const std::vector<std::string>& args, std::vector<Setting>& out) {
  Cursor cursor{args};
  bool only_positional = false;
  while (!cursor.done()) {
    const std::string& arg = args[cursor.next++];
    if (only_positional || arg.size() < 2 || arg[0] != '-') {
      positional_.push_back(arg);
    } else if (arg == "--") {
      only_positional = true;
    } else if (arg.starts_with("--")) {
      TRY(CollectLong(cursor, std::string_view(arg).substr(2), out));
    } else if (program_.style == FlagProgram::Style::kEtcd && arg.size() > 2) {
      TRY(CollectLong(cursor, std::string_view(arg).substr(1), out));
    } else {
      TRY(CollectShort(cursor, std::string_view(arg).substr(1), out));
    }
  }
  if (allow_positional_ || positional_.empty()) return Ok();
  if (program_.style == FlagProgram::Style::kEtcd)
    return InvalidArgument("'" + positional_[0] + "' is not a valid flag");
  return InvalidArgument("unknown command " + GoQuote(positional_[0]) + " for " + GoQuote(program_.name));
}

Status FlagSet::Apply(Flag& flag, std::string_view value, const std::string& spelled, int source) {
  bool fresh = flag.last_source_ != source;
  Status set = flag.value_->Set(value, fresh);
  if (!set.ok())
    return InvalidArgument("invalid argument " + GoQuote(value) + " for " + GoQuote(spelled) +
                           " flag: " + std::string(set.message()));
  flag.last_source_ = source;
  flag.changed_ = true;
  return Ok();
}

Status FlagSet::ApplyConfig(const std::string& path) {
  auto text = ReadFile(PosixFileSystem(), path);
  if (!text) return text.error().Annotate("failed to load config file " + path + ": ");
  return ParseConfigText(*text).Annotate("failed to load config file " + path + ": ");
}

Status FlagSet::ApplyEnvironment() {
  if (program_.env_prefix.empty()) return Ok();
  auto variable = [&](std::string_view name) {
    std::string out = program_.env_prefix;
    for (char c : name) out.push_back(c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c))));
    return out;
  };
  for (const auto& flag : flags_) {
    std::string name = variable(flag->name_);
    const char* value = std::getenv(name.c_str());
    if (value != nullptr && *value != '\0') TRY(Apply(*flag, value, name, kEnvironment));
  }
  for (const auto& [name, unused] : unsupported_) {
    const char* value = std::getenv(variable(name).c_str());
    if (value != nullptr && *value != '\0') return UnknownFlag(name);
  }
  return Ok();
}

Status FlagSet::Parse(const std::vector<std::string>& args) {
  std::vector<Setting> settings;
  TRY(Collect(args, settings));
  if (help_ || version_) return Ok();
  // The file's place may come from anywhere, and everything else goes over what it says.
  if (!program_.config_flag.empty()) {
    Flag* config = Find(program_.config_flag);
    CHECK_MSG(config != nullptr, "config_flag names no flag");
    std::string path;
    if (!program_.env_prefix.empty()) {
      std::string name = program_.env_prefix;
      for (char c : program_.config_flag)
        name.push_back(c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c))));
      if (const char* value = std::getenv(name.c_str())) path = value;
    }
    for (const Setting& s : settings)
      if (s.flag == config) path = s.value;
    if (!path.empty()) TRY(ApplyConfig(path));
  }
  TRY(ApplyEnvironment());
  for (const Setting& s : settings) TRY(Apply(*s.flag, s.value, s.spelled, kCommandLine));
  return Ok();
}

std::optional<int> FlagSet::ParseOrExitCode(int argc, char** argv) {
  Status parsed = Parse(std::vector<std::string>(argv + std::min(argc, 1), argv + argc));
  if (!parsed.ok()) {
    if (program_.style == FlagProgram::Style::kEtcd) {
      std::fprintf(stderr, "%.*s\n%s", static_cast<int>(parsed.message().size()), parsed.message().data(),
                   Help().c_str());
      return 2;
    }
    std::fprintf(stderr, "Error: %.*s\nSee '%s --help' for usage.\n", static_cast<int>(parsed.message().size()),
                 parsed.message().data(), program_.name.c_str());
    return 1;
  }
  if (help_ || version_) {
    std::string text = help_ ? Help() : program_.version + (program_.version.ends_with('\n') ? "" : "\n");
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
    return 0;
  }
  return std::nullopt;
}

std::vector<std::string> FlagSet::Values() const {
  std::vector<std::string> out;
  for (const auto& [name, flag] : by_name_) {
    if (name.find("password") != std::string::npos || name.find("secret") != std::string::npos) continue;
    out.push_back("--" + name + "=" + GoQuote(flag->value_->DefaultText()));
  }
  return out;
}

std::string FlagSet::Help() const {
  std::string out;
  if (!program_.description.empty()) out += program_.description + "\n\n";
  out += "Usage:\n  " + program_.name + " [flags]\n";
  auto section = [&out](const std::string& name, const std::vector<std::pair<std::string, std::string>>& lines) {
    size_t width = 0;
    for (const auto& [left, right] : lines) width = std::max(width, left.size());
    out += "\n" + name + " flags:\n\n";
    for (const auto& [left, right] : lines) out += left + std::string(width - left.size() + 3, ' ') + right + "\n";
  };
  for (const std::string& name : section_order_) {
    std::vector<std::pair<std::string, std::string>> lines;
    for (const auto& [flag_name, flag] : by_name_) {
      if (flag->section_ != name || flag->hidden_) continue;
      std::string left = flag->short_ ? std::string("  -") + flag->short_ + ", --" : "      --";
      left += flag_name;
      if (!flag->value_->is_bool()) left += " " + flag->type_;
      std::string right = flag->help_;
      if (!flag->default_text_.empty()) right += " (default " + flag->default_text_ + ")";
      lines.emplace_back(std::move(left), std::move(right));
    }
    if (!lines.empty()) section(name, lines);
  }
  std::vector<std::pair<std::string, std::string>> global = {{"  -h, --help", "help for " + program_.name}};
  if (!program_.version.empty()) global.emplace_back("      --version", "prints version information and quits");
  section("Global", global);
  return out;
}

}  // namespace base
