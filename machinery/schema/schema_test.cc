#include <gtest/gtest.h>

#include <fstream>

#include "machinery/schema/field_index.h"
#include "machinery/schema/type.h"
#include "proto/schema_blob.h"

namespace machinery::schema {
namespace {

size_t ResidentKilobytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) return std::stoul(line.substr(6));
  }
  return 0;
}

class SchemaTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    size_t before = ResidentKilobytes();
    schema_ = Schema::FromDescriptors({proto::SchemaBlob()}).release();
    std::cout << "resident for all types: " << ResidentKilobytes() - before << " kB\n";
  }
  static Schema* schema_;
};
Schema* SchemaTest::schema_ = nullptr;

TEST_F(SchemaTest, KnowsKindsMessagesAndObjects) {
  const Kind* pods = nullptr;
  for (const Kind& k : schema_->kinds()) {
    if (k.group.empty() && k.resource == "pods") pods = &k;
    EXPECT_NE(k.type, nullptr);
    EXPECT_EQ(schema_->FindObject(k.group, k.version, k.kind), k.type) << k.kind;
  }
  ASSERT_NE(pods, nullptr);
  EXPECT_EQ(pods->kind, "Pod");
  EXPECT_EQ(pods->ApiVersion(), "v1");
  ASSERT_NE(pods->list_type, nullptr);
  EXPECT_EQ(pods->list_type->name, "k8s.io.api.core.v1.PodList");
  EXPECT_TRUE(pods->namespaced);
  EXPECT_EQ(pods->type, schema_->FindType("k8s.io.api.core.v1.Pod"));
  EXPECT_EQ(schema_->FindType("k8s.io.api.core.v1.Nope"), nullptr);
  EXPECT_EQ(schema_->FindObject("apps", "v1", "Pod"), nullptr);
  EXPECT_EQ(schema_->FindObject("apps", "v1", "DeleteOptions"),
            schema_->FindType("k8s.io.apimachinery.pkg.apis.meta.v1.DeleteOptions"));
  EXPECT_NE(schema_->FindObject("", "v1", "Status"), nullptr);
  EXPECT_EQ(schema_->FindObject("nope", "v1", "DeleteOptions"), nullptr);
}

TEST_F(SchemaTest, FindsFieldsThroughInlinedStructs) {
  const Type* container = schema_->FindType("k8s.io.api.core.v1.Container");
  ASSERT_NE(container, nullptr);
  const Field* probe = container->Find("livenessProbe");
  ASSERT_NE(probe, nullptr);
  EXPECT_TRUE(probe->pointer);
  std::vector<const Field*> via;
  const Field* http = probe->type->Find("httpGet", &via);
  ASSERT_NE(http, nullptr);
  ASSERT_EQ(via.size(), 1u);
  EXPECT_EQ(via[0]->proto_name, "handler");
  EXPECT_EQ(container->Find("handler"), nullptr);
  const Field* ports = container->Find("ports");
  ASSERT_NE(ports, nullptr);
  EXPECT_EQ(ports->type->shape, Shape::kList);
  EXPECT_EQ(ports->list_type, ListType::kMap);
  EXPECT_EQ(ports->list_map_keys, (std::vector<std::string>{"containerPort", "protocol"}));
}

TEST_F(SchemaTest, EveryTypeIsCompleteAndEveryFieldFindsItself) {
  size_t fields = 0;
  for (std::string_view name : schema_->messages()) {
    const Type* type = schema_->FindType(name);
    ASSERT_NE(type->index, nullptr) << name;
    for (size_t i = 0; i < type->index->flat.size(); ++i) {
      const FlatField& f = type->index->flat[i];
      EXPECT_EQ(type->index->Find(f.field->name), static_cast<int>(i)) << name << "." << f.field->name;
      EXPECT_NE(f.type->index, nullptr) << name << "." << f.field->name;
      ++fields;
    }
    EXPECT_EQ(type->index->Find("noSuchField"), -1);
  }
  std::cout << schema_->messages().size() << " messages, " << fields << " fields, " << schema_->kinds().size()
            << " kinds\n";
}

TEST_F(SchemaTest, ZeroValuesShowWhatIsAlwaysPrinted) {
  EXPECT_EQ(schema_->FindType("k8s.io.api.core.v1.Pod")->index->zero_json,
            R"({"metadata":{},"spec":{"containers":null},"status":{}})");
}

}  // namespace
}  // namespace machinery::schema
