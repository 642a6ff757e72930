// Every kind of request through one server: which steps saw it, in which order, with what they knew by then.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "apiserver/chain/rest.h"
#include "apiserver/plane/control_plane.h"
#include "apiserver/rpc/resources_service.h"
#include "apiserver/storage/memory.h"
#include "base/net/testing_peers.h"
#include "base/sync.h"
#include "machinery/client/connection.h"
#include "machinery/object/go_text.h"

namespace apiserver {
namespace {

using base::net::ClientRequest;
using base::net::Headers;
using chain::Scope;
using machinery::request::Request;
using machinery::request::Verb;
using ::testing::HasSubstr;
using Names = std::vector<std::string>;

// Who calls is what the header x-user or a bearer token says, with that group; nobody without them.
class ByHeader final : public auth::Authenticator {
 public:
  base::Task<base::Result<std::optional<machinery::request::Identity>>> Authenticate(
      base::Context, const auth::Credentials& credentials) override {
    std::string name(credentials.headers->Get("x-user"));
    constexpr std::string_view kBearer = "Bearer ";
    std::string_view token = credentials.headers->Get("authorization");
    if (token.starts_with(kBearer)) name = token.substr(kBearer.size());
    if (name.empty()) co_return std::nullopt;
    co_return machinery::request::Identity{.name = name, .groups = {"system:authenticated"}};
  }
};

// Notes every question; strangers may do nothing.
class Notes final : public auth::Authorizer {
 public:
  auth::Verdict Authorize(const auth::Attributes& a) override {
    asked.push_back(a.resource.empty() ? a.verb + " " + a.path
                                       : a.verb + " " + a.group + "/" + a.version + "/" + a.resource +
                                             (a.subresource.empty() ? "" : "/" + a.subresource) + " " +
                                             a.namespace_name + "/" + a.name);
    return {a.identity.name == "stranger" ? auth::Decision::kDeny : auth::Decision::kAllow, ""};
  }
  Names asked;
};

struct Answer {
  int code = 0;
  Headers headers;
  std::string body;
};

class StepsTest : public ::testing::Test {
 protected:
  void Start(chain::Manners manners = {}) {
    CoreOptions options;
    options.manners = std::move(manners);
    ControlPlaneOptions plane;
    plane.authorization_modes = {"AlwaysAllow"};
    plane.service_cluster_ip_range = "10.96.0.0/16";
    plane.advertise_address = "192.0.2.10";
    plane.anonymous_auth = false;
    auto made = ControlPlane::Make(std::move(plane));
    ASSERT_TRUE(made.has_value()) << made.error().ToString();
    plane_ = std::move(*made);
    core_ = std::make_unique<Core>(loop_, storage_, base::Random(7), std::move(options), [&](auto& registry) {
      (void)plane_->Connect(registry, &metrics_);
      return Wiring{&authenticator_, &notes_, &metrics_};
    });
    front_ = std::make_unique<chain::RestFront>(core_->chain());
    plane_->MountOn(*front_);
    ASSERT_TRUE(plane_->MountStreaming(loop_, *front_, {}).ok());
    rpc::AddResources(grpc_, core_->chain());
    server_ = std::make_unique<base::net::Server>(std::vector<base::Loop*>{&loop_}, [this](base::net::Exchange& e) {
      return base::net::GrpcService::Accepts(e) ? grpc_.Serve(e) : front_->Serve(e);
    });
    address_ = "http://" + *server_->Listen("127.0.0.1:0");
    scope_ = std::make_unique<base::TaskScope>(loop_, base::Context());
    scope_->Spawn(core_->Run(scope_->context()));
    Run([](StepsTest* t) -> base::Task<void> { (void)co_await t->core_->WaitReady(base::Context()); }(this));
    core_->chain().state().observer = [this](std::string_view step, const Scope& scope) {
      steps_.emplace_back(step);
      peers_.insert(scope.in.peer ? scope.in.peer->address : "");
    };
  }
  void TearDown() override {
    if (!server_) return;
    Run([](StepsTest* t) -> base::Task<void> {
      co_await t->server_->Stop(std::chrono::seconds(1));
      co_await t->scope_->CancelAndJoin();
    }(this));
    EXPECT_EQ(core_->chain().state().reading + core_->chain().state().mutating, 0u) << "a seat was not given back";
    EXPECT_EQ(core_->chain().state().under_way, 0u);
  }
  void Run(base::Task<void> task) { base::net::RunTask(loop_, std::move(task)); }

  base::net::ClientOptions Options(bool http2 = false) {
    base::net::ClientOptions o;
    o.endpoints = {address_};
    o.http2_prior_knowledge = http2;
    o.force_http1 = !http2;
    return o;
  }
  // One request on a connection of its own; the steps that saw it are in steps_.
  Answer Ask(std::string method, std::string path, std::string body = "", Headers headers = {}, bool http2 = false) {
    steps_.clear();
    notes_.asked.clear();
    if (!headers.Has("x-user")) headers.Add("x-user", "alice");
    if (headers.Get("x-user") == "nobody") headers.Remove("x-user");
    ClientRequest request{std::move(method), std::move(path), std::move(headers), nullptr};
    if (!body.empty()) request.headers.Add("content-type", "application/json");
    if (!body.empty()) request.body = base::Share(std::move(body));
    Answer out;
    base::net::Client client(loop_, Options(http2));
    Run([](base::net::Client& client, ClientRequest request, Answer& out) -> base::Task<void> {
      auto response = co_await client.Do(base::Context(), std::move(request));
      EXPECT_TRUE(response.has_value()) << response.error().ToString();
      if (!response) co_return;
      out.code = (*response)->status();
      out.headers = (*response)->headers();
      auto text = co_await (*response)->ReadAll(base::Context(), 1 << 20);
      if (text) out.body = *text;
    }(client, std::move(request), out));
    return out;
  }

  base::Loop loop_;
  base::MetricsRegistry metrics_;
  storage::MemoryStorage storage_{loop_};
  ByHeader authenticator_;
  Notes notes_;
  std::unique_ptr<ControlPlane> plane_;
  std::unique_ptr<Core> core_;
  std::unique_ptr<chain::RestFront> front_;
  base::net::GrpcService grpc_;
  std::unique_ptr<base::net::Server> server_;
  std::unique_ptr<base::TaskScope> scope_;
  std::string address_;
  Names steps_;
  std::set<std::string> peers_;  // who was seen
};

Names RestSteps() {
  return {"AuditInit",
          "RequestReceivedTimestamp",
          "RequestInfo",
          "LatencyTrackers",
          "RetryAfter",
          "HSTS",
          "CacheControl",
          "ProbabilisticGoaway",
          "WatchTerminationDuringShutdown",
          "WaitGroup",
          "RequestDeadline",
          "CORS",
          "Authentication",
          "Impersonation",
          "MaxInFlightLimit",
          "Authorization"};
}
Names Until(std::string_view last) {
  Names all = RestSteps();
  all.resize(static_cast<size_t>(std::ranges::find(all, last) - all.begin()) + 1);
  return all;
}

TEST_F(StepsTest, EveryRestRequestGoesThroughAllOfThemAndIsAskedForOnce) {
  Start();
  constexpr const char* kMap = R"({"metadata":{"name":"m"},"data":{"a":"b"}})";
  constexpr const char* kMaps = "/api/v1/namespaces/default/configmaps";
  struct Case {
    const char *method, *path, *body, *asked;
    int code;
  };
  const Case cases[] = {
      {"POST", "/api/v1/namespaces", R"({"metadata":{"name":"default"}})", "create /v1/namespaces /", 201},
      {"POST", kMaps, kMap, "create /v1/configmaps default/", 201},
      {"GET", "/api/v1/namespaces/default/configmaps/m", "", "get /v1/configmaps default/m", 200},
      {"GET", kMaps, "", "list /v1/configmaps default/", 200},
      {"GET", "/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=1", "", "watch /v1/configmaps default/",
       200},
      {"PUT", "/api/v1/namespaces/default/configmaps/m", kMap, "update /v1/configmaps default/m", 200},
      {"DELETE", "/api/v1/namespaces/default/configmaps/m", "", "delete /v1/configmaps default/m", 200},
      {"DELETE", kMaps, "", "deletecollection /v1/configmaps default/", 200},
      {"POST", "/api/v1/namespaces/default/pods/p/exec?command=ls", "", "create /v1/pods/exec default/p", 404},
      {"GET", "/api/v1/namespaces/default/pods/p/log", "", "get /v1/pods/log default/p", 404},
      {"GET", "/api/v1/nodes/n/proxy/metrics", "", "get /v1/nodes/proxy /n", 404},
      {"GET", "/apis/no.such/v1/things", "", "list no.such/v1/things /", 404},
      {"GET", "/api", "", "get /api", 200},
      {"GET", "/apis/apps/v1", "", "get /apis/apps/v1", 200},
      {"GET", "/version", "", "get /version", 200},
      {"GET", "/livez/ping", "", "get /livez/ping", 200},
      {"GET", "/openapi/v3", "", "get /openapi/v3", 200},
      {"POST", "/no/such/page", "", "post /no/such/page", 404},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(std::string(c.method) + " " + c.path);
    Answer answer = Ask(c.method, c.path, c.body);
    EXPECT_EQ(answer.code, c.code) << answer.body;
    EXPECT_EQ(steps_, RestSteps());
    EXPECT_THAT(notes_.asked, ::testing::Contains(c.asked));
    EXPECT_EQ(notes_.asked.front(), c.asked);
    EXPECT_FALSE(answer.headers.Get("audit-id").empty());
    EXPECT_EQ(answer.headers.Get("cache-control"), "no-cache, private");
  }
}

TEST_F(StepsTest, WhoIsRefusedGoesNoFurther) {
  Start();
  Headers nobody, stranger, posing;
  nobody.Add("x-user", "nobody");
  stranger.Add("x-user", "stranger");
  posing.Add("x-user", "stranger");
  posing.Add("impersonate-user", "alice");
  constexpr const char* kPath = "/api/v1/namespaces/default/pods/p/log";
  EXPECT_EQ(Ask("GET", kPath, "", nobody).code, 401);
  EXPECT_EQ(steps_, Until("Authentication"));
  EXPECT_EQ(Ask("GET", kPath, "", stranger).code, 403);
  EXPECT_EQ(steps_, RestSteps());
  EXPECT_EQ(Ask("GET", kPath, "", posing).code, 403);
  EXPECT_EQ(steps_, Until("Impersonation"));
  Answer late = Ask("GET", "/api/v1/pods?timeout=soon");
  EXPECT_EQ(late.code, 400);
  EXPECT_EQ(steps_, Until("RequestDeadline"));
  EXPECT_THAT(late.body, HasSubstr("invalid timeout specified in the request URL"));
}

TEST_F(StepsTest, MessagesAreReadBetweenTheStagesAndAskTheSame) {
  Start();
  auto connection = machinery::client::Connect(loop_, Options(true), [] { return "alice"; });
  auto run = [&](Verb verb) {
    steps_.clear();
    notes_.asked.clear();
    Request request;
    request.verb = verb;
    request.version = "v1";
    request.resource = "configmaps";
    request.namespace_name = "default";
    request.options.timeout_seconds = 1;
    Run([](auto& transport, Request request) -> base::Task<void> {
      if (request.verb == Verb::kWatch) {
        auto stream = co_await transport.Watch(base::Context(), std::move(request));
        EXPECT_TRUE(stream.has_value()) << stream.error().ToString();
        while (stream) {
          auto event = co_await (*stream)->Next(base::Context());
          if (!event || !*event) co_return;
        }
      } else {
        auto answer = co_await transport.Do(base::Context(), std::move(request));
        EXPECT_TRUE(answer.has_value()) << answer.error().ToString();
      }
    }(connection->transport(), std::move(request)));
  };
  const Names expected = {
      "RequestReceivedTimestamp",       "LatencyTrackers", "Authentication",  "Impersonation",    "RequestInfo",
      "WatchTerminationDuringShutdown", "WaitGroup",       "RequestDeadline", "MaxInFlightLimit", "Authorization"};
  run(Verb::kList);
  EXPECT_EQ(steps_, expected);
  EXPECT_EQ(notes_.asked, Names{"list /v1/configmaps default/"});
  run(Verb::kWatch);
  EXPECT_EQ(steps_, expected);
  EXPECT_EQ(notes_.asked, Names{"watch /v1/configmaps default/"});
}

TEST_F(StepsTest, CallersInTheProcessHaveTheStepsBehindTheWire) {
  Start();
  auto transport = InProcessTransport(*core_, {.name = "alice", .groups = {"system:authenticated"}});
  steps_.clear();
  Run([](auto& transport) -> base::Task<void> {
    Request request;
    request.verb = Verb::kList;
    request.version = "v1";
    request.resource = "configmaps";
    auto answer = co_await transport.Do(base::Context(), std::move(request));
    EXPECT_TRUE(answer.has_value()) << answer.error().ToString();
  }(*transport));
  EXPECT_EQ(steps_, (Names{"RequestReceivedTimestamp", "LatencyTrackers", "RequestInfo", "WaitGroup", "RequestDeadline",
                           "MaxInFlightLimit", "Authorization"}));
}

TEST_F(StepsTest, MannersTowardsBrowsersAndBalancers) {
  Start({.cors_allowed_origins = {"//www\\.example\\.com$"},
         .strict_transport_security_directives = {"max-age=31536000", "includeSubDomains"},
         .goaway_chance = 1});
  Headers browser, foreign;
  browser.Add("origin", "https://www.example.com");
  browser.Add("x-user", "nobody");
  foreign.Add("origin", "https://www.example.com.evil.org");
  foreign.Add("x-user", "nobody");
  Answer preflight = Ask("OPTIONS", "/api/v1/pods", "", browser);
  EXPECT_EQ(preflight.code, 204);
  EXPECT_EQ(steps_, Until("CORS"));
  EXPECT_EQ(preflight.headers.Get("access-control-allow-origin"), "https://www.example.com");
  EXPECT_EQ(preflight.headers.Get("access-control-allow-credentials"), "true");
  EXPECT_EQ(preflight.headers.Get("strict-transport-security"), "max-age=31536000; includeSubDomains");
  Answer other = Ask("OPTIONS", "/api/v1/pods", "", foreign);
  EXPECT_EQ(other.code, 401);
  EXPECT_FALSE(other.headers.Has("access-control-allow-origin"));
  // HTTP/2 hears of it by GOAWAY; HTTP/1.1 clients are left alone.
  EXPECT_EQ(Ask("GET", "/version", "", {}, true).code, 200);
  EXPECT_FALSE(Ask("GET", "/version").headers.Has("connection"));
}

TEST_F(StepsTest, AGoawayMovesTheClientAndLosesNothing) {
  Start({.goaway_chance = 1});
  base::net::Client client(loop_, Options(true));
  Run([](base::net::Client& client) -> base::Task<void> {
    for (int i = 0; i < 5; ++i) {
      ClientRequest request{.path = "/version"};
      request.headers.Add("x-user", "alice");
      auto response = co_await client.Do(base::Context(), std::move(request));
      EXPECT_TRUE(response.has_value()) << response.error().ToString();
      if (!response) co_return;
      EXPECT_EQ((*response)->status(), 200);
      EXPECT_FALSE((*response)->headers().Has("connection"));
      auto body = co_await (*response)->ReadAll(base::Context(), 1 << 20);
      EXPECT_TRUE(body.has_value());
    }
  }(client));
  EXPECT_EQ(peers_.size(), 5u) << "each request came on a connection of its own";
}

TEST_F(StepsTest, AServerThatShutsDownSendsNewRequestsElsewhere) {
  Start();
  core_->chain().state().shutting_down = true;
  Answer answer = Ask("GET", "/api/v1/pods");
  EXPECT_EQ(answer.code, 429);
  EXPECT_EQ(answer.headers.Get("retry-after"), "5");
  EXPECT_EQ(answer.headers.Get("connection"), "close");
  EXPECT_EQ(answer.body, "The apiserver is shutting down, please try again later.\n");
  EXPECT_EQ(steps_, Until("RetryAfter"));
  EXPECT_EQ(Ask("GET", "/livez/ping").code, 200) << "probes are served to the end";
  core_->chain().state().shutting_down = false;
}

TEST_F(StepsTest, AWatchThatShutdownEndsEndsWell) {
  Start();
  base::net::Client client(loop_, Options());
  Run([](chain::StepState& state, base::net::Client& client) -> base::Task<void> {
    ClientRequest request{.path = "/api/v1/namespaces?watch=1"};
    request.headers.Add("x-user", "alice");
    auto response = co_await client.Do(base::Context(), std::move(request));
    EXPECT_TRUE(response.has_value()) << response.error().ToString();
    if (!response) co_return;
    auto& watches = state.watches;
    EXPECT_EQ(watches.size(), 1u);
    (*watches.begin())->context.Cancel();
    auto rest = co_await (*response)->ReadAll(base::Context(), 1 << 20);
    EXPECT_TRUE(rest.has_value()) << rest.error().ToString();
    EXPECT_TRUE(watches.empty());
  }(core_->chain().state(), client));
}

TEST_F(StepsTest, AnswersAreCountedWithTheWordsOfTheOriginal) {
  Start();
  (void)Ask("POST", "/api/v1/namespaces", R"({"metadata":{"name":"n"}})");
  (void)Ask("PUT", "/api/v1/namespaces/n?dryRun=All", R"({"metadata":{"name":"n"}})");
  (void)Ask("GET", "/api/v1/namespaces?watch=1&timeoutSeconds=1");
  (void)Ask("GET", "/api/v1/namespaces/default/pods/p/log");
  (void)Ask("GET", "/apis/made.up/v1/words");
  std::string text = metrics_.ToText();
  auto line = [](std::string code, std::string dry, std::string resource, std::string scope, std::string sub,
                 std::string verb, std::string version) {
    return "apiserver_request_total{code=\"" + code + "\",component=\"apiserver\",dry_run=\"" + dry +
           "\",group=\"\",resource=\"" + resource + "\",scope=\"" + scope + "\",subresource=\"" + sub + "\",verb=\"" +
           verb + "\",version=\"" + version + "\"} 1\n";
  };
  EXPECT_THAT(text, HasSubstr(line("201", "", "namespaces", "resource", "", "POST", "v1")));
  EXPECT_THAT(text, HasSubstr(line("200", "All", "namespaces", "resource", "", "PUT", "v1")));
  EXPECT_THAT(text, HasSubstr(line("200", "", "namespaces", "cluster", "", "WATCH", "v1")));
  EXPECT_THAT(text, HasSubstr(line("404", "", "pods", "resource", "log", "CONNECT", "v1")));
  EXPECT_THAT(text, HasSubstr(line("404", "", "", "cluster", "", "LIST", "")));
  EXPECT_THAT(text, HasSubstr("apiserver_request_duration_seconds_count{"));
  EXPECT_THAT(text, ::testing::Not(HasSubstr("made.up")));
}

}  // namespace
}  // namespace apiserver
