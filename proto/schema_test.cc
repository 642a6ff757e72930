#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>

#include <string>

#include "proto/options/options.pb.h"
#include "proto/schema_blob.h"
#include "tests/schema/legacy_schema_blob.h"

namespace proto {
namespace {

void Build(std::string_view blob, google::protobuf::DescriptorPool* pool) {
  google::protobuf::FileDescriptorSet set;
  ASSERT_TRUE(set.ParseFromArray(blob.data(), static_cast<int>(blob.size())));
  for (const auto& file : set.file()) ASSERT_NE(pool->BuildFile(file), nullptr) << file.name();
}

TEST(SchemaBlob, BuildsAndKeepsOptions) {
  google::protobuf::DescriptorPool pool;
  Build(SchemaBlob(), &pool);
  const auto* pod = pool.FindMessageTypeByName("k8s.io.api.core.v1.Pod");
  ASSERT_NE(pod, nullptr);
  EXPECT_EQ(pod->options().GetExtension(keelson::options::kind, 0).resource(), "pods");
  std::cout << "blob bytes " << SchemaBlob().size() << " legacy " << tests::LegacySchemaBlob().size() << "\n";
}

TEST(SchemaBlob, LegacyBuilds) {
  google::protobuf::DescriptorPool pool;
  Build(tests::LegacySchemaBlob(), &pool);
  EXPECT_NE(pool.FindMessageTypeByName("k8s.io.api.extensions.v1beta1.Ingress"), nullptr);
}

}  // namespace
}  // namespace proto
