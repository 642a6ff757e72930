#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <iterator>

#include "kvstore/ctl/commands.h"
#include "proto/etcd/rpc.pb.h"

namespace kvstore::ctl {

using base::Task;
namespace pb = etcdserverpb;

int Fail(int code, std::string_view text) {
  std::fprintf(stderr, "Error: %.*s\n", static_cast<int>(text.size()), text.data());
  return code;
}
int Fail(const base::Status& why) {
  std::string_view text = why.code() == base::Code::kDeadlineExceeded ? "context deadline exceeded" : why.message();
  return Fail(kExitError, text);
}
void Out(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }

namespace {

// The first key behind all that begin with `prefix`; "\0" when there is none.
std::string PrefixEnd(std::string prefix) {
  while (!prefix.empty()) {
    if (static_cast<unsigned char>(prefix.back()) != 0xff) {
      prefix.back() = static_cast<char>(static_cast<unsigned char>(prefix.back()) + 1);
      return prefix;
    }
    prefix.pop_back();
  }
  return std::string(1, '\0');
}

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
  if (f.prefix) end = PrefixEnd(key);
  if (f.from_key) end = std::string(1, '\0');
  if (key.empty() && (f.prefix || f.from_key)) key = std::string(1, '\0');
  return 0;
}

void PrintKv(const mvccpb::KeyValue& kv, const Flags& f) {
  if (!f.print_value_only) Out(Text(kv.key(), f.hex) + "\n");
  Out(Text(kv.value(), f.hex) + "\n");
}

template <class Response>
void JsonStart(base::JsonWriter& w, const Response& r) {
  w.BeginObject();
  JsonHeader(w, r.header());
}

void JsonKvs(base::JsonWriter& w, std::string_view name,
             const google::protobuf::RepeatedPtrField<mvccpb::KeyValue>& kvs) {
  if (kvs.empty()) return;
  w.Key(name).BeginArray();
  for (const auto& kv : kvs) JsonKv(w, kv);
  w.EndArray();
}

int NoTable() { return Fail(kExitBadFeature, "table is not supported as output format of this command"); }

}  // namespace

Task<int> Put(Run& run) {
  const Flags& f = run.flags;
  pb::PutRequest r;
  size_t want = f.ignore_value ? 1 : 2;
  if (run.args.empty() || run.args.size() > want) {
    co_return Fail(kExitBadArgs, "put command needs 1 argument and input from stdin or 2 arguments");
  }
  r.set_key(run.args[0]);
  if (run.args.size() == 2) r.set_value(run.args[1]);
  if (run.args.size() == 1 && !f.ignore_value) {
    r.set_value(std::string(std::istreambuf_iterator<char>(std::cin), {}));
    if (r.value().empty()) {
      co_return Fail(kExitBadArgs, "put command needs 1 argument and input from stdin or 2 arguments");
    }
  }
  r.set_lease(static_cast<int64_t>(std::strtoull(f.lease.c_str(), nullptr, 16)));
  r.set_prev_kv(f.prev_kv);
  r.set_ignore_value(f.ignore_value);
  r.set_ignore_lease(f.ignore_lease);
  auto c = Connection::Open(run.loop, f.client, f.client.endpoints);
  if (!c) co_return Fail(c.error());
  auto out = co_await (*c)->Call<pb::PutResponse>(run.ctx, "/etcdserverpb.KV/Put", r);
  if (!out) co_return Fail(out.error());
  if (run.format == Format::kJson) {
    base::JsonWriter w;
    JsonStart(w, *out);
    if (out->has_prev_kv()) JsonKv(w.Key("prev_kv"), out->prev_kv());
    w.EndObject();
    Out(w.Take() + "\n");
  } else if (run.format == Format::kFields) {
    Out(FieldsHeader(out->header()) + (out->has_prev_kv() ? FieldsKv(out->prev_kv()) : ""));
  } else if (run.format == Format::kTable) {
    co_return NoTable();
  } else {
    Out("OK\n");
    if (out->has_prev_kv()) PrintKv(out->prev_kv(), f);
  }
  co_return 0;
}

namespace {

int RangeFlags(const Run& run, pb::RangeRequest& r) {
  const Flags& f = run.flags;
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
  if (f.order == "ASCEND") {
    r.set_sort_order(pb::RangeRequest::ASCEND);
  } else if (f.order == "DESCEND") {
    r.set_sort_order(pb::RangeRequest::DESCEND);
  } else if (!f.order.empty() && f.order != "NONE") {
    return Fail(kExitBadFeature, "bad sort order " + f.order);
  }
  pb::RangeRequest::SortTarget target = pb::RangeRequest::KEY;
  bool known = f.sort_by == "MODIFY" ? (target = pb::RangeRequest::MOD, true)
                                     : pb::RangeRequest::SortTarget_Parse(f.sort_by, &target);
  if (!f.sort_by.empty() && (!known || f.sort_by == "MOD"))
    return Fail(kExitBadFeature, "bad sort target " + f.sort_by);
  r.set_sort_target(target);
  return 0;
}

}  // namespace

Task<int> Get(Run& run) {
  const Flags& f = run.flags;
  if (f.count_only && run.format != Format::kFields) {
    co_return Fail(kExitBadArgs, "--count-only is only for `--write-out=fields`");
  }
  pb::RangeRequest r;
  std::string key, end;
  if (int code = KeyRange(run, "get", key, end)) co_return code;
  if (int code = RangeFlags(run, r)) co_return code;
  r.set_key(key);
  r.set_range_end(end);
  auto c = Connection::Open(run.loop, f.client, f.client.endpoints);
  if (!c) co_return Fail(c.error());
  auto out = co_await (*c)->Call<pb::RangeResponse>(run.ctx, "/etcdserverpb.KV/Range", r);
  if (!out) co_return Fail(out.error());
  if (run.format == Format::kJson) {
    base::JsonWriter w;
    JsonStart(w, *out);
    JsonKvs(w, "kvs", out->kvs());
    if (out->more()) w.Key("more").Bool(true);
    if (out->count() != 0) w.Key("count").Int(out->count());
    w.EndObject();
    Out(w.Take() + "\n");
  } else if (run.format == Format::kFields) {
    Out(FieldsHeader(out->header()));
    for (const auto& kv : out->kvs()) Out(FieldsKv(kv));
    Out("\"More\" : " + std::string(out->more() ? "true" : "false") + "\n\"Count\" : " + std::to_string(out->count()) +
        "\n");
  } else if (run.format == Format::kTable) {
    co_return NoTable();
  } else {
    for (const auto& kv : out->kvs()) PrintKv(kv, f);
  }
  co_return 0;
}

Task<int> Del(Run& run) {
  const Flags& f = run.flags;
  pb::DeleteRangeRequest r;
  std::string key, end;
  if (int code = KeyRange(run, "del", key, end)) co_return code;
  r.set_key(key);
  r.set_range_end(end);
  r.set_prev_kv(f.prev_kv);
  auto c = Connection::Open(run.loop, f.client, f.client.endpoints);
  if (!c) co_return Fail(c.error());
  auto out = co_await (*c)->Call<pb::DeleteRangeResponse>(run.ctx, "/etcdserverpb.KV/DeleteRange", r);
  if (!out) co_return Fail(out.error());
  if (run.format == Format::kJson) {
    base::JsonWriter w;
    JsonStart(w, *out);
    if (out->deleted() != 0) w.Key("deleted").Int(out->deleted());
    JsonKvs(w, "prev_kvs", out->prev_kvs());
    w.EndObject();
    Out(w.Take() + "\n");
  } else if (run.format == Format::kFields) {
    Out(FieldsHeader(out->header()) + "\"Deleted\" : " + std::to_string(out->deleted()) + "\n");
    for (const auto& kv : out->prev_kvs()) Out(FieldsKv(kv));
  } else if (run.format == Format::kTable) {
    co_return NoTable();
  } else {
    Out(std::to_string(out->deleted()) + "\n");
    for (const auto& kv : out->prev_kvs()) PrintKv(kv, f);
  }
  co_return 0;
}

namespace {

void PrintEvents(const Run& run, const pb::WatchResponse& r) {
  if (run.format == Format::kJson) {
    base::JsonWriter w;
    w.BeginObject();
    JsonHeader(w, r.header(), "Header");
    w.Key("Events").BeginArray();
    for (const auto& e : r.events()) {
      w.BeginObject();
      if (e.type() == mvccpb::Event::DELETE) w.Key("type").Int(1);
      JsonKv(w.Key("kv"), e.kv());
      if (e.has_prev_kv()) JsonKv(w.Key("prev_kv"), e.prev_kv());
      w.EndObject();
    }
    w.EndArray().Key("CompactRevision").Int(r.compact_revision()).Key("Canceled").Bool(r.canceled());
    w.Key("Created").Bool(r.created()).EndObject();
    Out(w.Take() + "\n");
  } else {
    for (const auto& e : r.events()) {
      Out(e.type() == mvccpb::Event::DELETE ? "DELETE\n" : "PUT\n");
      if (e.has_prev_kv()) PrintKv(e.prev_kv(), run.flags);
      PrintKv(e.kv(), run.flags);
    }
  }
  std::fflush(stdout);
}

}  // namespace

Task<int> Watch(Run& run) {
  const Flags& f = run.flags;
  if (run.format != Format::kSimple && run.format != Format::kJson) co_return NoTable();
  if (run.args.size() > 2) co_return Fail(kExitBadArgs, "watch: running a command is not supported yet by keelson");
  std::string key, end;
  if (int code = KeyRange(run, "watch", key, end)) co_return code;
  pb::WatchRequest r;
  auto* create = r.mutable_create_request();
  create->set_key(key);
  create->set_range_end(end);
  create->set_start_revision(f.rev);
  create->set_prev_kv(f.prev_kv);
  create->set_progress_notify(f.progress_notify);
  auto c = Connection::Open(run.loop, f.client, f.client.endpoints);
  if (!c) co_return Fail(c.error());
  auto stream = co_await (*c)->channel().Open(run.ctx, "/etcdserverpb.Watch/Watch");
  if (!stream) co_return Fail(stream.error());
  base::Status sent = co_await (*stream)->Write(run.ctx, base::Share(r.SerializeAsString()));
  if (!sent.ok()) co_return Fail(sent);
  for (;;) {
    auto bytes = co_await (*stream)->Read(run.ctx);
    if (!bytes) co_return Fail(kExitInterrupted, bytes.error().message());
    if (!*bytes) co_return Fail(kExitInterrupted, "watch is canceled by the server");
    pb::WatchResponse w;
    if (!w.ParseFromString(**bytes)) co_return Fail(kExitInterrupted, "unreadable answer");
    if (w.canceled()) {
      std::fprintf(stderr, "watch was canceled (%s)\n", w.cancel_reason().c_str());
      co_return Fail(kExitInterrupted, "watch is canceled by the server");
    }
    if (!w.created() && w.events_size() > 0) PrintEvents(run, w);
  }
}

Task<int> Compaction(Run& run) {
  if (run.args.size() != 1) co_return Fail(kExitBadArgs, "compaction command needs 1 argument");
  char* rest = nullptr;
  pb::CompactionRequest r;
  r.set_revision(std::strtoll(run.args[0].c_str(), &rest, 10));
  if (run.args[0].empty() || *rest != '\0') {
    co_return Fail(kExitError, "strconv.ParseInt: parsing " + base::GoQuote(run.args[0]) + ": invalid syntax");
  }
  auto c = Connection::Open(run.loop, run.flags.client, run.flags.client.endpoints);
  if (!c) co_return Fail(c.error());
  auto out = co_await (*c)->Call<pb::CompactionResponse>(run.ctx, "/etcdserverpb.KV/Compact", r);
  if (!out) co_return Fail(out.error());
  Out("compacted revision " + run.args[0] + "\n");
  co_return 0;
}

}  // namespace kvstore::ctl
