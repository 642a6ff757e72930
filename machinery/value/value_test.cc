#include "machinery/value/value.h"
#include "base/bug.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace machinery::value {
namespace {

Value Json(std::string_view text) {
  auto v = FromJson(text);
  EXPECT_TRUE(v.has_value()) << text << ": " << (v ? "" : v.error().ToString());
  return v ? *v : Value();
}
std::string JsonError(std::string_view text, ParseOptions options = {}) {
  auto v = FromJson(text, options);
  return v ? "parsed " + ToJson(*v) : std::string(v.error().message());
}
std::string Yaml(std::string_view text) {
  auto v = FromYaml(text);
  return v ? ToJson(*v) : std::string(v.error().message());
}

TEST(Value, IsATreeOfJsonKinds) {
  Value v(Map{{"a", 1}, {"b", List{Value("x"), Value(true), Value()}}});
  EXPECT_EQ(v.At("a").as_int(), 1);
  EXPECT_EQ(v.At("b").At(size_t{0}).string_or(), "x");
  EXPECT_TRUE(v.At("b").At(size_t{7}).is_null());
  EXPECT_TRUE(v.At("no", "such", "path").is_null());
  v.Ensure("c").Set("d", "deep");
  EXPECT_EQ(v.At("c", "d").string_or(), "deep");
  EXPECT_EQ(ToJson(v), R"({"a":1,"b":["x",true,null],"c":{"d":"deep"}})");
  EXPECT_TRUE(v.Remove("b"));
  EXPECT_FALSE(v.Remove("b"));
  Value copy = v;
  copy.Ensure("c").Set("d", 2);
  EXPECT_EQ(v.At("c", "d").string_or(), "deep");
  Value moved = std::move(copy);
  EXPECT_TRUE(copy.is_null());
  EXPECT_EQ(ToJson(moved), R"({"a":1,"c":{"d":2}})");
}

TEST(Value, EqualityIgnoresOrderButNotNumberText) {
  EXPECT_EQ(Json(R"({"a":1,"b":2})"), Json(R"({"b":2,"a":1})"));
  EXPECT_FALSE(Json("1") == Json("1.0"));
  EXPECT_FALSE(Json(R"({"a":1})") == Json(R"({"a":1,"b":null})"));
}

TEST(Value, LargeMapsAreIndexedAndStaySoThroughChanges) {
  Map map;
  for (int i = 0; i < 1000; ++i) map.Append("key-" + std::to_string(i), i);
  Map copy = map;
  copy.Append("only-in-copy", 1);
  EXPECT_FALSE(map.Has("only-in-copy"));
  EXPECT_EQ(map.Find("key-999")->as_int(), 999);
  EXPECT_TRUE(map.Remove("key-500"));
  EXPECT_FALSE(map.Has("key-500"));
  EXPECT_EQ(map.Find("key-501")->as_int(), 501);
  map.Set("key-501", "changed");
  map.Set("new", 1);
  EXPECT_EQ(map.Find("key-501")->string_or(), "changed");
  map.SortByKey();
  EXPECT_EQ(map.begin()->key, "key-0");
  EXPECT_TRUE(map.Has("key-777"));
  for (auto& e : map) e.key += "!";
  EXPECT_TRUE(map.Has("key-777!"));
  EXPECT_FALSE(map.Has("key-777"));
}

TEST(Value, DoublesPrintAsGoPrintsThem) {
  auto text = [](double d) { return ToJson(Value::Double(d)); };
  EXPECT_EQ(text(1.5), "1.5");
  EXPECT_EQ(text(7), "7");
  EXPECT_EQ(text(-0.0), "-0");
  EXPECT_EQ(text(1e20), "100000000000000000000");
  EXPECT_EQ(text(1e21), "1e+21");
  EXPECT_EQ(text(1e-6), "0.000001");
  EXPECT_EQ(text(1e-7), "1e-7");
  EXPECT_EQ(text(1.25e-10), "1.25e-10");
  EXPECT_TRUE(Value::Double(7).is_int());
}

TEST(Json, KeepsNumberText) {
  for (const char* text :
       {"0", "-1", "9223372036854775807", "9223372036854775808", "-0", "1.0", "1e5", "0.10", "1E+2"}) {
    EXPECT_EQ(ToJson(Json(text)), text);
  }
  EXPECT_TRUE(Json("9223372036854775807").is_int());
  EXPECT_FALSE(Json("9223372036854775808").is_int());
}

TEST(Json, EscapesAsGo) {
  EXPECT_EQ(ToJson(Value("<a&b>\"\\\b\f\n\r\t\x01\x7f")),
            "\"\\u003ca\\u0026b\\u003e\\\"\\\\\\b\\f\\n\\r\\t\\u0001\x7f\"");
  EXPECT_EQ(ToJson(Value("\xE2\x80\xA8 \xC3\xA9 \xFF")), "\"\\u2028 \xC3\xA9 \\ufffd\"");
  EXPECT_EQ(Json(R"("\u0041\u00e9\ud83d\ude00\/")").as_string(), "A\xC3\xA9\xF0\x9F\x98\x80/");
  EXPECT_EQ(Json(R"("\ud83dx")").as_string(), "\xEF\xBF\xBDx");
  EXPECT_EQ(Json(R"("\ud83d\u0041")").as_string(),
            "\xEF\xBF\xBD"
            "A");
  EXPECT_EQ(Json("\"a\xFFz\xC3(\"").as_string(), "a\xEF\xBF\xBDz\xEF\xBF\xBD(");
}

TEST(Json, IndentsAsGo) {
  EXPECT_EQ(ToJson(Json(R"({"a":[1,{}],"b":[],"c":{"d":"x:,{"}})"), true),
            "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": [],\n  \"c\": {\n    \"d\": \"x:,{\"\n  }\n}");
  EXPECT_EQ(ToJson(Json(R"({"b":{"z":1,"y":2},"a":1})"), false, true), R"({"a":1,"b":{"y":2,"z":1}})");
}

TEST(Json, ErrorsAreGosWords) {
  EXPECT_EQ(JsonError("not json"), "invalid character 'o' in literal null (expecting 'u')");
  EXPECT_EQ(JsonError(""), "unexpected end of JSON input");
  EXPECT_EQ(JsonError("{\"a\""), "unexpected end of JSON input");
  EXPECT_EQ(JsonError("x"), "invalid character 'x' looking for beginning of value");
  EXPECT_EQ(JsonError("\x81"), "invalid character '\\u0081' looking for beginning of value");
  EXPECT_EQ(JsonError("{a:1}"), "invalid character 'a' looking for beginning of object key string");
  EXPECT_EQ(JsonError(R"({"a" 1})"), "invalid character '1' after object key");
  EXPECT_EQ(JsonError(R"({"a":1 "b":2})"), "invalid character '\"' after object key:value pair");
  EXPECT_EQ(JsonError(R"({"a":1,})"), "invalid character '}' looking for beginning of object key string");
  EXPECT_EQ(JsonError("[1 2]"), "invalid character '2' after array element");
  EXPECT_EQ(JsonError("[1,]"), "invalid character ']' looking for beginning of value");
  EXPECT_EQ(JsonError("1 2"), "invalid character '2' after top-level value");
  EXPECT_EQ(JsonError("01"), "invalid character '1' after top-level value");
  EXPECT_EQ(JsonError("-x"), "invalid character 'x' in numeric literal");
  EXPECT_EQ(JsonError("1.x"), "invalid character 'x' after decimal point in numeric literal");
  EXPECT_EQ(JsonError("1ex"), "invalid character 'x' in exponent of numeric literal");
  EXPECT_EQ(JsonError("\"a\nb\""), "invalid character '\\n' in string literal");
  EXPECT_EQ(JsonError(R"("\q")"), "invalid character 'q' in string escape code");
  EXPECT_EQ(JsonError(R"("\u12x4")"), "invalid character 'x' in \\u hexadecimal character escape");
  EXPECT_EQ(JsonError(std::string(20000, '[')), "exceeded max depth");
  EXPECT_EQ(JsonError("[[[1]]]", {.max_depth = 2}), "exceeded max depth");
  EXPECT_EQ(JsonError("[1,2,3]", {.max_nodes = 3}), "too many values in JSON input");
  EXPECT_EQ(JsonError(R"({"a":1,"a":2})", {.reject_duplicates = true}), R"(duplicate field "a")");
  EXPECT_EQ(JsonError(R"({"a":1,"b":3,"a":2})"), R"(parsed {"a":2,"b":3})");
}

TEST(Json, DeepTextIsReadAndFreed) {
  std::string deep = std::string(kMaxDepth, '[') + std::string(kMaxDepth, ']');
  EXPECT_EQ(ToJson(Json(deep)), deep);
  EXPECT_EQ(JsonError("[" + deep + "]"), "exceeded max depth");
}

TEST(Value, ATreeTakenForWhatItIsNotThrows) {
  EXPECT_THROW((void)Value(1).list(), base::RequestBug);
  EXPECT_THROW((void)Value("x").map(), base::RequestBug);
  EXPECT_THROW((void)Value().as_string(), base::RequestBug);
  EXPECT_THROW((void)Value("1").as_int(), base::RequestBug);
}

TEST(Value, MapsLoseManyEntriesAtOnce) {
  Map map;
  for (int i = 0; i < 100; ++i) map.Append(std::to_string(i), Value(i));
  EXPECT_EQ(map.RemoveIf([](const MapEntry& e) { return e.value.as_int() % 2 == 0; }), 50u);
  EXPECT_FALSE(map.Has("4"));
  EXPECT_EQ(map.Find("51")->as_int(), 51);
  map.EnsureIndex();
  EXPECT_EQ(map.Find("51")->as_int(), 51);
  map.Set("4", Value(5));
  EXPECT_EQ(map.Find("4")->as_int(), 5);
}

TEST(Utf8, IsLookedForInWholeTreesAndNeverCut) {
  EXPECT_TRUE(IsValidUtf8(Json(R"({"a":["\u00e9",{"é":1}]})")));
  EXPECT_FALSE(IsValidUtf8(Value(List{Value("a\xc3")})));
  EXPECT_FALSE(IsValidUtf8(Value(Map{{"\xff", Value(1)}})));
  EXPECT_EQ(Utf8Prefix("aé", 2), "a");
  EXPECT_EQ(Utf8Prefix("aé", 3), "aé");
  EXPECT_EQ(Utf8Prefix("\xf0\x9f\x98\x80", 3), "");
}

TEST(Yaml, ScalarsFollowYaml11) {
  EXPECT_EQ(Yaml("[yes, No, on, OFF, y, n, true, ~, null, '', \"yes\", 'null']"),
            R"([true,false,true,false,true,false,true,null,null,"","yes","null"])");
  EXPECT_EQ(Yaml("[1, -2, +3, 0x1F, 010, 0o17, 0b101, 1_000, 08, 1e3, 1.50, .5, 1., 0.1e-7]"),
            R"([1,-2,3,31,8,15,5,1000,8,1000,1.5,0.5,1,1e-8])");
  EXPECT_EQ(Yaml("[18446744073709551615, 2001-01-01, 12:30, 1.2.3, 0x, 1e400]"),
            R"([18446744073709551615,"2001-01-01","12:30","1.2.3","0x","1e400"])");
}

TEST(Yaml, StructureAnchorsAndMerges) {
  EXPECT_EQ(Yaml("b: 1\na:\n- x\n- k: z\n"), R"({"a":["x",{"k":"z"}],"b":1})");
  EXPECT_EQ(Yaml("a: &x {p: 1, q: 2}\nb:\n  <<: *x\n  q: 3\nc: *x\n"),
            R"({"a":{"p":1,"q":2},"b":{"p":1,"q":3},"c":{"p":1,"q":2}})");
  EXPECT_EQ(Yaml("1: a\ntrue: b\n1.5: c\n"), R"({"1":"a","1.5":"c","true":"b"})");
  EXPECT_EQ(Yaml("a: |\n  one\n  two\nb: >-\n  one\n  two\n"), R"({"a":"one\ntwo\n","b":"one two"})");
  EXPECT_EQ(Yaml("a: !!str 1\nb: !!float 1\nc: !!binary aGk=\nd: !custom x"), R"({"a":"1","b":1,"c":"hi","d":"x"})");
  EXPECT_EQ(Yaml(""), "null");
  EXPECT_EQ(Yaml("a: 1\n---\nb: 2\n"), R"({"a":1})");
}

TEST(Yaml, ErrorsAreGoYamls) {
  EXPECT_EQ(Yaml("a: ["), "yaml: line 1: did not find expected node content");
  EXPECT_EQ(Yaml("a: b: c"), "yaml: mapping values are not allowed in this context");
  EXPECT_EQ(Yaml("a: *x"), "yaml: unknown anchor 'x' referenced");
  EXPECT_EQ(Yaml("a: &x [*x]"), "yaml: anchor 'x' value contains itself");
  EXPECT_EQ(Yaml("a: .nan"), "json: unsupported value: NaN");
  EXPECT_EQ(Yaml("<<: 1"), "yaml: map merge requires map or sequence of maps as the value");
  auto strict = FromYaml("a: 1\nb:\n  c: 1\n  c: 2\na: 2\n", {.reject_duplicates = true});
  ASSERT_FALSE(strict.has_value());
  EXPECT_EQ(strict.error().message(),
            "yaml: unmarshal errors:\n  line 4: key \"c\" already set in map\n  line 5: key \"a\" already set in map");
}

TEST(Yaml, DeepTextIsRefused) {
  for (const std::string& deep : {std::string(9500, '['), std::string(9500, '[') + std::string(9500, ']')}) {
    auto v = FromYaml(deep);
    ASSERT_FALSE(v.has_value());
  }
  std::string block, keys;
  for (int i = 0; i < 1200; ++i) block += "- ", keys += "? ";
  EXPECT_FALSE(FromYaml(block + "x").has_value());
  EXPECT_FALSE(FromYaml(keys + "x").has_value());
}

TEST(Yaml, HostileTextCostsLittle) {
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 12; ++i) {
    std::string n = std::to_string(i), p = std::to_string(i - 1);
    bomb += "a" + n + ": &a" + n + " [";
    for (int j = 0; j < 10; ++j) bomb += (j ? ", *a" : "*a") + p;
    bomb += "]\n";
  }
  EXPECT_EQ(Yaml(bomb), "yaml: document contains excessive aliasing");
  EXPECT_THAT(Yaml(std::string(50000, '[')), testing::HasSubstr("yaml: "));
  EXPECT_THAT(Yaml("a: \xFF\xFE"), testing::HasSubstr("invalid leading UTF-8 octet"));
}

TEST(Yaml, WritesAsSigsYaml) {
  Value v = Json(R"({"b":{"list":["x",{"y":1,"a":2}],"empty":{},"none":[]},"a":"yes","n":"1","t":"line\nline\n",
                     "s":"12:30","f":1.5,"z":null,"k10":1,"k9":2,"msg":"a: b"})");
  EXPECT_EQ(ToYaml(v),
            "a: \"yes\"\nb:\n  empty: {}\n  list:\n  - x\n  - a: 2\n    \"y\": 1\n  none: []\nf: 1.5\nk9: 2\nk10: 1\n"
            "msg: 'a: b'\n\"n\": \"1\"\ns: \"12:30\"\nt: |\n  line\n  line\nz: null\n");
}

}  // namespace
}  // namespace machinery::value
