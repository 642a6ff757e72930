#include "base/net/health.h"

#include <gtest/gtest.h>

namespace base::net {
namespace {

TEST(Health, AnswersAsTheOriginalDoes) {
  Loop loop;
  HealthServer health(loop, {.name = "kube-proxy"});
  bool synced = false;
  health.AddCheck("informer-sync", [&] { return synced ? Ok() : Unavailable("not yet"); }, true);
  EXPECT_EQ(health.Evaluate("/healthz", ""), std::pair(200, std::string("ok")));
  EXPECT_EQ(health.Evaluate("/livez", "verbose"), std::pair(200, std::string("[+]ping ok\nlivez check passed\n")));
  EXPECT_EQ(health.Evaluate("/readyz", ""),
            std::pair(500, std::string("[+]ping ok\n[-]informer-sync failed: reason withheld\nreadyz check failed\n")));
  EXPECT_EQ(health.Evaluate("/readyz", "exclude=informer-sync").first, 200);
  EXPECT_EQ(health.Evaluate("/readyz/ping", ""), std::pair(200, std::string("ok")));
  EXPECT_EQ(health.Evaluate("/healthz/nosuch", "").first, 404);
  synced = true;
  EXPECT_EQ(health.Evaluate("/readyz", "verbose"),
            std::pair(200, std::string("[+]ping ok\n[+]informer-sync ok\nreadyz check passed\n")));
}

}  // namespace
}  // namespace base::net
