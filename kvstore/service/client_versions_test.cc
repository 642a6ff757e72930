#include "kvstore/service/client_versions.h"

#include <gtest/gtest.h>

namespace kvstore::service {
namespace {

TEST(ClientVersions, ThoseThatLookLikeOneAreThemselves) {
  ClientVersions versions;
  for (const char* good : {"3.7", "3.10", "3.7.1", "10.200.300"}) EXPECT_EQ(versions.Label(good), good);
  for (const char* bad :
       {"", "3", "3.", ".7", "3.7.", "3.7.1.2", "v3.7", "3.7-alpha", "3.x", " 3.7", "3.1234", "\xff"}) {
    EXPECT_EQ(versions.Label(bad), "other") << bad;
  }
}

TEST(ClientVersions, NoMoreThanSoManyEverAppear) {
  ClientVersions versions;
  std::set<std::string> labels;
  for (int i = 0; i < 1000; ++i) labels.insert(std::string(versions.Label("3." + std::to_string(i))));
  EXPECT_EQ(labels.size(), ClientVersions::kMost + 1);
  EXPECT_TRUE(labels.contains("other"));
  EXPECT_EQ(versions.Label("3.0"), "3.0") << "who was first stays";
  EXPECT_EQ(versions.Label("3.999"), "other");
}

}  // namespace
}  // namespace kvstore::service
