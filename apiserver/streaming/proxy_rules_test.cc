#include "apiserver/streaming/proxy_rules.h"

#include <gtest/gtest.h>

namespace apiserver::streaming {
namespace {

TEST(ProxyName, IsParsedNotAppended) {
  auto told = [](std::string_view text) {
    auto n = ParseProxyName(text);
    return n ? n->scheme + "|" + n->name + "|" + n->port : std::string("invalid");
  };
  EXPECT_EQ(told("n"), "|n|");
  EXPECT_EQ(told("n:80"), "|n|80");
  EXPECT_EQ(told("n:"), "|n|");
  EXPECT_EQ(told("https:n:443"), "https|n|443");
  EXPECT_EQ(told("http:n:"), "http|n|");
  EXPECT_EQ(told(":n:443"), "|n|443");
  for (const char* bad : {"", ":", ":80", "ftp:n:80", "https::443", "n:80:90", "a:b:c:d", "HTTPS:n:443"})
    EXPECT_EQ(told(bad), "invalid") << bad;
}

TEST(ProxyName, PortsAreNumbers) {
  EXPECT_EQ(ParsePort("65535"), 65535);
  for (const char* bad : {"", "0", "65536", "-1", "+80", "80x", " 80", "0x50", "80@127.0.0.1", "99999999999"})
    EXPECT_FALSE(ParsePort(bad)) << bad;
}

TEST(Proxy, StaysAwayFromThisMachineAndItsLink) {
  for (const char* good : {"10.0.0.1", "192.168.1.1", "8.8.8.8", "fd00::1", "2001:db8::1", "100.64.0.1"})
    EXPECT_TRUE(MayProxyTo(good)) << good;
  for (const char* bad :
       {"", "n", "127.0.0.1", "127.9.9.9", "0.0.0.0", "169.254.169.254", "224.0.0.1", "239.1.1.1", "255.255.255.255",
        "::", "::1", "fe80::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "127.0.0.1:80"})
    EXPECT_FALSE(MayProxyTo(bad)) << bad;
}

TEST(Proxy, PathsAreEscapedAnew) {
  EXPECT_EQ(EscapePath("/a/b.c-d_e~f"), "/a/b.c-d_e~f");
  EXPECT_EQ(EscapePath("/a b?c#d%e"), "/a%20b%3Fc%23d%25e");
  EXPECT_EQ(EscapePath("/\r\nX: 1"), "/%0D%0AX:%201");
  EXPECT_EQ(EscapePath("/$&+,;=@:"), "/$&+,;=@:");
  EXPECT_EQ(EscapePath("/\xc3\xa9[]"), "/%C3%A9%5B%5D");
}

}  // namespace
}  // namespace apiserver::streaming
