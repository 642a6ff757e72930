#include "machinery/codec/codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/protobuf_wire.h"
#include "proto/schema_blob.h"

namespace machinery::codec {
namespace {

using base::wire::BackWriter;
using testing::ElementsAre;
using testing::HasSubstr;

const schema::Schema& TheSchema() {
  static const auto schema = schema::Schema::FromDescriptors({proto::SchemaBlob()});
  return *schema;
}
const schema::Type& TypeOf(std::string_view group, std::string_view version, std::string_view kind) {
  const schema::Type* type = TheSchema().FindObject(group, version, kind);
  CHECK_MSG(type, kind);
  return *type;
}
const schema::Type& Pod() { return TypeOf("", "v1", "Pod"); }
const schema::Type& ConfigMap() { return TypeOf("", "v1", "ConfigMap"); }

// Canonical JSON of what was read, or the error.
std::string Read(const schema::Type& type, std::string_view json, DecodeReport* report = nullptr) {
  auto v = DecodeJson(type, json, {.report = report});
  if (!v) return std::string(v.error().message());
  std::string text = EncodeJson(type, *v, false, false);
  EXPECT_EQ(value::ToJson(*v), text) << "the tree is what JSON shows";
  EXPECT_EQ(EncodeJson(type, *DecodeProtobuf(type, EncodeProtobuf(type, *v)), false, false),
            text.substr(0, 1) + text.substr(text.find("\"metadata\"")))
      << "the same by way of protobuf";
  return text;
}
std::vector<std::string> Problems(const schema::Type& type, std::string_view json) {
  DecodeReport report;
  Read(type, json, &report);
  return report.problems;
}

TEST(DecodeJson, OrdersFieldsAndAddsWhatIsAlwaysThere) {
  EXPECT_EQ(
      Read(Pod(), R"({"spec":{"nodeName":"n","containers":[{"name":"c","image":""}]},"metadata":{"name":"p"},
                            "apiVersion":"v1","kind":"Pod"})"),
      R"({"kind":"Pod","apiVersion":"v1","metadata":{"name":"p"},"spec":{"containers":[{"name":"c","resources":{}}],)"
      R"("nodeName":"n"},"status":{}})");
  EXPECT_EQ(Read(Pod(), R"({"metadata":{}})"), R"({"metadata":{},"spec":{"containers":null},"status":{}})");
}

TEST(DecodeJson, TreatsNullAsGoDoes) {
  EXPECT_EQ(Read(Pod(), R"({"metadata":{"name":null,"labels":null,"creationTimestamp":null,"deletionTimestamp":null},
                            "spec":{"containers":[null],"hostNetwork":null,"terminationGracePeriodSeconds":null}})"),
            R"({"metadata":{},"spec":{"containers":[{"name":"","resources":{}}]},"status":{}})");
}

TEST(DecodeJson, KeepsPointersToZero) {
  EXPECT_EQ(Read(Pod(), R"({"metadata":{},"spec":{"terminationGracePeriodSeconds":0,"enableServiceLinks":false,
                            "hostNetwork":false,"priority":0}})"),
            R"({"metadata":{},"spec":{"containers":null,"terminationGracePeriodSeconds":0,"priority":0,)"
            R"("enableServiceLinks":false},"status":{}})");
}

TEST(DecodeJson, BringsTextsIntoForm) {
  EXPECT_EQ(
      Read(Pod(), R"({"metadata":{"creationTimestamp":"2024-01-01T01:00:00.5+01:00"},"spec":{"containers":[{"name":"c",
      "resources":{"limits":{"memory":"1024Mi","cpu":0.5}},"livenessProbe":{"httpGet":{"port":"web"}}}]}})"),
      R"({"metadata":{"creationTimestamp":"2024-01-01T00:00:00Z"},"spec":{"containers":[{"name":"c","resources":)"
      R"({"limits":{"cpu":"500m","memory":"1Gi"}},"livenessProbe":{"httpGet":{"port":"web"}}}]},"status":{}})");
  EXPECT_EQ(Read(TypeOf("", "v1", "Secret"), R"({"metadata":{},"data":{"b":"aGk=","a":"aG\nk="}})"),
            R"({"metadata":{},"data":{"a":"aGk=","b":"aGk="}})");
}

TEST(DecodeJson, WordsOfWrongTypes) {
  EXPECT_EQ(Read(ConfigMap(), R"({"data":{"k":1}})"),
            "json: cannot unmarshal number into Go struct field ConfigMap.data of type string");
  EXPECT_EQ(Read(ConfigMap(), R"({"data":"text"})"),
            "json: cannot unmarshal string into Go struct field ConfigMap.data of type map[string]string");
  EXPECT_EQ(Read(Pod(), R"({"spec":{"containers":[{"name":"c","command":"text"}]}})"),
            "json: cannot unmarshal string into Go struct field Container.spec.containers.command of type []string");
  EXPECT_EQ(Read(Pod(), R"({"spec":{"enableServiceLinks":"yes"}})"),
            "json: cannot unmarshal string into Go struct field PodSpec.spec.enableServiceLinks of type bool");
  EXPECT_EQ(Read(Pod(), R"({"spec":[]})"),
            "json: cannot unmarshal array into Go struct field Pod.spec of type v1.PodSpec");
  EXPECT_EQ(Read(Pod(), R"({"spec":{"containers":{}}})"),
            "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container");
  EXPECT_EQ(Read(Pod(), R"({"spec":{"priority":3000000000}})"),
            "json: cannot unmarshal number 3000000000 into Go struct field PodSpec.spec.priority of type int32");
  EXPECT_EQ(Read(Pod(), R"({"spec":{"priority":1.5}})"),
            "json: cannot unmarshal number 1.5 into Go struct field PodSpec.spec.priority of type int32");
  EXPECT_EQ(Read(Pod(), "[]"), "json: cannot unmarshal array into Go value of type v1.Pod");
  EXPECT_EQ(Read(Pod(), R"({"metadata":{"creationTimestamp":5}})"),
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.creationTimestamp of type string");
}

TEST(DecodeJson, WordsOfBadTexts) {
  EXPECT_EQ(Read(ConfigMap(), R"({"binaryData":{"k":"%%%"}})"), "illegal base64 data at input byte 0");
  EXPECT_EQ(Read(ConfigMap(), R"({"binaryData":{"k":"aGk"}})"), "illegal base64 data at input byte 0");
  EXPECT_EQ(Read(Pod(), R"({"spec":{"containers":[{"resources":{"requests":{"cpu":"abc"}}}]}})"),
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
  EXPECT_EQ(Read(Pod(), R"({"metadata":{"creationTimestamp":"x"}})"),
            R"(parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006")");
  // Malformed text outranks an error of a text, which outranks a wrong type.
  EXPECT_EQ(Read(Pod(), R"({"metadata":{"name":1,"creationTimestamp":"x"},})"),
            "invalid character '}' looking for beginning of object key string");
  EXPECT_THAT(Read(Pod(), R"({"metadata":{"name":1,"creationTimestamp":"x"}})"), HasSubstr("parsing time"));
}

TEST(DecodeJson, ReportsUnknownAndDuplicateFields) {
  EXPECT_THAT(Problems(ConfigMap(), R"({"unknown":1,"data":{"a":"b"}})"), ElementsAre(R"(unknown field "unknown")"));
  EXPECT_THAT(Problems(ConfigMap(), R"({"metadata":{"name":"dup","name":"dup2"},"data":{"a":"1","a":"2"}})"),
              ElementsAre(R"(duplicate field "metadata.name")", R"(duplicate field "data.a")"));
  EXPECT_THAT(
      Problems(Pod(), R"({"metadata":{},"spec":{"foo":1,"containers":[{"name":"a"},{"x":{"x":1},"Name":"b"}],"volumes":
                              [{"name":"v","hostPath":{"pth":"/"}}]}})"),
      ElementsAre(R"(unknown field "spec.foo")", R"(unknown field "spec.containers[1].x")",
                  R"(unknown field "spec.containers[1].Name")", R"(unknown field "spec.volumes[0].hostPath.pth")"));
  std::string many = R"({"metadata":{})";
  for (int i = 0; i < 200; ++i) many += ",\"x" + std::to_string(i) + "\":1";
  EXPECT_EQ(Problems(Pod(), many + "}").size(), 100u);
}

TEST(DecodeYaml, ReportsKeysSetTwiceAndThenUnknownOnesSorted) {
  DecodeReport report;
  auto v =
      DecodeYaml(ConfigMap(), "zzz: 1\nmetadata: {name: a}\ndata: {a: '1', a: '2'}\naaa: 2\n", {.report = &report});
  ASSERT_TRUE(v.has_value());
  EXPECT_EQ(v->At("data", "a").string_or(), "2");
  EXPECT_THAT(report.problems, ElementsAre("yaml: unmarshal errors:\n  line 3: key \"a\" already set in map",
                                           R"(unknown field "aaa")", R"(unknown field "zzz")"));
}

TEST(DecodeJson, DeepTextIsRefused) {
  std::string deep = R"({"metadata":)" + std::string(5000, '[') + std::string(5000, ']') + "}";
  EXPECT_EQ(Read(Pod(), deep), "exceeded max depth");
  std::string schema = R"({"metadata":{},"spec":{"versions":[{"schema":{"openAPIV3Schema":)";
  for (int i = 0; i < 3000; ++i) schema += R"({"not":)";
  EXPECT_EQ(Read(TypeOf("apiextensions.k8s.io", "v1", "CustomResourceDefinition"), schema), "exceeded max depth");
}

TEST(Unions, OfJsonSchemaPropsAreReadByWhatStandsThere) {
  const auto& crd = TypeOf("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
  const std::string schema =
      R"({"type":"object","default":{"a":[1,"x"]},"items":{"type":"string"},"properties":{"p":{"type":"integer","maximum":1.5}},)"
      R"("additionalProperties":false,"dependencies":{"d":["a","b"]},"x-kubernetes-preserve-unknown-fields":true})";
  DecodeReport report;
  std::string text =
      R"({"metadata":{"name":"x"},"spec":{"group":"g","names":{"plural":"x","kind":"X"},"scope":"Cluster",)"
      R"("versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":)" +
      schema + "}}]}}";
  EXPECT_THAT(Read(crd, text, &report), HasSubstr(schema));
  EXPECT_TRUE(report.problems.empty());
}

TEST(EncodeJson, MakesHandMadeTreesCanonical) {
  value::Value v;
  v.Ensure("spec").Set("nodeName", "n");
  v.Ensure("metadata").Set("labels", value::Map{{"b", "2"}, {"a", "1"}});
  v.Ensure("metadata").Set("name", "p");
  v.Ensure("metadata").Set("generateName", "");
  v.Set("unknown", 1);
  EXPECT_EQ(
      EncodeJson(Pod(), v, false, false),
      R"({"metadata":{"name":"p","labels":{"a":"1","b":"2"}},"spec":{"containers":null,"nodeName":"n"},"status":{}})");
}

TEST(Envelope, HoldsKindAndBytes) {
  auto v = DecodeJson(ConfigMap(), R"({"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a"}})");
  std::string sealed = EncodeEnvelope(ConfigMap(), *v);
  EXPECT_TRUE(HasEnvelope(sealed));
  auto open = OpenEnvelope(sealed);
  EXPECT_EQ(open->api_version, "v1");
  EXPECT_EQ(open->kind, "ConfigMap");
  EXPECT_EQ(*DecodeEnvelope(ConfigMap(), sealed), *v);
  EXPECT_FALSE(OpenEnvelope("{}").has_value());
  EXPECT_FALSE(OpenEnvelope(sealed.substr(0, sealed.size() - 1)).has_value());
}

TEST(Protobuf, RefusesWhatIsMalformed) {
  auto refuse = [](std::string_view bytes) {
    auto v = DecodeProtobuf(Pod(), bytes);
    std::string json;
    base::Status s = TranscodeToJson(Pod(), bytes, {}, json);
    EXPECT_FALSE(s.ok());
    EXPECT_EQ(json, "");
    return v ? "read" : std::string(v.error().message());
  };
  EXPECT_EQ(refuse("\x0a\x05"), "unexpected EOF");
  EXPECT_EQ(refuse("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "proto: negative length found during unmarshaling");
  EXPECT_EQ(refuse("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), "proto: integer overflow");
  EXPECT_EQ(refuse(std::string_view("\x08\x01", 2)), "proto: wrong wireType = 0 for field metadata");
  EXPECT_EQ(refuse("\x0a\x04\x0a\x02\xff\xfe"), "proto: string field contains invalid UTF-8");
}

TEST(Protobuf, DropsUnknownFieldsAndFillsWhatWritersLeaveOut) {
  BackWriter meta;
  meta.Field(200, "unknown");
  meta.Field(1, "p");
  BackWriter pod;
  pod.Field(1, meta.Take());
  pod.IntField(99, 5);
  std::string bytes = pod.Take();
  auto v = DecodeProtobuf(Pod(), bytes);
  ASSERT_TRUE(v.has_value());
  const char* json = R"({"metadata":{"name":"p"},"spec":{"containers":null},"status":{}})";
  EXPECT_EQ(EncodeJson(Pod(), *v, false, false), json);
  std::string out;
  ASSERT_TRUE(TranscodeToJson(Pod(), bytes, {}, out).ok());
  EXPECT_EQ(out, json);
  out.clear();
  ASSERT_TRUE(TranscodeToJson(Pod(), "", {"v1", "Pod", "7"}, out).ok());
  EXPECT_EQ(
      out,
      R"({"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"7"},"spec":{"containers":null},"status":{}})");
}

TEST(Protobuf, SortsMapsOfWritersThatDoNot) {
  auto entry = [](std::string_view k, std::string_view v) {
    BackWriter w;
    w.Field(2, v);
    w.Field(1, k);
    return w.Take();
  };
  BackWriter map;  // written backwards
  map.Field(2, entry("b", "new"));
  map.Field(2, entry("a", "1"));
  map.Field(2, entry("b", "old"));
  std::string bytes = map.Take(), out;
  const char* json = R"({"metadata":{},"data":{"a":"1","b":"new"}})";
  EXPECT_EQ(EncodeJson(ConfigMap(), *DecodeProtobuf(ConfigMap(), bytes), false, false), json);
  ASSERT_TRUE(TranscodeToJson(ConfigMap(), bytes, {}, out).ok());
  EXPECT_EQ(out, json);
}

TEST(Protobuf, GoQuirksOfTime) {
  // The original cannot tell 1970 from no time once it is on the wire.
  auto v = DecodeJson(Pod(), R"({"metadata":{"deletionTimestamp":"1970-01-01T00:00:00Z"}})");
  EXPECT_TRUE(DecodeProtobuf(Pod(), EncodeProtobuf(Pod(), *v))->At("metadata", "deletionTimestamp").is_null());
}

}  // namespace
}  // namespace machinery::codec
