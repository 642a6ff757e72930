// Keys, transactions, compaction, and what all commands share.
#include <google/protobuf/message.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <iterator>

#include "base/json_writer.h"
#include "base/prefix_end.h"
#include "base/sync.h"
#include "kvstore/ctl/commands.h"
#include "kvstore/transcode/json.h"
#include "proto/etcd/rpc.pb.h"

namespace kvstore::ctl {

using base::Task;
namespace pb = etcdserverpb;

// ---- shared

int Fail(int code, std::string_view text) {
  std::fprintf(stderr, "Error: %.*s\n", static_cast<int>(text.size()), text.data());
  return code;
}

std::string ErrorText(const base::Status& why) {
  static constexpr const char* kCodes[] = {
      "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
      "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
      "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
      "DataLoss", "Unauthenticated"};
  if (why.code() == base::Code::kDeadlineExceeded) return "context deadline exceeded";
  std::string text(why.message());
  // The client knows the server's errors by their text; others it shows with their code.
  bool known = text.starts_with("etcdserver: ") && why.code() != base::Code::kUnimplemented;
  return known ? text : "rpc error: code = " + std::string(kCodes[static_cast<size_t>(why.code())]) + " desc = " + text;
}

int FailToConnect(const ClientFlags& flags, const base::Status& why) {
  auto options = Connection::OptionsFor(flags, flags.endpoints);
  if (options) return Fail(why, kExitBadConnection);
  return Fail(flags.endpoints.empty() ? kExitBadConnection : kExitBadArgs, options.error().message());
}
int Fail(const base::Status& why, int code) { return Fail(code, ErrorText(why)); }
void Out(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }

bool PrintGeneric(const Run& run, const google::protobuf::Message& m, int& code) {
  if (run.format == Format::kJson) {
    using enum transcode::JsonStyle;
    bool members = m.GetDescriptor()->name().starts_with("Member");
    Out(transcode::ToJson(m, run.flags.hex && members ? kGoHexIds : kGo) + "\n");
  } else if (run.format == Format::kProtobuf) {
    Out(m.SerializeAsString());
  } else if (run.format == Format::kTable) {
    code = Fail(kExitBadFeature, "table not supported as output format");
  } else {
    return false;
  }
  return true;
}

Task<base::Result<std::unique_ptr<Connection>>> Connect(const Run& run) {
  co_return co_await Connection::Open(run.loop, run.ctx, run.flags.client, run.Endpoints());
}

namespace {

// Key and end as words and flags say it; an exit code when they contradict each other.
int KeyRange(const Run& run, std::string_view command, std::string& key, std::string& end) {
  const Flags& f = run.flags;
  if (f.prefix && f.from_key) {
    return Fail(kExitBadArgs, "`--prefix` and `--from-key` cannot be set at the same time, choose one");
  }
  if (run.args.empty()) {
    return Fail(kExitBadArgs,
                std::string(command) + " command needs one argument as key and an optional argument as range_end");
  }
  key = run.args[0];
  if (run.args.size() > 1) {
    if (f.prefix || f.from_key) {
      return Fail(kExitBadArgs, "too many arguments, only accept one argument when `--prefix` or `--from-key` is set");
    }
    end = run.args[1];
  }
  if (f.prefix) end = base::PrefixEnd(key);
  if (f.from_key) end = std::string(1, '\0');
  if (key.empty() && (f.prefix || f.from_key)) key = std::string(1, '\0');
  return 0;
}

void PrintKv(const mvccpb::KeyValue& kv, const Flags& f) {
  if (!f.print_value_only) Out(Text(kv.key(), f.hex) + "\n");
  Out(Text(kv.value(), f.hex) + "\n");
}

}  // namespace

// ---- put

int BuildPut(const Run& run, pb::PutRequest& r, bool may_read) {
  const Flags& f = run.flags;
  constexpr const char* kNeeds = "put command needs 1 argument and input from stdin or 2 arguments";
  if (run.args.empty()) return Fail(kExitBadArgs, kNeeds);
  if (f.ignore_value && run.args.size() > 1) {
    return Fail(kExitBadArgs, "put command needs only 1 argument when 'ignore-value' is set");
  }
  r.set_key(run.args[0]);
  if (run.args.size() > 1) r.set_value(run.args[1]);
  if (run.args.size() == 1 && !f.ignore_value) {
    if (may_read) r.set_value(std::string(std::istreambuf_iterator<char>(std::cin), {}));
    if (r.value().empty()) return Fail(kExitBadArgs, kNeeds);
  }
  auto lease = ParseInt(f.lease, 16);
  if (!lease) {
    return Fail(kExitBadArgs, "bad lease ID (" + std::string(lease.error().message()) + "), expecting ID in Hex");
  }
  r.set_lease(*lease);
  r.set_prev_kv(f.prev_kv);
  r.set_ignore_value(f.ignore_value);
  r.set_ignore_lease(f.ignore_lease);
  return 0;
}

void PrintPut(const Run& run, const pb::PutResponse& r) {
  if (run.format == Format::kFields) {
    Out(FieldsHeader(r.header(), run.flags.hex) +
        (r.has_prev_kv() ? FieldsKv(r.prev_kv(), "Prev", run.flags.hex) : ""));
  } else {
    Out("OK\n");
    if (r.has_prev_kv()) PrintKv(r.prev_kv(), run.flags);
  }
}

namespace {

// A call whose answer has a printer for simple and fields at once.
template <class Response, class Request>
Task<int> CallAndPrint(Run& run, std::string method, Request r, void (*print)(const Run&, const Response&)) {
  auto c = co_await Connect(run);
  if (!c) co_return FailToConnect(run.flags.client, c.error());
  auto out = co_await (*c)->template Call<Response>(run.ctx, std::move(method), std::move(r));
  if (!out) co_return Fail(out.error());
  int code = 0;
  if (!PrintGeneric(run, *out, code)) print(run, *out);
  co_return code;
}

}  // namespace

Task<int> Put(Run& run) {
  pb::PutRequest r;
  if (int code = BuildPut(run, r, true)) co_return code;
  co_return co_await CallAndPrint<pb::PutResponse>(run, "/etcdserverpb.KV/Put", r, PrintPut);
}

// ---- get

namespace {

int SetSorting(const Flags& f, pb::RangeRequest& r) {
  static const std::map<std::string, pb::RangeRequest::SortOrder> kOrders = {
      {"", pb::RangeRequest::NONE}, {"ASCEND", pb::RangeRequest::ASCEND}, {"DESCEND", pb::RangeRequest::DESCEND}};
  static const std::map<std::string, pb::RangeRequest::SortTarget> kTargets = {
      {"", pb::RangeRequest::KEY},       {"CREATE", pb::RangeRequest::CREATE}, {"KEY", pb::RangeRequest::KEY},
      {"MODIFY", pb::RangeRequest::MOD}, {"VALUE", pb::RangeRequest::VALUE},   {"VERSION", pb::RangeRequest::VERSION}};
  auto upper = [](std::string text) {
    for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    return text;
  };
  auto order = kOrders.find(upper(f.order));
  if (order == kOrders.end()) return Fail(kExitBadFeature, "bad sort order " + f.order);
  auto target = kTargets.find(upper(f.sort_by));
  if (target == kTargets.end()) return Fail(kExitBadFeature, "bad sort target " + f.sort_by);
  r.set_sort_order(order->second);
  r.set_sort_target(target->second);
  return 0;
}

}  // namespace

int BuildGet(const Run& run, pb::RangeRequest& r) {
  const Flags& f = run.flags;
  std::string key, end;
  if (int code = KeyRange(run, "get", key, end)) return code;
  if (f.keys_only && f.count_only) {
    return Fail(kExitBadArgs, "`--keys-only` and `--count-only` cannot be set at the same time, choose one");
  }
  r.set_key(key);
  r.set_range_end(end);
  r.set_limit(f.limit);
  r.set_revision(f.rev);
  r.set_keys_only(f.keys_only);
  r.set_count_only(f.count_only);
  r.set_min_mod_revision(f.min_mod_rev);
  r.set_max_mod_revision(f.max_mod_rev);
  r.set_min_create_revision(f.min_create_rev);
  r.set_max_create_revision(f.max_create_rev);
  if (f.consistency != "l" && f.consistency != "s") {
    return Fail(kExitBadFeature, "unknown consistency flag \"" + f.consistency + "\"");
  }
  r.set_serializable(f.consistency == "s");
  if (int code = SetSorting(f, r)) return code;
  auto bounds = [](const char* what, int64_t least, int64_t most) {
    if (most <= 0 || least <= most) return 0;
    return Fail(kExitBadFeature, "getMin" + std::string(what) + "Rev(=" + std::to_string(least) + ") > getMax" + what +
                                     "Rev(=" + std::to_string(most) + ")");
  };
  if (int code = bounds("Create", f.min_create_rev, f.max_create_rev)) return code;
  return bounds("Mod", f.min_mod_rev, f.max_mod_rev);
}

void PrintGet(const Run& run, const pb::RangeResponse& r) {
  if (run.format == Format::kFields) {
    Out(FieldsHeader(r.header(), run.flags.hex));
    for (const auto& kv : r.kvs()) Out(FieldsKv(kv, "", run.flags.hex));
    Out(FieldLine("More", r.more() ? "true" : "false") + FieldLine("Count", std::to_string(r.count())));
  } else {
    for (const auto& kv : r.kvs()) PrintKv(kv, run.flags);
  }
}

namespace {

// The pieces of a streamed answer put together again.
Task<base::Result<pb::RangeResponse>> GetStreamed(Connection& c, base::Context ctx, pb::RangeRequest r) {
  CO_TRY_ASSIGN(auto stream, co_await c.Stream(ctx, "/etcdserverpb.KV/RangeStream"));
  CO_TRY(co_await stream->Write(ctx, base::Share(r.SerializeAsString())));
  CO_TRY(co_await stream->CloseWrite(ctx));
  pb::RangeResponse all;
  for (;;) {
    CO_TRY_ASSIGN(auto bytes, co_await stream->Read(ctx));
    if (!bytes) co_return std::move(all);
    pb::RangeStreamResponse piece;
    if (!piece.ParseFromString(*bytes)) co_return base::Err(base::DataLoss("unreadable answer"));
    all.MergeFrom(piece.range_response());
  }
}

}  // namespace

Task<int> Get(Run& run) {
  pb::RangeRequest r;
  if (int code = BuildGet(run, r)) co_return code;
  if (run.flags.count_only && run.format != Format::kFields) {
    co_return Fail(kExitBadArgs, "--count-only is only for `--write-out=fields`");
  }
  if (run.flags.print_value_only && run.format != Format::kSimple) {
    co_return Fail(kExitBadArgs, "print-value-only is only for `--write-out=simple`");
  }
  if (run.flags.stream) {
    auto c = co_await Connect(run);
    if (!c) co_return FailToConnect(run.flags.client, c.error());
    auto out = co_await GetStreamed(**c, run.ctx, r);
    if (!out) co_return Fail(out.error());
    int code = 0;
    if (!PrintGeneric(run, *out, code)) PrintGet(run, *out);
    co_return code;
  }
  co_return co_await CallAndPrint<pb::RangeResponse>(run, "/etcdserverpb.KV/Range", r, PrintGet);
}

// ---- del

int BuildDel(const Run& run, pb::DeleteRangeRequest& r) {
  std::string key, end;
  if (int code = KeyRange(run, "del", key, end)) return code;
  if (run.args.size() > 2) {
    return Fail(kExitBadArgs, "del command needs one argument as key and an optional argument as range_end");
  }
  r.set_key(key);
  r.set_range_end(end);
  r.set_prev_kv(run.flags.prev_kv);
  return 0;
}

void PrintDel(const Run& run, const pb::DeleteRangeResponse& r) {
  if (run.format == Format::kFields) {
    Out(FieldsHeader(r.header(), run.flags.hex) + FieldLine("Deleted", std::to_string(r.deleted())));
    for (const auto& kv : r.prev_kvs()) Out(FieldsKv(kv, "Prev", run.flags.hex));
  } else {
    Out(std::to_string(r.deleted()) + "\n");
    for (const auto& kv : r.prev_kvs()) PrintKv(kv, run.flags);
  }
}

Task<int> Del(Run& run) {
  pb::DeleteRangeRequest r;
  if (int code = BuildDel(run, r)) co_return code;
  // Two words are often a typing error for two keys.
  if (run.args.size() == 2 && !run.flags.range) {
    std::fprintf(
        stderr,
        "Warning: Keys between %s and %s will be deleted. Please interrupt the command within next 2 seconds to "
        "cancel. You can provide `--range` flag to avoid the delay.\n",
        base::GoQuote(run.args[0]).c_str(), base::GoQuote(run.args[1]).c_str());
    if (base::Status s = co_await base::Sleep(run.loop, run.ctx, std::chrono::seconds(2)); !s.ok()) co_return Fail(s);
  }
  co_return co_await CallAndPrint<pb::DeleteRangeResponse>(run, "/etcdserverpb.KV/DeleteRange", r, PrintDel);
}

// ---- txn

namespace {

base::Result<pb::Compare> ParseCompare(const std::string& line) {
  auto malformed = [&](const std::string& why = "") {
    return base::Err(base::InvalidArgument("malformed comparison: " + line + why));
  };
  size_t open = line.find('(');
  if (open == std::string::npos) return malformed();
  std::string target = line.substr(0, open);
  std::string_view rest = std::string_view(line).substr(open + 1);
  auto skip = [&rest] { rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size())); };
  std::string key, op, value;
  auto read = [&] {
    auto text = Unquote(rest);
    if (!text) return false;
    key = *text;
    if (!rest.starts_with(")")) return false;
    rest.remove_prefix(1);
    skip();
    op = rest.substr(0, std::min(rest.find(' '), rest.size()));
    rest.remove_prefix(op.size());
    skip();
    auto last = Unquote(rest);
    if (last) value = *last;
    return last.has_value();
  };
  if (!read()) {
    return malformed("; got " + target + "(" + base::GoQuote(key) + ") " + op + " " + base::GoQuote(value));
  }
  pb::Compare c;
  c.set_key(key);
  static const std::map<std::string, pb::Compare::CompareResult> kOps = {
      {"=", pb::Compare::EQUAL}, {"!=", pb::Compare::NOT_EQUAL}, {">", pb::Compare::GREATER}, {"<", pb::Compare::LESS}};
  if (!kOps.contains(op)) return malformed(" (unknown result op " + op + ")");
  c.set_result(kOps.at(op));
  if (target == "val" || target == "value") {
    c.set_target(pb::Compare::VALUE);
    c.set_value(value);
    return c;
  }
  auto number = ParseInt(value, target == "lease" ? 16 : 10);
  auto bad = [&] { return base::Err(base::InvalidArgument("invalid txn compare request: " + line)); };
  if (target == "ver" || target == "version") {
    c.set_target(pb::Compare::VERSION);
    if (!number) return bad();
    c.set_version(*number);
  } else if (target == "c" || target == "create") {
    c.set_target(pb::Compare::CREATE);
    if (!number) return bad();
    c.set_create_revision(*number);
  } else if (target == "m" || target == "mod") {
    c.set_target(pb::Compare::MOD);
    if (!number) return bad();
    c.set_mod_revision(*number);
  } else if (target == "lease") {
    c.set_target(pb::Compare::LEASE);
    if (!number) return bad();
    c.set_lease(*number);
  } else {
    return malformed(" (unknown target " + target + ")");
  }
  return c;
}

// "put k v", with the flags that the command has by itself; an exit code for what is none.
int ParseOp(const Run& run, const std::string& line, pb::RequestOp& op) {
  auto split = SplitWords(line);
  if (!split) return Fail(kExitInvalidInput, split.error().message());
  const std::vector<std::string>& words = *split;
  auto bad = [&] { return Fail(kExitInvalidInput, "invalid txn request: " + line); };
  if (words.size() < 2) return Fail(kExitInvalidInput, "invalid txn compare request: " + line);
  const Command* command = FindCommand(words[0]);
  if (command == nullptr) return bad();
  Flags flags;
  base::FlagSet set({.name = words[0]});
  set.AllowPositional();
  command->add_flags(set, flags);
  if (!set.Parse({words.begin() + 1, words.end()}).ok()) return bad();
  Run one{run.loop, run.ctx, flags, run.format, set.positional(), {}};
  if (words[0] == "put") return BuildPut(one, *op.mutable_request_put(), false);
  if (words[0] == "get") return BuildGet(one, *op.mutable_request_range());
  return words[0] == "del" ? BuildDel(one, *op.mutable_request_delete_range()) : bad();
}

// Lines up to an empty one; false at the end of the input.
bool NextLine(std::string& line) {
  if (!std::getline(std::cin, line)) return false;
  size_t from = line.find_first_not_of(" \t\r"), to = line.find_last_not_of(" \t\r");
  line = from == std::string::npos ? "" : line.substr(from, to - from + 1);
  return true;
}

int ReadTxn(const Run& run, pb::TxnRequest& t) {
  auto prompt = [&](const char* text) {
    if (run.flags.interactive) Out(text);
    std::fflush(stdout);
  };
  auto eof = [] { return Fail(kExitInvalidInput, "EOF"); };
  std::string line;
  prompt("compares:\n");
  for (;;) {
    if (!NextLine(line)) return eof();
    if (line.empty()) break;
    auto compare = ParseCompare(line);
    if (!compare) return Fail(kExitInvalidInput, compare.error().message());
    *t.add_compare() = *compare;
  }
  for (bool success : {true, false}) {
    prompt(success ? "success requests (get, put, del):\n" : "failure requests (get, put, del):\n");
    for (;;) {
      if (!NextLine(line)) return eof();
      if (line.empty()) break;
      if (int code = ParseOp(run, line, *(success ? t.add_success() : t.add_failure()))) return code;
    }
  }
  return 0;
}

void PrintTxn(const Run& run, const pb::TxnResponse& r) {
  bool fields = run.format == Format::kFields;
  if (fields) {
    Out(FieldsHeader(r.header(), run.flags.hex) + FieldLine("Succeeded", r.succeeded() ? "true" : "false"));
  } else {
    Out(r.succeeded() ? "SUCCESS\n" : "FAILURE\n");
  }
  for (const pb::ResponseOp& op : r.responses()) {
    if (!fields) Out("\n");
    if (op.has_response_put()) PrintPut(run, op.response_put());
    if (op.has_response_range()) PrintGet(run, op.response_range());
    if (op.has_response_delete_range()) PrintDel(run, op.response_delete_range());
  }
}

}  // namespace

Task<int> Txn(Run& run) {
  if (!run.args.empty()) co_return Fail(kExitBadArgs, "txn command does not accept argument");
  pb::TxnRequest t;
  if (int code = ReadTxn(run, t)) co_return code;
  co_return co_await CallAndPrint<pb::TxnResponse>(run, "/etcdserverpb.KV/Txn", t, PrintTxn);
}

Task<int> Compaction(Run& run) {
  if (run.args.size() != 1) co_return Fail(kExitBadArgs, "compaction command needs 1 argument");
  auto revision = ParseInt(run.args[0]);
  if (!revision) co_return Fail(kExitError, revision.error().message());
  pb::CompactionRequest r;
  r.set_revision(*revision);
  r.set_physical(run.flags.physical);
  auto c = co_await Connect(run);
  if (!c) co_return FailToConnect(run.flags.client, c.error());
  auto out = co_await (*c)->Call<pb::CompactionResponse>(run.ctx, "/etcdserverpb.KV/Compact", r);
  if (!out) co_return Fail(out.error());
  Out("compacted revision " + std::to_string(*revision) + "\n");
  co_return 0;
}

}  // namespace kvstore::ctl
