#include "apiserver/chain/request_info.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "base/strings.h"
#include "machinery/object/api_error.h"
#include "machinery/ops/selector.h"

namespace apiserver::chain {
namespace {

namespace object = machinery::object;
namespace ops = machinery::ops;
using machinery::request::Request;
using machinery::request::Verb;

// One recorded request and what the original asked for it.
struct Row {
  std::string path, method, verb, kind, group, version, resource, subresource, namespace_name, name, asked_path, fields,
      labels;
};

std::string Unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text.substr(i, 2) == "\\x" && i + 3 < text.size()) {
      out += static_cast<char>(std::stoi(std::string(text.substr(i + 2, 2)), nullptr, 16));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::vector<Row> Table() {
  std::vector<Row> rows;
  std::ifstream in(std::string(std::getenv("KEELSON_SOURCE")) + "/tests/component/authorization_matrix.tsv");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("#")) continue;
    auto f = base::Split(line, '\t');
    f.resize(12);
    for (auto& field : f) field = Unescape(field);
    for (const auto& ask : base::Split(f[1], ' ')) {
      size_t colon = ask.find(':');
      rows.push_back({f[0], ask.substr(0, colon), ask.substr(colon + 1), f[2], f[3], f[4], f[5], f[6], f[7], f[8], f[9],
                      f[10], f[11]});
    }
  }
  return rows;
}

std::pair<std::string, Query> PathAndQuery(const Row& row) {
  size_t mark = row.path.find('?');
  if (mark == row.path.npos) return {row.path, {}};
  return {row.path.substr(0, mark), ReadQuery(std::string_view(row.path).substr(mark + 1))};
}

// Selectors as the webhook sees them; "" for those that do not parse.
std::string FieldRequirements(const std::string& text) {
  auto selector = ops::FieldSelector::Parse(text);
  std::vector<std::string> out;
  if (selector)
    for (const auto& t : selector->terms()) out.push_back(t.field + (t.equal ? " In " : " NotIn ") + t.value);
  for (auto& one : out)
    while (one.ends_with(' ')) one.pop_back();
  return base::Join(out, ";");
}

std::string LabelRequirements(const std::string& text) {
  using Op = ops::LabelSelector::Op;
  auto selector = ops::LabelSelector::Parse(text);
  std::vector<std::string> out;
  if (!selector) return "";
  for (const auto& r : selector->requirements()) {
    std::string op = r.op == Op::kExists                                 ? "Exists"
                     : r.op == Op::kDoesNotExist                         ? "DoesNotExist"
                     : r.op == Op::kNotIn || r.op == Op::kNotEquals      ? "NotIn"
                     : r.op == Op::kGreaterThan || r.op == Op::kLessThan ? ""
                                                                         : "In";
    if (op.empty()) continue;  // a review has no word for it
    std::string values = base::Join(r.values, ",");
    out.push_back(r.key + " " + op + (values.empty() ? "" : " " + values));
  }
  return base::Join(out, ";");
}

std::string Told(const RequestInfo& i) {
  if (!i.resource_request) return "path " + i.verb + " " + i.path;
  std::string out = "resource";
  for (const auto& part : {i.verb, i.group, i.version, i.resource, i.subresource, i.namespace_name, i.name,
                           FieldRequirements(i.field_selector), LabelRequirements(i.label_selector)})
    out += " | " + part;
  return out;
}

std::string Told(const Row& r) {
  if (r.kind == "path") return "path " + r.verb + " " + r.asked_path;
  std::string out = "resource";
  for (const auto& part :
       {r.verb, r.group, r.version, r.resource, r.subresource, r.namespace_name, r.name, r.fields, r.labels})
    out += " | " + part;
  return out;
}

TEST(RequestInfo, AsksWhatTheOriginalAsks) {
  auto rows = Table();
  ASSERT_GT(rows.size(), 6000U);
  for (const auto& row : rows) {
    SCOPED_TRACE(row.method + " " + row.path);
    auto [path, query] = PathAndQuery(row);
    auto info = ReadRequestInfo(row.method, path, query);
    if (row.kind.starts_with('!')) {
      ASSERT_FALSE(info);
      EXPECT_EQ("!" + std::to_string(object::HttpCodeOf(info.error())), row.kind);
      continue;
    }
    ASSERT_TRUE(info) << info.error().message();
    EXPECT_EQ(Told(*info), Told(row));
  }
}

// What REST says as a Request: what another wire would have to say for the same.
Request Said(const RequestInfo& info, const Query& query) {
  Request r;
  r.verb = *machinery::request::ParseVerb(info.verb);
  r.group = info.group;
  r.version = info.version;
  r.resource = info.resource;
  r.subresource = info.subresource;
  r.name = info.path_name();
  if (info.in_namespace) r.namespace_name = info.namespace_name;
  for (const auto& [key, value] : query) {
    if (key == "fieldSelector" && r.options.field_selector.empty()) r.options.field_selector = value;
    if (key == "labelSelector" && r.options.label_selector.empty()) r.options.label_selector = value;
  }
  return r;
}

TEST(RequestInfo, IsTheSameForEveryWire) {
  int compared = 0;
  for (const auto& row : Table()) {
    SCOPED_TRACE(row.method + " " + row.path);
    auto [path, query] = PathAndQuery(row);
    auto info = ReadRequestInfo(row.method, path, query);
    if (!info || !info->resource_request || info->parts.size() > 3 || !machinery::request::ParseVerb(info->verb))
      continue;
    bool number = row.path.find("limit=") != row.path.npos || row.path.find("timeoutSeconds=") != row.path.npos;
    bool unnamed_watch = info->by_prefix && info->path_name().empty();
    Request said = Said(*info, query);
    // A wire with fields has no numbers that are none, and says a watch of a collection in one way only.
    if (number || unnamed_watch || !CheckSayable(said).ok()) continue;
    ++compared;
    EXPECT_EQ(Told(InfoOf(said)), Told(row));
  }
  EXPECT_GT(compared, 2500);
}

TEST(CheckSayable, RefusesWhatNoPathSays) {
  Request good{.verb = Verb::kGet, .version = "v1", .resource = "pods", .namespace_name = "n", .name = "x"};
  ASSERT_TRUE(CheckSayable(good).ok());
  auto refused = [&](auto change) {
    Request r = good;
    change(r);
    auto s = CheckSayable(r);
    EXPECT_FALSE(s.ok());
    EXPECT_TRUE(s.ok() || object::HttpCodeOf(s) == 400);
    return std::string(s.message());
  };
  for (Verb v : {Verb::kList, Verb::kDeleteCollection, Verb::kCreate, Verb::kConnect})
    refused([&](Request& r) { r.verb = v; });
  for (Verb v : {Verb::kGet, Verb::kUpdate, Verb::kPatch, Verb::kDelete})
    refused([&](Request& r) { r.verb = v, r.name = ""; });
  for (Verb v : {Verb::kList, Verb::kDeleteCollection, Verb::kWatch, Verb::kCreate})
    refused([&](Request& r) { r.verb = v, r.name = "", r.subresource = "status"; });
  const std::string_view bads[] = {"a/b", "a%b", ".", "..", "/", {"a\0b", 3}, "a\nb", "\x7f", "\xff", "a\xc3"};
  for (std::string_view bad : bads)
    for (auto field : {&Request::group, &Request::version, &Request::resource, &Request::namespace_name, &Request::name,
                       &Request::subresource})
      refused([&](Request& r) { r.*field = bad; });
  refused([](Request& r) { r.version = ""; });
  refused([](Request& r) { r.resource = ""; });
  for (const char* verb : {"watch", "proxy"}) refused([&](Request& r) { r.resource = verb; });
  EXPECT_EQ(refused([](Request& r) { r.name = "a%b"; }), "Name parameter invalid: \"a%b\": may not contain '%'");
}

TEST(CheckSayable, LetsThroughWhatPathsSay) {
  auto said = [](Verb verb, std::string name, std::string subresource) {
    return CheckSayable({.verb = verb,
                         .version = "v1",
                         .resource = "pods",
                         .namespace_name = "n",
                         .name = std::move(name),
                         .subresource = std::move(subresource)});
  };
  EXPECT_TRUE(said(Verb::kCreate, "", "").ok());
  EXPECT_TRUE(said(Verb::kCreate, "x", "eviction").ok());
  EXPECT_TRUE(said(Verb::kWatch, "x", "").ok());  // /watch/namespaces/n/pods/x
  EXPECT_TRUE(said(Verb::kDeleteCollection, "", "").ok());
  EXPECT_TRUE(said(Verb::kGet, "system:node", "").ok());
}

}  // namespace
}  // namespace apiserver::chain
