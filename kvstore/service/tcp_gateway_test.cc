#include "kvstore/service/tcp_gateway.h"

#include <gtest/gtest.h>

#include <map>

namespace kvstore::service {
namespace {

TEST(TcpGateway, EndpointsAreHostsAndPorts) {
  for (const char* text : {"10.0.0.1:2379", "http://10.0.0.1:2379", "https://10.0.0.1:2379/"}) {
    auto r = ParseEndpoint(text);
    ASSERT_TRUE(r.has_value()) << text;
    EXPECT_EQ(EndpointChoice({*r}).Address(0), "10.0.0.1:2379");
  }
  EXPECT_EQ(EndpointChoice({*ParseEndpoint("[::1]:5")}).Address(0), "[::1]:5");
  EXPECT_EQ(EndpointChoice({{.target = "a.example.com.", .port = 7}}).Address(0), "a.example.com:7");
  for (const char* text : {"", "host", ":2379", "host:", "host:x", "host:70000", "host:1x"}) {
    EXPECT_FALSE(ParseEndpoint(text).has_value()) << text;
  }
}

TEST(TcpGateway, TakesTurnsAmongThoseThatAreThere) {
  EndpointChoice c({{.target = "a", .port = 1}, {.target = "b", .port = 1}, {.target = "c", .port = 1}});
  base::Random random(1);
  std::map<size_t, int> chosen;
  for (int i = 0; i < 30; ++i) ++chosen[c.Pick(random)];
  EXPECT_EQ(chosen, (std::map<size_t, int>{{0, 10}, {1, 10}, {2, 10}}));
  c.SetActive(1, false);
  for (int i = 0; i < 10; ++i) EXPECT_NE(c.Pick(random), 1u);
  c.SetActive(0, false);
  c.SetActive(2, false);
  EXPECT_EQ(c.Pick(random), c.size());
}

TEST(TcpGateway, PrioritiesAndWeights) {
  EndpointChoice c({{.target = "far", .port = 1, .priority = 20, .weight = 9},
                    {.target = "light", .port = 1, .priority = 10, .weight = 1},
                    {.target = "heavy", .port = 1, .priority = 10, .weight = 3},
                    {.target = "rare", .port = 1, .priority = 10}});
  base::Random random(1);
  std::map<size_t, int> chosen;
  for (int i = 0; i < 4000; ++i) ++chosen[c.Pick(random)];
  EXPECT_FALSE(chosen.contains(0));
  EXPECT_NEAR(chosen[1], 990, 150);
  EXPECT_NEAR(chosen[2], 2970, 150);
  EXPECT_NEAR(chosen[3], 40, 30);
  for (size_t i : {1, 2, 3}) c.SetActive(i, false);
  EXPECT_EQ(c.Pick(random), 0u);
}

}  // namespace
}  // namespace kvstore::service
