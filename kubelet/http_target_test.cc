// Users' words in HTTP requests: what is sent, what is refused, in which words.
#include "kubelet/http_target.h"

#include <gtest/gtest.h>

#include "base/net/server.h"
#include "kubelet/checks.h"

namespace kubelet::checks {
namespace {

std::string Target(const std::string& path) {
  auto r = MakeRequest({.host = "10.0.0.1", .port = 8080, .path = path});
  if (!r) return std::string(r.error().message());
  EXPECT_EQ(r->target.find_first_of(" \r\n\t"), std::string::npos) << path;
  return r->target;
}

std::string Header(const std::string& name, const std::string& value) {
  auto r = MakeRequest({.host = "10.0.0.1", .port = 8080, .path = "/", .headers = {{name, value}}});
  return r ? "sent" : std::string(r.error().message());
}

TEST(HttpTarget, PathsAsGoParsesThem) {
  EXPECT_EQ(Target(""), "/");
  EXPECT_EQ(Target("healthz"), "/healthz");
  EXPECT_EQ(Target("/healthz?full=1&x=%20"), "/healthz?full=1&x=%20");
  EXPECT_EQ(Target("/a#fragment"), "/a");
  EXPECT_EQ(Target("/a%2Fb"), "/a%2Fb");
  EXPECT_EQ(Target("/a b"), "/a%20b");
  EXPECT_EQ(Target("/a?b c"), "/a?b%20c");
  EXPECT_EQ(Target("/\xc3\xbc"), "/%C3%BC");
  EXPECT_EQ(Target("/%zz?x"), "/%25zz%3Fx") << "what cannot be parsed is all path";
  EXPECT_EQ(Target("http://elsewhere/x"), "/x") << "never another host";
  EXPECT_EQ(Target("//elsewhere/x"), "/x");
  EXPECT_EQ(MakeRequest({.host = "10.0.0.1", .port = 80, .path = "//elsewhere/x"})->endpoint, "http://10.0.0.1:80");
}

TEST(HttpTarget, NoSecondRequest) {
  EXPECT_EQ(Target("/x HTTP/1.1\r\nHost: a\r\n\r\nGET /y"), "/x%20HTTP/1.1%0D%0AHost:%20a%0D%0A%0D%0AGET%20/y");
  EXPECT_EQ(Target("/x?q\nEVIL: 1"), "/x%3Fq%0AEVIL:%201");
  EXPECT_EQ(Target(std::string("/x\0y", 4)), "/x%00y");
  const std::string get = "Get \"http://10.0.0.1:8080/\": net/http: ";
  EXPECT_EQ(Header("X-A", "b"), "sent");
  EXPECT_EQ(Header("X-A", "b\tc"), "sent");
  EXPECT_EQ(Header("x-a", "b\r\nX-Evil: 1"), get + "invalid header field value for \"X-A\"");
  EXPECT_EQ(Header("X-A", "b\n\nSET x 1"), get + "invalid header field value for \"X-A\"");
  EXPECT_EQ(Header("Host", "a\r\nX: 1"), get + "invalid header field value for \"Host\"");
  EXPECT_EQ(Header("User-Agent", "a\r\nX: 1"), get + "invalid header field value for \"User-Agent\"");
  EXPECT_EQ(Header("X A", "b"), get + "invalid header field name \"X A\"");
  EXPECT_EQ(Header("X-A: 1\r\nX-B", "b"), get + "invalid header field name \"X-A: 1\\r\\nX-B\"");
  EXPECT_EQ(Header("", "b"), get + "invalid header field name \"\"");
  for (const char* host : {"a b", "a\r\nX: 1", "a/b", "a?b", "a@b", "a\\b"}) {
    auto r = MakeRequest({.host = host, .port = 80, .path = "/"});
    ASSERT_FALSE(r) << host;
    EXPECT_EQ(r.error().code(), base::Code::kInvalidArgument);
    EXPECT_NE(r.error().message().find("in host name"), std::string::npos) << r.error().message();
  }
}

TEST(HttpTarget, HeadersThatFrameAreOurs) {
  auto r = MakeRequest({.host = "10.0.0.1",
                        .port = 80,
                        .path = "/",
                        .headers = {{"Content-Length", "5"},
                                    {"Transfer-Encoding", "chunked"},
                                    {"Connection", "keep-alive"},
                                    {"Host", "web.example"},
                                    {"Accept", ""},
                                    {"X-A", "1"},
                                    {"x-a", "2"}}});
  ASSERT_TRUE(r);
  for (const char* ours : {"content-length", "transfer-encoding", "accept"}) EXPECT_FALSE(r->headers.Has(ours)) << ours;
  EXPECT_EQ(r->headers.Get("connection"), "close");
  EXPECT_EQ(r->headers.Get("host"), "web.example");
  EXPECT_EQ(r->headers.Get("user-agent"), "kube-probe/1.36");
  EXPECT_EQ(r->headers.GetAll("x-a").size(), 2u);
}

TEST(HttpTarget, Redirects) {
  HttpTarget from{.host = "10.0.0.1", .port = 8080, .path = "/a/b?q"};
  auto to = [&](const std::string& location) {
    auto next = Redirected(from, *MakeRequest(from), location);
    return next ? MakeRequest(*next)->url : "elsewhere";
  };
  EXPECT_EQ(to("/login"), "http://10.0.0.1:8080/login");
  EXPECT_EQ(to("c"), "http://10.0.0.1:8080/a/c");
  EXPECT_EQ(to("https://10.0.0.1/x"), "https://10.0.0.1:443/x");
  EXPECT_EQ(to("http://10.0.0.1:81"), "http://10.0.0.1:81/");
  for (const char* other :
       {"http://10.0.0.2/", "//evil/", "ftp://10.0.0.1/", "", "http://10.0.0.1:0/", "http://10.0.0.1:x/"})
    EXPECT_EQ(to(other), "elsewhere") << other;
}

TEST(HttpTarget, Ports) {
  api::Container c;
  auto* p = c.add_ports();
  p->set_name("web");
  p->set_containerport(8080);
  k8s::io::apimachinery::pkg::util::intstr::IntOrString port;
  port.set_type(1);
  port.set_strval("web");
  EXPECT_EQ(*PortOf(port, c), 8080);
  port.set_strval("81");
  EXPECT_EQ(*PortOf(port, c), 81);
  port.set_strval("none");
  EXPECT_EQ(PortOf(port, c).error().message(), "strconv.Atoi: parsing \"none\": invalid syntax");
  port.set_type(0);
  port.set_intval(0);
  EXPECT_EQ(PortOf(port, c).error().message(), "invalid port number: 0");
}

TEST(Checks, HealthMessages) {
  EXPECT_EQ(HealthRequest(""), "");
  EXPECT_EQ(HealthRequest("a\r\n"),
            "\x0a\x03"
            "a\r\n");
  std::string longer = HealthRequest(std::string(300, 'x'));
  EXPECT_EQ(longer.substr(0, 3), "\x0a\xac\x02");
  EXPECT_EQ(longer.size(), 303u);
  EXPECT_EQ(HealthStatus(""), "UNKNOWN");
  EXPECT_EQ(HealthStatus("\x08\x01"), "SERVING");
  EXPECT_EQ(HealthStatus("\x08\x02"), "NOT_SERVING");
  EXPECT_EQ(HealthStatus("\x08\x63"), "99");
}

// Against real sockets: what events say.
class ChecksTest : public testing::Test {
 protected:
  Outcome Run(std::function<base::Task<Outcome>()> check) {
    Outcome out;
    base::Spawn(
        loop_, [](auto f, Outcome& o) -> base::Task<void> { o = co_await f(); }(std::move(check), out),
        [this] { loop_.Stop(); });
    loop_.Run();
    return out;
  }
  static int PortIn(const std::string& address) { return std::stoi(address.substr(address.rfind(':') + 1)); }
  Outcome Get(int port, std::string path = "/", base::Duration timeout = std::chrono::seconds(1)) {
    return Run([this, port, path, timeout] {
      return network_->HttpGet(base::Context(), {.host = "127.0.0.1", .port = port, .path = path}, timeout);
    });
  }
  base::Loop loop_;
  std::unique_ptr<Network> network_ = NewNetwork(loop_);
};

TEST_F(ChecksTest, Refused) {
  // A port that was free a moment ago.
  int port;
  {
    base::net::Server server({&loop_},
                             [](base::net::Exchange& e) -> base::Task<void> { (void)co_await e.Respond(200, {}, ""); });
    port = PortIn(*server.Listen("127.0.0.1:0"));
  }
  std::string dial = "dial tcp 127.0.0.1:" + std::to_string(port) + ": connect: connection refused";
  Outcome o = Get(port);
  EXPECT_EQ(o.verdict, Verdict::kFailure);
  EXPECT_EQ(o.output, "Get \"http://127.0.0.1:" + std::to_string(port) + "/\": " + dial);
  o = Run([this, port] { return network_->TcpConnect(base::Context(), "127.0.0.1", port, std::chrono::seconds(1)); });
  EXPECT_EQ(o.output, dial);
  o = Run(
      [this, port] { return network_->GrpcHealth(base::Context(), "127.0.0.1", port, "", std::chrono::seconds(1)); });
  EXPECT_EQ(o.output, "timeout: failed to connect service \"127.0.0.1:" + std::to_string(port) +
                          "\" within 1s: context deadline exceeded");
}

TEST_F(ChecksTest, Answers) {
  base::net::Server server({&loop_}, [this](base::net::Exchange& e) -> base::Task<void> {
    std::string path(e.path());
    if (path == "/slow") (void)co_await base::Sleep(loop_, e.context(), std::chrono::seconds(5));
    base::net::Headers headers;
    if (path == "/local") headers.Add("location", "/fine");
    if (path == "/away") headers.Add("location", "http://192.0.2.9/");
    if (path == "/loop") headers.Add("location", "/loop");
    int code = path == "/bad" ? 500 : headers.Has("location") ? 302 : 200;
    (void)co_await e.Respond(code, std::move(headers), "body of " + path);
  });
  int port = PortIn(*server.Listen("127.0.0.1:0"));
  std::string url = "http://127.0.0.1:" + std::to_string(port);
  EXPECT_EQ(Get(port, "/fine").output, "body of /fine");
  EXPECT_EQ(Get(port, "/bad").output, "HTTP probe failed with statuscode: 500");
  EXPECT_EQ(Get(port, "/local").output, "body of /fine");
  EXPECT_EQ(Get(port, "/loop").verdict, Verdict::kFailure);
  Outcome o = Get(port, "/away");
  EXPECT_TRUE(o.verdict == Verdict::kSuccess && o.warning);
  EXPECT_EQ(o.output, "Probe terminated redirects, Response body: body of /away");
  EXPECT_EQ(Get(port, "/slow", std::chrono::milliseconds(200)).output,
            "Get \"" + url + "/slow\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)");
  o = Run([this, port] {
    return network_->HttpGet(base::Context(), {.host = "127.0.0.1", .port = port, .path = "/bad"},
                             std::chrono::seconds(1), Judge::kAnswer);
  });
  EXPECT_EQ(o.verdict, Verdict::kSuccess) << "a hook is content with any answer";
  o = Run(
      [this, port] { return network_->GrpcHealth(base::Context(), "127.0.0.1", port, "", std::chrono::seconds(1)); });
  EXPECT_EQ(o.verdict, Verdict::kFailure);
}

}  // namespace
}  // namespace kubelet::checks
