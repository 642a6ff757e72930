#include "base/log.h"

#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>

#include "base/journal.h"
#include "base/json_writer.h"
#include "base/rotating_file.h"

namespace base {
namespace {

// Lines arrive here complete; spdlog owns the sinks, their locks and flushing.
struct Output {
  LogOptions options;
  std::shared_ptr<spdlog::logger> logger;
};

std::shared_ptr<spdlog::logger> MakeLogger(std::vector<spdlog::sink_ptr> sinks) {
  auto logger = std::make_shared<spdlog::logger>("log", sinks.begin(), sinks.end());
  logger->set_pattern("%v");
  logger->set_level(spdlog::level::trace);
  return logger;
}

// Replaced as a whole by SetupLogging and never destroyed: a line may be written while the program exits.
std::atomic<Output*>& CurrentOutput() {
  static std::atomic<Output*> output = new Output{{}, MakeLogger({std::make_shared<spdlog::sinks::stderr_sink_mt>()})};
  return output;
}

class RotatingSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit RotatingSink(std::unique_ptr<RotatingFile> file) : file_(std::move(file)) {}

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    std::string line(message.payload.data(), message.payload.size());
    if (Status s = file_->Write(line + "\n"); !s.ok()) std::fprintf(stderr, "%s\n", s.ToString().c_str());
  }
  void flush_() override {}
  std::unique_ptr<RotatingFile> file_;
};

class JournalSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit JournalSink(std::unique_ptr<Journal> journal) : journal_(std::move(journal)) {}

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    static constexpr int kPriorities[] = {7, 7, 6, 4, 3, 2, 6};  // syslog's, by spdlog's level
    std::string_view line(message.payload.data(), message.payload.size());
    std::string_view place = message.source.filename != nullptr ? message.source.filename : "";
    Status s = journal_->Send(line, kPriorities[message.level], place.substr(0, place.rfind('/')));
    if (!s.ok()) std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data());
  }
  void flush_() override {}
  std::unique_ptr<Journal> journal_;
};

Result<spdlog::sink_ptr> MakeSink(const std::string& output, const LogOptions& options) {
  if (output == kLogToStderr) return std::make_shared<spdlog::sinks::stderr_sink_mt>();
  if (output == kLogToStdout) return std::make_shared<spdlog::sinks::stdout_sink_mt>();
  if (output == kLogToJournal) {
    TRY_ASSIGN(auto journal, Journal::Open());
    return std::make_shared<JournalSink>(std::move(journal));
  }
  if (options.rotation) {
    TRY_ASSIGN(auto file, RotatingFile::Open(output, *options.rotation));
    return std::make_shared<RotatingSink>(std::move(file));
  }
  try {
    return std::make_shared<spdlog::sinks::basic_file_sink_mt>(output);
  } catch (const spdlog::spdlog_ex& e) {
    return Err(Unavailable("opening the log file: " + std::string(e.what())));
  }
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

std::string_view EtcdLevel(LogLevel level) {
  static constexpr std::string_view kNames[] = {"debug", "info", "warn", "error", "fatal"};
  return kNames[static_cast<int>(level)];
}

std::string EtcdTime(const timespec& now) {
  tm t;
  localtime_r(&now.tv_sec, &t);
  char day[40], zone[8] = "Z", ts[64];
  std::strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &t);
  if (t.tm_gmtoff != 0) std::strftime(zone, sizeof zone, "%z", &t);
  std::snprintf(ts, sizeof ts, "%s.%06ld%s", day, now.tv_nsec / 1000, zone);
  return ts;
}

std::string EtcdJsonLine(const Line& l) {
  JsonWriter w;
  w.BeginObject().Key("level").String(EtcdLevel(l.level)).Key("ts").String(EtcdTime(l.now));
  w.Key("caller").String(std::string(ShortPath(l.file)) + ":" + std::to_string(l.line));
  w.Key("msg").String(l.message);
  AppendJsonFields(w, l);
  if (l.error != nullptr) w.Key("error").String(l.error->ToString());
  return w.EndObject().Take();
}

// zap's console encoder: {"a": "b", "c": 1} behind the rest, with spaces where its JSON lines have none.
std::string EtcdConsoleLine(const Line& l) {
  std::string out = EtcdTime(l.now) + "\t" + std::string(EtcdLevel(l.level)) + "\t";
  out.append(ShortPath(l.file)).append(":").append(std::to_string(l.line)).append("\t").append(l.message);
  std::string fields;
  auto add = [&](std::string_view key, const LogValue& value) {
    JsonWriter k, v;
    k.String(key);
    value.quoted() ? v.String(value.text()) : v.Raw(value.text());
    fields += (fields.empty() ? "" : ", ") + k.Take() + ": " + v.Take();
  };
  for (const LogField& f : l.fields) add(f.key, f.value);
  if (l.error != nullptr) add("error", *l.error);
  return fields.empty() ? out : out + "\t{" + fields + "}";
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
    case LogFormat::kEtcdConsole:
      text = EtcdConsoleLine(line);
      break;
  }
  std::string place(ShortPath(line.file));
  output.logger->log(spdlog::source_loc(place.c_str(), line.line, ""), SpdlogLevel(line.level),
                     spdlog::string_view_t(text));
}

}  // namespace

std::atomic<int> log_verbosity{0};

LogValue::LogValue(double d) { AppendJsonNumber(text_, d); }

LogValue::LogValue(const std::vector<std::string>& list) {
  JsonWriter w;
  w.BeginArray();
  for (const std::string& item : list) w.String(item);
  text_ = w.EndArray().Take();
}

Status SetupLogging(const LogOptions& options) {
  std::vector<spdlog::sink_ptr> sinks;
  for (const std::string& output : options.outputs) {
    TRY_ASSIGN(sinks.emplace_back(), MakeSink(output, options));
  }
  if (sinks.empty()) sinks.push_back(std::make_shared<spdlog::sinks::stderr_sink_mt>());
  auto* fresh = new Output{options, MakeLogger(std::move(sinks))};
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
