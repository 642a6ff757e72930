// Config's logging: etcd's outputs, formats and rotation, and what of them does not go together.
#include <algorithm>
#include <cctype>
#include <charconv>
#include <set>

#include "base/json_writer.h"
#include "base/strings.h"
#include "kvstore/service/config.h"
#include "kvstore/transcode/json.h"

namespace kvstore::service {

using base::Err;
using base::InvalidArgument;
using base::Ok;
using base::Result;
using base::Status;
using transcode::JsonValue;

namespace {

constexpr std::string_view kDefaultOutput = "default";

// As Go prints a list of strings with %q.
std::string Quoted(const std::set<std::string>& list) {
  std::string out;
  for (const std::string& s : list) out += (out.empty() ? "[" : " ") + base::GoQuote(s);
  return out + "]";
}

bool IsFile(const std::string& output) {
  return output != kDefaultOutput && output != base::kLogToStderr && output != base::kLogToStdout;
}

std::string_view KindName(const JsonValue& v) {
  static constexpr std::string_view kNames[] = {"null", "bool", "number", "string", "object", "array"};
  return kNames[static_cast<size_t>(v.kind)];
}

Status WrongType(const JsonValue& v, std::string_view field, std::string_view type) {
  std::string what(KindName(v));
  if (v.kind == JsonValue::Kind::kNumber) what += " " + v.text;
  return InvalidArgument("invalid log rotation config: json: cannot unmarshal " + what +
                         " into Go struct field logRotationConfig.Logger." + std::string(field) + " of type " +
                         std::string(type));
}

Status Take(const JsonValue& v, std::string_view field, int& out) {
  if (v.kind == JsonValue::Kind::kNull) return Ok();
  const char* end = v.text.data() + v.text.size();
  bool number = v.kind == JsonValue::Kind::kNumber;
  if (!number || std::from_chars(v.text.data(), end, out).ptr != end) return WrongType(v, field, "int");
  return Ok();
}

Status Take(const JsonValue& v, std::string_view field, bool& out) {
  if (v.kind == JsonValue::Kind::kNull) return Ok();
  if (v.kind != JsonValue::Kind::kBool) return WrongType(v, field, "bool");
  out = v.text == "true";
  return Ok();
}

// lumberjack's fields, in whatever case; others are nobody's.
Result<base::LogRotation> ParseRotation(const std::string& text) {
  auto json = transcode::ParseJson(text);
  if (!json) {
    bool ended = json.error().message().ends_with("unexpected token ");
    return Err(InvalidArgument("improperly formatted log rotation config: " +
                               (ended ? "unexpected end of JSON input" : std::string(json.error().message()))));
  }
  base::LogRotation out;
  if (json->kind != JsonValue::Kind::kObject && json->kind != JsonValue::Kind::kNull) {
    return Err(InvalidArgument("invalid log rotation config: json: cannot unmarshal " + std::string(KindName(*json)) +
                               " into Go value of type embed.logRotationConfig"));
  }
  for (size_t i = 0; i < json->names.size(); ++i) {
    std::string name = base::Lower(json->names[i]);
    const JsonValue& v = json->items[i];
    if (name == "maxsize") TRY(Take(v, name, out.max_megabytes));
    if (name == "maxage") TRY(Take(v, name, out.max_days));
    if (name == "maxbackups") TRY(Take(v, name, out.max_backups));
    if (name == "localtime") TRY(Take(v, name, out.local_time));
    if (name == "compress") TRY(Take(v, name, out.compress));
  }
  return out;
}

Result<std::vector<std::string>> Outputs(const std::set<std::string>& given) {
  bool several = given.size() > 1;
  if (several && given.contains(std::string(kDefaultOutput))) {
    return Err(InvalidArgument("multi logoutput for \"default\" is not supported yet"));
  }
  if (several && given.contains(std::string(base::kLogToJournal))) {
    return Err(InvalidArgument("running with systemd/journal but other '--log-outputs' values (" + Quoted(given) +
                               ") are configured with 'default'; override 'default' value with something else"));
  }
  if (given.contains("/dev/null")) return std::vector<std::string>{"/dev/null"};
  std::vector<std::string> out;
  for (const std::string& o : given) out.emplace_back(o == kDefaultOutput ? std::string(base::kLogToStderr) : o);
  return out;
}

}  // namespace

Result<base::LogOptions> Config::LogOptions() const {
  if (logger == "capnslog") return Err(InvalidArgument("--logger=capnslog is removed in v3.5"));
  if (logger != "zap") return Err(InvalidArgument("unknown logger option " + base::GoQuote(logger)));
  std::set<std::string> given(log_outputs.begin(), log_outputs.end());
  if (given.empty()) given.insert(std::string(kDefaultOutput));
  base::LogOptions o;
  TRY_ASSIGN(o.outputs, Outputs(given));
  if (log_rotation) {
    auto files = std::ranges::count_if(given, IsFile);
    if (files > 1 || (given.size() == 1 && files == 0)) {
      return Err(InvalidArgument("--log-outputs requires a single file path when --log-rotate-config-json is defined"));
    }
    TRY_ASSIGN(o.rotation, ParseRotation(log_rotation_json));
  }
  if (log_format != "json" && log_format != "console" && !log_format.empty()) {
    return Err(InvalidArgument("unknown log format: " + log_format + ", supported values json, console"));
  }
  o.format = log_format == "console" ? base::LogFormat::kEtcdConsole : base::LogFormat::kEtcdJson;
  o.minimum = log_level == "debug"   ? base::LogLevel::kDebug
              : log_level == "info"  ? base::LogLevel::kInfo
              : log_level == "warn"  ? base::LogLevel::kWarning
              : log_level == "error" ? base::LogLevel::kError
                                     : base::LogLevel::kFatal;
  return o;
}

}  // namespace kvstore::service
