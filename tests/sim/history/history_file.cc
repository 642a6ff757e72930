#include "tests/sim/history/history_file.h"

#include "machinery/value/value.h"

namespace tests::history {
namespace {

using machinery::value::Value;

std::optional<std::string> TextOf(const Value& v) {
  if (!v.is_string()) return std::nullopt;
  return v.as_string();
}

base::Result<Operation> ReadOperation(std::string_view line) {
  TRY_ASSIGN(Value v, machinery::value::FromJson(line));
  Operation op{.client = static_cast<int>(v.At("client").int_or()), .key = std::string(v.At("key").string_or())};
  std::string_view kind = v.At("op").string_or();
  if (kind == "put") {
    op.kind = Kind::kPut;
  } else if (kind == "get") {
    op.kind = Kind::kGet;
  } else if (kind == "delete") {
    op.kind = Kind::kDelete;
  } else if (kind == "cas") {
    op.kind = Kind::kCompareAndSwap;
  } else {
    return base::Err(base::InvalidArgument("unknown op \"" + std::string(kind) + "\""));
  }
  if (!v.At("key").is_string() || !v.At("start").is_int() || !v.At("end").is_int()) {
    return base::Err(base::InvalidArgument("key, start and end are needed"));
  }
  op.value = TextOf(v.At("value"));
  op.expect = TextOf(v.At("expect"));
  op.found = TextOf(v.At("found"));
  op.ok = v.At("ok").bool_or(true);
  op.start = v.At("start").as_int();
  op.end = v.At("end").as_int();
  if (op.end != kUnknownEnd && op.end < op.start) return base::Err(base::InvalidArgument("it ends before it starts"));
  if (op.kind == Kind::kPut && !op.value) return base::Err(base::InvalidArgument("a put of nothing"));
  return op;
}

}  // namespace

base::Status ReadHistory(std::string_view text, std::vector<Operation>& into) {
  for (size_t number = 1; !text.empty(); ++number) {
    size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    auto op = ReadOperation(line);
    if (!op) return base::InvalidArgument("line " + std::to_string(number) + ": " + std::string(op.error().message()));
    into.push_back(std::move(*op));
  }
  return {};
}

}  // namespace tests::history
