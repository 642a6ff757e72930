#include "base/net/health.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/net/testing_peers.h"

namespace base::net {
namespace {

using ::testing::HasSubstr;

TEST(HealthEndpoints, AnswersAsTheOriginals) {
  Loop loop;
  MetricsRegistry metrics;
  metrics.AddCounter("seen_total", "Seen.").Get().Add();
  HealthEndpoints health(&metrics, "{\"major\": \"1\"}");
  Status etcd;
  health.Add("etcd", [&] { return etcd; }, HealthEndpoints::kHealthz | HealthEndpoints::kReadyz);
  Server server({&loop}, [&](Exchange& e) { return health.Serve(e); });
  std::string address = *server.Listen("127.0.0.1:0");
  RunTask(loop, [](Loop& loop, std::string address, Status& etcd) -> Task<void> {
    ClientOptions options;
    options.endpoints = {"http://" + address};
    Client client(loop, options);
    auto get = [](Client& client, std::string path) -> Task<std::string> {
      auto r = co_await client.Do(Context(), {.path = path});
      if (!r) co_return r.error().ToString();
      auto body = co_await (*r)->ReadAll(Context(), 1 << 20);
      co_return std::to_string((*r)->status()) + " " + body.value_or("?");
    };
    EXPECT_EQ(co_await get(client, "/healthz"), "200 ok");
    EXPECT_EQ(co_await get(client, "/healthz?verbose"),
              "200 [+]ping ok\n[+]log ok\n[+]etcd ok\nhealthz check passed\n");
    EXPECT_EQ(co_await get(client, "/healthz/etcd"), "200 ok");
    etcd = Unavailable("gone");
    EXPECT_EQ(co_await get(client, "/readyz"),
              "500 [+]ping ok\n[+]log ok\n[-]etcd failed: reason withheld\nreadyz check failed\n");
    EXPECT_EQ(co_await get(client, "/livez"), "200 ok");
    EXPECT_EQ(co_await get(client, "/livez/etcd"), "404 404 page not found\n");
    EXPECT_EQ(co_await get(client, "/healthz/etcd"), "500 internal server error: gone\n");
    EXPECT_EQ(
        co_await get(client, "/healthz?exclude=etcd&exclude=x&verbose=1"),
        "200 [+]ping ok\n[+]log ok\n[+]etcd excluded: ok\nwarn: some health checks cannot be excluded: no matches "
        "for \"x\"\nhealthz check passed\n");
    EXPECT_THAT(co_await get(client, "/metrics"), HasSubstr("seen_total 1\n"));
    EXPECT_EQ(co_await get(client, "/version"), "200 {\"major\": \"1\"}");
  }(loop, address, etcd));
  EXPECT_TRUE(health.Owns("/readyz/x"));
  EXPECT_FALSE(health.Owns("/healthzz"));
  EXPECT_FALSE(health.Owns("/api"));
  RunTask(loop, server.Stop(std::chrono::seconds(1)));
}

}  // namespace
}  // namespace base::net
