// Patches that would cost more than they may, and those that only look as if.
#include "machinery/ops/patch_budget.h"

#include <gtest/gtest.h>

#include <chrono>

#include "machinery/object/api_error.h"
#include "machinery/ops/patch.h"
#include "proto/schema_blob.h"

namespace machinery::ops {
namespace {

using value::List;
using value::Map;
using value::Value;

Value Json(std::string_view text) { return *value::FromJson(text); }
int CodeOf(const base::Result<Value>& r) { return r ? 200 : object::HttpCodeOf(r.error()); }

const schema::Type& TypeOf(std::string_view kind) {
  static const auto schema = schema::Schema::FromDescriptors({proto::SchemaBlob()});
  return *schema->FindObject("", "v1", std::string(kind));
}

// Runs `f` and says how long it took.
template <class F>
double Seconds(F f) {
  auto began = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}
// Several times what it takes here, and far from what each of these took.
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr double kQuick = 30;
#else
constexpr double kQuick = 3;
#endif

TEST(JsonPatch, CopiesThatDoubleAreStopped) {
  List ops{Json(R"({"op":"add","path":"/a","value":["xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"]})")};
  for (int i = 0; i < 40; ++i) ops.push_back(Json(R"({"op":"copy","from":"/a","path":"/a/-"})"));
  EXPECT_EQ(CodeOf(ApplyJsonPatch(Json("{}"), Value(ops))), 422);
  List few(ops.begin(), ops.begin() + 10);
  EXPECT_EQ(CodeOf(ApplyJsonPatch(Json("{}"), Value(few))), 200);
}

TEST(JsonPatch, TheDocumentStaysShallow) {
  List ops{Json(R"({"op":"add","path":"/a","value":{}})")};
  for (int i = 0; i < 3000; ++i) {
    ops.push_back(Json(R"({"op":"move","from":"/a","path":"/b"})"));
    ops.push_back(Json(R"({"op":"add","path":"/a","value":{}})"));
    ops.push_back(Json(R"({"op":"move","from":"/b","path":"/a/c"})"));
  }
  EXPECT_EQ(CodeOf(ApplyJsonPatch(Json("{}"), Value(ops))), 422);
  // A pointer deeper than any document.
  std::string path;
  for (int i = 0; i < 5000; ++i) path += "/a";
  EXPECT_EQ(CodeOf(ApplyJsonPatch(Json("{}"), Value(List{Value(Map{{"op", Value("add")}, {"path", Value(path)}})}))),
            422);
}

TEST(JsonPatch, InsertionsInFrontOfALongListEndSoon) {
  List list(200'000, Value("x")), ops;
  for (int i = 0; i < 10'000; ++i) ops.push_back(Json(R"({"op":"add","path":"/l/0","value":"y"})"));
  Value doc{Map{}};
  doc.Set("l", Value(list));
  EXPECT_LT(Seconds([&] { EXPECT_EQ(CodeOf(ApplyJsonPatch(doc, Value(ops))), 422); }), kQuick);
  doc.Set("l", Value(List(1000, Value("x"))));
  List some(ops.begin(), ops.begin() + 2000);
  EXPECT_EQ(CodeOf(ApplyJsonPatch(doc, Value(some))), 200);
}

TEST(JsonPatch, MovesAndRemovalsOfMuchEndSoon) {
  Map many;
  for (int i = 0; i < 200'000; ++i) many.Append("k" + std::to_string(i), Value(i));
  List moves, removals;
  for (int i = 0; i < 5000; ++i) {
    moves.push_back(Json(R"({"op":"move","from":"/a","path":"/b/a"})"));
    moves.push_back(Json(R"({"op":"move","from":"/b/a","path":"/a"})"));
    removals.push_back(Value(Map{{"op", Value("remove")}, {"path", Value("/a/k" + std::to_string(i))}}));
  }
  Value doc{Map{{"a", Value(many)}, {"b", Value(Map{})}}};
  EXPECT_LT(Seconds([&] { EXPECT_EQ(CodeOf(ApplyJsonPatch(doc, Value(moves))), 422); }), kQuick);
  EXPECT_LT(Seconds([&] { EXPECT_EQ(CodeOf(ApplyJsonPatch(doc, Value(removals))), 422); }), kQuick);
}

TEST(MergePatch, TakesTimeInProportionToItsSize) {
  Map many, nulls;
  for (int i = 0; i < 100'000; ++i) {
    many.Append("k" + std::to_string(i), Value("v"));
    nulls.Append("k" + std::to_string(99'999 - i), Value());
  }
  nulls.Set("new", Value(1));
  base::Result<Value> out;
  EXPECT_LT(Seconds([&] { out = ApplyMergePatch(Value(many), Value(nulls)); }), kQuick);
  EXPECT_EQ(value::ToJson(*out), R"({"new":1})");
}

TEST(StrategicPatch, AnOrderOfAnOrderIsDealtWithOnce) {
  const auto& type = TypeOf("ConfigMap");
  auto out =
      ApplyStrategicMergePatch(type, Json(R"({"data":{"a":"b"}})"),
                               Json(R"({"data":{"$setElementOrder/$setElementOrder/x":[],"$setElementOrder/x":[]}})"));
  // Which of the two is met first is a matter of luck in the original; here it is the patch's order.
  EXPECT_EQ(value::ToJson(*out), R"({"data":{"a":"b","$setElementOrder/x":[]}})");
  // The other way round, thrice, and with a list.
  for (const char* patch : {R"({"data":{"$setElementOrder/x":[],"$setElementOrder/$setElementOrder/x":[]}})",
                            R"({"data":{"$setElementOrder/$setElementOrder/$setElementOrder/x":[],)"
                            R"("$setElementOrder/$setElementOrder/x":[],"$setElementOrder/x":["a"],"x":["a"]}})"}) {
    EXPECT_NE(CodeOf(ApplyStrategicMergePatch(type, Json(R"({"data":{"x":["b"]}})"), Json(patch))), 0) << patch;
  }
}

TEST(StrategicPatch, ListsMergeInTimeInProportion) {
  List env, patch, names, deletes;
  for (int i = 0; i < 30'000; ++i) {
    std::string name = "n" + std::to_string(i);
    env.push_back(Value(Map{{"name", Value(name)}, {"value", Value("1")}}));
    patch.push_back(Value(Map{{"name", Value(name)}, {"value", Value("2")}}));
    names.push_back(Value(Map{{"name", Value(name)}}));
    deletes.push_back(Value(Map{{"name", Value(name)}, {"$patch", Value("delete")}}));
  }
  auto pod = [](List list) {
    return Value(Map{
        {"spec",
         Value(Map{{"containers", Value(List{Value(Map{{"name", Value("c")}, {"env", Value(std::move(list))}})})}})}});
  };
  const auto& type = TypeOf("Pod");
  Value ordered = pod(patch);
  ordered.Ensure("spec").Ensure("containers").list()[0].Set("$setElementOrder/env", Value(names));
  EXPECT_LT(Seconds([&] { EXPECT_EQ(*ApplyStrategicMergePatch(type, pod(env), ordered), pod(patch)); }), kQuick);
  EXPECT_LT(Seconds([&] { EXPECT_EQ(*ApplyStrategicMergePatch(type, pod(env), pod(deletes)), pod({})); }), kQuick);
  // Lists of scalars, merged and deleted from.
  List finalizers;
  for (int i = 0; i < 100'000; ++i) finalizers.push_back(Value("a/" + std::to_string(i)));
  auto meta = [](std::string field, List list) {
    return Value(Map{{"metadata", Value(Map{{std::move(field), Value(std::move(list))}})}});
  };
  Value object = meta("finalizers", finalizers);
  EXPECT_LT(Seconds([&] { EXPECT_EQ(*ApplyStrategicMergePatch(type, object, object), object); }), kQuick);
  Value none = meta("$deleteFromPrimitiveList/finalizers", finalizers);
  EXPECT_LT(Seconds([&] { EXPECT_EQ(*ApplyStrategicMergePatch(type, object, none), meta("finalizers", {})); }), kQuick);
}

TEST(StrategicPatch, ManyDirectivesAndNullsTakeTimeInProportion) {
  Map orders, data, nulls;
  for (int i = 0; i < 50'000; ++i) {
    std::string key = "k" + std::to_string(i);
    orders.Append("$setElementOrder/" + key, Value(List{}));
    data.Append(key, Value("v"));
    nulls.Append(key, Value());
  }
  auto in = [](Map m) { return Value(Map{{"data", Value(std::move(m))}}); };
  const auto& type = TypeOf("ConfigMap");
  EXPECT_LT(Seconds([&] { EXPECT_EQ(CodeOf(ApplyStrategicMergePatch(type, in(data), in(nulls))), 200); }), kQuick);
  EXPECT_LT(Seconds([&] { (void)ApplyStrategicMergePatch(type, in({}), in(orders)); }), kQuick);
}

TEST(Identity, IsEqualityOfJson) {
  const std::string key = "name", whole;
  List list{Json(R"({"name":"a","x":1})"), Json(R"({"name":{"p":1,"q":2}})"), Json("1"), Json("1.0"), Json(R"("1")")};
  IdentityIndex by_name(list, key), by_all(list, whole);
  EXPECT_EQ(by_name.Find(Json(R"({"name":"a"})")), 0);
  EXPECT_EQ(by_name.Find(Json(R"({"name":{"q":2,"p":1}})")), 1);
  EXPECT_EQ(by_all.Find(Json("1")), 2);
  EXPECT_EQ(by_all.Find(Json("1.0")), 3);
  EXPECT_EQ(by_all.Find(Json(R"("1")")), 4);
  EXPECT_EQ(by_all.Find(Json(R"({"name":"a"})")), -1);
}

}  // namespace
}  // namespace machinery::ops
