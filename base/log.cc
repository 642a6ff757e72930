#include "base/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>

#include "base/json_writer.h"

namespace base {
namespace {

// Lines arrive here complete; spdlog owns the sinks, their locks and flushing.
struct Output {
  LogOptions options;
  std::shared_ptr<spdlog::logger> logger;
};

std::shared_ptr<spdlog::logger> MakeLogger(spdlog::sink_ptr sink) {
  auto logger = std::make_shared<spdlog::logger>("log", std::move(sink));
  logger->set_pattern("%v");
  logger->set_level(spdlog::level::trace);
  return logger;
}

// Replaced as a whole by SetupLogging and never destroyed: a line may be written while the program exits.
std::atomic<Output*>& CurrentOutput() {
  static std::atomic<Output*> output = new Output{{}, MakeLogger(std::make_shared<spdlog::sinks::stderr_sink_mt>())};
  return output;
}

struct Line {
  LogLevel level;
  std::string_view message;
  const Status* error;
  LogFields fields;
  std::string_view file;  // "base/loop.cc"
  int line;
  int verbosity;
  timespec now;
};

std::string_view FileName(std::string_view path) { return path.substr(path.rfind('/') + 1); }
// Folder and file, as zap's callers are written.
std::string_view ShortPath(std::string_view path) {
  size_t slash = path.rfind('/');
  if (slash == std::string_view::npos || slash == 0) return path;
  return path.substr(path.rfind('/', slash - 1) + 1);
}

bool PlainKey(std::string_view key) {
  for (char c : key)
    if (c <= ' ' || c == '"' || c == '=') return false;
  return !key.empty();
}

void AppendTextField(std::string& out, std::string_view key, const LogValue& value) {
  out.push_back(' ');
  if (PlainKey(key)) {
    out += key;
  } else {
    out += GoQuote(key);
  }
  out.push_back('=');
  if (!value.quoted()) {
    out += value.text();
  } else if (value.text().find('\n') != std::string::npos) {
    // klog keeps long texts readable: every line behind a tab.
    out += "<\n\t";
    for (char c : value.text()) {
      out.push_back(c);
      if (c == '\n') out.push_back('\t');
    }
    out += "\n >";
  } else {
    out += GoQuote(value.text());
  }
}

std::string TextLine(const Line& l) {
  static constexpr char kLetters[] = {'D', 'I', 'W', 'E', 'F'};
  tm t;
  localtime_r(&l.now.tv_sec, &t);
  char head[64];
  int n = std::snprintf(head, sizeof head, "%c%02d%02d %02d:%02d:%02d.%06ld %7ld ", kLetters[static_cast<int>(l.level)],
                        t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec, l.now.tv_nsec / 1000,
                        static_cast<long>(::getpid()));
  std::string out(head, static_cast<size_t>(n));
  out.append(FileName(l.file)).append(":").append(std::to_string(l.line)).append("] ").append(GoQuote(l.message));
  if (l.error != nullptr) AppendTextField(out, "err", *l.error);
  for (const LogField& f : l.fields) AppendTextField(out, f.key, f.value);
  return out;
}

void AppendJsonFields(JsonWriter& w, const Line& l) {
  for (const LogField& f : l.fields) {
    w.Key(f.key);
    if (f.value.quoted()) {
      w.String(f.value.text());
    } else {
      w.Raw(f.value.text());
    }
  }
}

std::string JsonLine(const Line& l) {
  char ts[48];
  std::snprintf(ts, sizeof ts, "%lld.%04ld", static_cast<long long>(l.now.tv_sec) * 1000 + l.now.tv_nsec / 1000000,
                l.now.tv_nsec % 1000000 / 100);
  JsonWriter w;
  w.BeginObject().Key("ts").Raw(ts);
  w.Key("caller").String(std::string(ShortPath(l.file)) + ":" + std::to_string(l.line));
  w.Key("msg").String(l.message);
  if (l.level == LogLevel::kInfo || l.level == LogLevel::kDebug) w.Key("v").Int(l.verbosity);
  AppendJsonFields(w, l);
  if (l.error != nullptr) w.Key("err").String(l.error->ToString());
  return w.EndObject().Take();
}

std::string EtcdJsonLine(const Line& l) {
  static constexpr std::string_view kNames[] = {"debug", "info", "warn", "error", "fatal"};
  tm t;
  localtime_r(&l.now.tv_sec, &t);
  char day[40], zone[8] = "Z", ts[64];
  std::strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &t);
  if (t.tm_gmtoff != 0) std::strftime(zone, sizeof zone, "%z", &t);
  std::snprintf(ts, sizeof ts, "%s.%06ld%s", day, l.now.tv_nsec / 1000, zone);
  JsonWriter w;
  w.BeginObject().Key("level").String(kNames[static_cast<int>(l.level)]).Key("ts").String(ts);
  w.Key("caller").String(std::string(ShortPath(l.file)) + ":" + std::to_string(l.line));
  w.Key("msg").String(l.message);
  AppendJsonFields(w, l);
  if (l.error != nullptr) w.Key("error").String(l.error->ToString());
  return w.EndObject().Take();
}

spdlog::level::level_enum SpdlogLevel(LogLevel level) {
  static constexpr spdlog::level::level_enum kLevels[] = {
      spdlog::level::debug, spdlog::level::info, spdlog::level::warn, spdlog::level::err, spdlog::level::critical};
  return kLevels[static_cast<int>(level)];
}

void WriteLine(Line line) {
  const Output& output = *CurrentOutput().load(std::memory_order_acquire);
  if (line.level < output.options.minimum) return;
  clock_gettime(CLOCK_REALTIME, &line.now);
  std::string text;
  switch (output.options.format) {
    case LogFormat::kText:
      text = TextLine(line);
      break;
    case LogFormat::kJson:
      text = JsonLine(line);
      break;
    case LogFormat::kEtcdJson:
      text = EtcdJsonLine(line);
      break;
  }
  output.logger->log(SpdlogLevel(line.level), spdlog::string_view_t(text));
}

}  // namespace

std::atomic<int> log_verbosity{0};

LogValue::LogValue(double d) { AppendJsonNumber(text_, d); }

Status SetupLogging(const LogOptions& options) {
  spdlog::sink_ptr sink;
  if (options.file.empty()) {
    sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  } else {
    try {
      sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(options.file);
    } catch (const spdlog::spdlog_ex& e) {
      return Unavailable("opening the log file: " + std::string(e.what()));
    }
  }
  auto* fresh = new Output{options, MakeLogger(std::move(sink))};
  // Somebody must see what is in a file while the daemon runs.
  fresh->logger->flush_on(spdlog::level::trace);
  log_verbosity = options.verbosity;
  CurrentOutput().store(fresh, std::memory_order_release);
  return Ok();
}

void Log(LogLevel level, std::string_view message, LogFields fields, const char* file, int line, int verbosity) {
  WriteLine({level, message, nullptr, fields, file, line, verbosity, {}});
}

void LogError(std::string_view message, const Status& error, LogFields fields, const char* file, int line) {
  WriteLine({LogLevel::kError, message, &error, fields, file, line, 0, {}});
}

void LogFatal(std::string_view message, const Status& error, LogFields fields, const char* file, int line) {
  WriteLine({LogLevel::kFatal, message, &error, fields, file, line, 0, {}});
  CurrentOutput().load()->logger->flush();
  std::_Exit(1);
}

}  // namespace base
