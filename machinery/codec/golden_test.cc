// The 185 objects that the original's own tests encode: every direction, byte for byte.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "machinery/codec/codec.h"
#include "proto/schema_blob.h"
#include "tests/schema/legacy_schema_blob.h"

namespace machinery::codec {
namespace {

namespace fs = std::filesystem;

std::string ReadFile(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

struct Object {
  std::string name, group, version, kind;
  fs::path path(const char* ending) const { return fs::path(name + ending); }
};

fs::path Folder() {
  const char* shared = std::getenv("KEELSON_SHARED");
  const char* source = std::getenv("KEELSON_SOURCE");
  fs::path root = shared ? fs::path(shared) : source ? fs::path(source) / ".." / "shared" : fs::path();
  return root / "golden" / "kubernetes-api-v1.36";
}

std::vector<Object> Objects() {
  std::vector<Object> out;
  if (!fs::exists(Folder())) return out;
  for (const auto& entry : fs::directory_iterator(Folder())) {
    if (entry.path().extension() != ".json") continue;
    // group.with.dots.version.Kind; the core group is called core.
    Object o;
    o.name = (entry.path().parent_path() / entry.path().stem()).string();
    std::string stem = entry.path().stem().string();
    size_t kind = stem.rfind('.'), version = stem.rfind('.', kind - 1);
    o.kind = stem.substr(kind + 1);
    o.version = stem.substr(version + 1, kind - version - 1);
    o.group = stem.substr(0, version) == "core" ? "" : stem.substr(0, version);
    out.push_back(std::move(o));
  }
  std::sort(out.begin(), out.end(), [](const Object& a, const Object& b) { return a.name < b.name; });
  return out;
}

class Golden : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    schema_ = schema::Schema::FromDescriptors({proto::SchemaBlob(), tests::LegacySchemaBlob()}).release();
  }
  void SetUp() override {
    objects_ = Objects();
    if (objects_.empty()) GTEST_SKIP() << "golden objects are absent: " << Folder();
    EXPECT_EQ(objects_.size(), 185u);
  }
  static const schema::Type& TypeOf(const Object& o) {
    const schema::Type* type = schema_->FindObject(o.group, o.version, o.kind);
    CHECK_MSG(type, o.name);
    return *type;
  }
  static schema::Schema* schema_;
  std::vector<Object> objects_;
};
schema::Schema* Golden::schema_ = nullptr;

TEST_F(Golden, JsonToProtobufIsExact) {
  for (const Object& o : objects_) {
    SCOPED_TRACE(o.name);
    std::string json = ReadFile(o.path(".json")), pb = ReadFile(o.path(".pb"));
    DecodeReport report;
    auto v = DecodeJson(TypeOf(o), json, {.report = &report});
    ASSERT_TRUE(v.has_value()) << v.error().ToString();
    EXPECT_TRUE(report.problems.empty()) << report.problems[0];
    EXPECT_EQ(EncodeEnvelope(TypeOf(o), *v), pb);
    EXPECT_EQ(EncodeJson(TypeOf(o), *v, true, false), json);
  }
}

TEST_F(Golden, ProtobufToJsonIsExact) {
  for (const Object& o : objects_) {
    SCOPED_TRACE(o.name);
    std::string json = ReadFile(o.path(".json")), pb = ReadFile(o.path(".pb"));
    auto v = DecodeEnvelope(TypeOf(o), pb);
    ASSERT_TRUE(v.has_value()) << v.error().ToString();
    EXPECT_EQ(EncodeJson(TypeOf(o), *v, true, false), json);
    EXPECT_EQ(EncodeEnvelope(TypeOf(o), *v), pb);
    // The tree itself is what JSON shows, no more and no less.
    EXPECT_EQ(value::ToJson(*v, true), json);
  }
}

TEST_F(Golden, TranscodingIsExact) {
  for (const Object& o : objects_) {
    SCOPED_TRACE(o.name);
    std::string json = ReadFile(o.path(".json")), pb = ReadFile(o.path(".pb"));
    auto envelope = OpenEnvelope(pb);
    ASSERT_TRUE(envelope.has_value());
    std::string out;
    TranscodeOptions options{envelope->api_version, envelope->kind, ""};
    base::Status s = TranscodeToJson(TypeOf(o), envelope->raw, options, out);
    ASSERT_TRUE(s.ok()) << s.ToString();
    EXPECT_EQ(value::IndentJson(out), json);
  }
}

TEST_F(Golden, YamlReadsAndWritesTheSame) {
  for (const Object& o : objects_) {
    SCOPED_TRACE(o.name);
    std::string json = ReadFile(o.path(".json")), yaml = ReadFile(o.path(".yaml"));
    DecodeReport report;
    auto v = DecodeYaml(TypeOf(o), yaml, {.report = &report});
    ASSERT_TRUE(v.has_value()) << v.error().ToString();
    EXPECT_TRUE(report.problems.empty()) << report.problems[0];
    EXPECT_EQ(EncodeJson(TypeOf(o), *v, true, false), json);
    EXPECT_EQ(value::ToYaml(*v), yaml);
  }
}

TEST_F(Golden, EveryTruncationOfAMessageIsRefusedOrRead) {
  for (const Object& o : objects_) {
    if (o.kind != "Pod" && o.kind != "CronJob") continue;
    std::string pb = ReadFile(o.path(".pb"));
    for (size_t n = 0; n < pb.size(); n += 7) {
      auto v = DecodeEnvelope(TypeOf(o), std::string_view(pb).substr(0, n));
      if (v) EncodeJson(TypeOf(o), *v);
    }
  }
}

TEST_F(Golden, SplicingAResourceVersionEqualsDecodingWithIt) {
  for (const Object& o : objects_) {
    SCOPED_TRACE(o.name);
    std::string pb = ReadFile(o.path(".pb"));
    auto v = DecodeEnvelope(TypeOf(o), pb);
    ASSERT_TRUE(v.has_value());
    if (!v->At("metadata").At("name").is_string()) continue;
    v->Ensure("metadata").Set("resourceVersion", "4711");
    auto spliced = SpliceResourceVersion(OpenEnvelope(pb)->raw, "4711");
    ASSERT_TRUE(spliced.has_value());
    EXPECT_EQ(*spliced, EncodeProtobuf(TypeOf(o), *v));
    std::string out;
    TranscodeOptions options{v->At("apiVersion").string_or(), v->At("kind").string_or(), "4711"};
    ASSERT_TRUE(TranscodeToJson(TypeOf(o), OpenEnvelope(pb)->raw, options, out).ok());
    EXPECT_EQ(out, EncodeJson(TypeOf(o), *v, false, false));
  }
}

}  // namespace
}  // namespace machinery::codec
