// Load on an API server, ours or another's, and what it costs: CPU of the server's and the store's process per request,
// from the kernel's clock of that process, so that the client's own cost does not count. One line per phase, a table or
// (--json) one JSON object each, for side_by_side.py.
//
//   apiserver_load --server https://127.0.0.1:6443 --ca ca.crt --cert admin.crt --key admin.key \
//       --pid $(pidof kube-apiserver) --store-pid $(pidof kvstore) --objects 5000 --clients 16 --watchers 1000
//
// Phases: create pods of about 1.4 KB (JSON), get each, list all (JSON and Protobuf, in pages of 500 and whole), watch
// with many watchers while pods are updated, delete all. HTTP/2, one connection per client.
#include <fmt/format.h>
#include <algorithm>
#include <cctype>
#include <cstdio>

#include "base/daemon.h"
#include "base/flags.h"
#include "base/net/client.h"
#include "tests/bench/process_usage.h"

namespace {

using base::Task;
using base::net::Client;
using base::net::ClientRequest;

struct Options {
  std::string server = "https://127.0.0.1:6443", ca, cert, key, namespace_name = "bench";
  int32_t pid = 0, store_pid = 0, objects = 5000, clients = 16, watchers = 1000, updates = 100, lists = 16;
  bool json = false;
};

using bench::CpuMicros;

double RssMiB(int pid) { return bench::RssBytes(pid) / 1048576.0; }

class Bench {
 public:
  Bench(base::Daemon& daemon, const Options& o, std::shared_ptr<base::net::ClientTls> tls) : daemon_(daemon), o_(o) {
    for (int i = 0; i < o.clients; ++i) {
      base::net::ClientOptions options;
      options.endpoints = {o.server};
      options.tls = tls;
      clients_.push_back(std::make_unique<Client>(daemon.loop(), options));
    }
  }

  Task<base::Status> Run() {
    CO_TRY(co_await Expect(*clients_[0], "POST", "/api/v1/namespaces",
                           R"({"apiVersion":"v1","kind":"Namespace","metadata":{"name":")" + o_.namespace_name + "\"}}",
                           {}, true));
    CO_TRY(co_await Expect(*clients_[0], "POST", Path("serviceaccounts"),
                           R"({"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"default"}})", {}, true));
    CO_TRY(co_await Phase("create", o_.objects,
                          [this](Client& c, int i) { return Expect(c, "POST", Path("pods"), Pod(i), {}); }));
    for (auto [word, media] : kForms)
      CO_TRY(co_await Phase(fmt::format("get {}", word), o_.objects, [this, media](Client& c, int i) {
        return Expect(c, "GET", Path("pods") + fmt::format("/pod-{}", i), "", std::string(media));
      }));
    unit_ = o_.objects;
    for (auto [word, media] : kForms) {
      CO_TRY(co_await Phase(fmt::format("listed pod {}", word), o_.lists, [this, media](Client& c, int i) {
        return Expect(c, "GET", Path("pods"), "", std::string(media));
      }));
      CO_TRY(co_await Phase(fmt::format("listed pod {} by 500", word), o_.lists,
                            [this, media](Client& c, int i) { return Pages(c, std::string(media)); }));
    }
    unit_ = 1;
    CO_TRY(co_await Watchers());
    CO_TRY(co_await Phase("delete", o_.objects, [this](Client& c, int i) {
      return Expect(c, "DELETE", Path("pods") + fmt::format("/pod-{}?gracePeriodSeconds=0", i), "", {});
    }));
    co_return base::Ok();
  }

 private:
  using Step = std::function<Task<base::Status>(Client&, int)>;

  std::string Path(std::string_view resource) const {
    return fmt::format("/api/v1/namespaces/{}/{}", o_.namespace_name, resource);
  }

  static constexpr std::pair<std::string_view, std::string_view> kForms[] = {
      {"json", "application/json"}, {"protobuf", "application/vnd.kubernetes.protobuf"}};

  static std::string Pod(int i) {
    std::string environment;
    for (int e = 0; e < 17; ++e)
      environment +=
          fmt::format("{}{{\"name\":\"VARIABLE_{}\",\"value\":\"value-{}-of-pod-{}\"}}", e ? "," : "", e, e, i);
    return fmt::format(
        R"({{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"pod-{}","labels":{{"app":"bench","group":"g{}"}}}},)"
        R"("spec":{{"containers":[{{"name":"main","image":"registry.example/app:1.2.3","args":["--flag-one","--flag-two"],)"
        R"("env":[{}],"resources":{{"requests":{{"cpu":"100m","memory":"128Mi"}}}}}}]}}}})",
        i, i % 50, environment);
  }

  // tidy: parameters: a request by its parts
  Task<base::Status> Expect(Client& client, std::string method, std::string path, std::string body, std::string accept,
                            bool exists_is_fine = false) {
    ClientRequest request;
    request.method = std::move(method);
    request.path = std::move(path);
    if (!body.empty()) {
      request.headers.Set("content-type",
                          request.method == "PATCH" ? "application/merge-patch+json" : "application/json");
      request.body = base::Share(std::move(body));
    }
    if (!accept.empty()) request.headers.Set("accept", accept);
    CO_TRY_ASSIGN(auto response, co_await client.Do(daemon_.context(), std::move(request)));
    CO_TRY_ASSIGN(last_, co_await response->ReadAll(daemon_.context(), size_t{1} << 30));
    bytes_ += last_.size();
    bool good = response->status() < 300 || (exists_is_fine && response->status() == 409);
    if (!good) co_return base::Unknown(fmt::format("HTTP {}: {}", response->status(), last_.substr(0, 300)));
    co_return base::Ok();
  }

  // Everything in pages of 500. The token is found by its look in either form: the list's metadata comes first, and the
  // token is base64 of a JSON object.
  Task<base::Status> Pages(Client& client, std::string media) {
    std::string token;
    do {
      CO_TRY(co_await Expect(client, "GET", Path("pods") + "?limit=500" + (token.empty() ? "" : "&continue=" + token),
                             "", media));
      std::string_view head = std::string_view(last_).substr(0, 400);
      size_t at = head.find("eyJ2"), end = at;
      while (end < head.size() &&
             (std::isalnum(static_cast<unsigned char>(head[end])) || head[end] == '-' || head[end] == '_'))
        ++end;
      token = at == head.npos ? "" : std::string(head.substr(at, end - at));
    } while (!token.empty());
    co_return base::Ok();
  }

  Task<void> Worker(int worker, int count, const Step& step, base::Status& error) {
    for (int i = worker; i < count && error.ok(); i += o_.clients) {
      base::Status status = co_await step(*clients_[static_cast<size_t>(worker)], i);
      if (!status.ok()) error = status;
    }
  }

  Task<base::Status> Phase(std::string name, int count, Step step) {
    bytes_ = 0;
    base::Status error;
    double cpu = CpuMicros(o_.pid), store_cpu = CpuMicros(o_.store_pid);
    auto start = daemon_.loop().Now();
    base::TaskScope scope(daemon_.loop(), daemon_.context());
    for (int w = 0; w < o_.clients; ++w) scope.Spawn(Worker(w, count, step, error));
    co_await scope.Join();
    CO_TRY(error.Annotate(name + ": "));
    Report(name, static_cast<double>(count) * unit_, start, cpu, store_cpu);
    co_return base::Ok();
  }

  void Report(const std::string& name, double operations, base::MonoTime start, double cpu, double store_cpu) {
    double seconds = std::chrono::duration<double>(daemon_.loop().Now() - start).count();
    double server = (CpuMicros(o_.pid) - cpu) / operations, store = (CpuMicros(o_.store_pid) - store_cpu) / operations;
    double per_second = operations / seconds, mebibytes = static_cast<double>(bytes_) / 1048576.0;
    if (o_.json)
      fmt::print(R"({{"phase":"{}","operations":{:.0f},"per_second":{:.1f},"server_us":{:.3f},"store_us":{:.3f},)"
                 R"("mib":{:.1f},"rss":{:.1f},"store_rss":{:.1f}}})"
                 "\n",
                 name, operations, per_second, server, store, mebibytes, RssMiB(o_.pid), RssMiB(o_.store_pid));
    else
      fmt::print(
          "{:<28} {:>9.0f} ops {:>10.0f} ops/s  server {:>8.2f} us/op  store {:>8.2f} us/op  {:>8.1f} MiB  rss {:.1f}"
          " + {:.1f} MiB\n",
          name, operations, per_second, server, store, mebibytes, RssMiB(o_.pid), RssMiB(o_.store_pid));
    std::fflush(stdout);
  }

  Task<void> Follow(Client& client, base::Context ctx, int& ready) {
    ClientRequest request;
    request.path = Path("pods") + "?watch=true&resourceVersion=" + revision_;
    auto response = co_await client.Do(ctx, std::move(request));
    if (!response) {
      fmt::print("watch: {}\n", response.error().ToString());
      co_return;
    }
    ++ready;
    for (;;) {
      auto piece = co_await (*response)->Read(ctx);
      if (!piece || piece->empty()) co_return;
      events_ += std::ranges::count(*piece, '\n');
      bytes_ += piece->size();
    }
  }

  Task<base::Status> Watchers() {
    if (o_.watchers == 0) co_return base::Ok();
    ClientRequest request;
    request.path = Path("pods") + "?limit=1";
    CO_TRY_ASSIGN(auto response, co_await clients_[0]->Do(daemon_.context(), std::move(request)));
    CO_TRY_ASSIGN(std::string text, co_await response->ReadAll(daemon_.context(), 1 << 20));
    size_t at = text.find("\"resourceVersion\":\"") + 19;
    revision_ = text.substr(at, text.find('"', at) - at);
    base::TaskScope scope(daemon_.loop(), daemon_.context());
    int ready = 0;
    events_ = 0;
    bytes_ = 0;
    for (int i = 0; i < o_.watchers; ++i)
      scope.Spawn(Follow(*clients_[static_cast<size_t>(i % o_.clients)], scope.context(), ready));
    while (ready < o_.watchers)
      CO_TRY(co_await base::Sleep(daemon_.loop(), daemon_.context(), std::chrono::milliseconds(20)));
    if (!o_.json) fmt::print("{} watchers are open, rss {:.1f} MiB\n", ready, RssMiB(o_.pid));
    double cpu = CpuMicros(o_.pid), store_cpu = CpuMicros(o_.store_pid);
    auto start = daemon_.loop().Now();
    for (int i = 0; i < o_.updates; ++i)
      CO_TRY(co_await Expect(*clients_[0], "PATCH", Path("pods") + fmt::format("/pod-{}", i),
                             R"({"metadata":{"labels":{"touched":"yes"}}})", {}));
    size_t wanted = static_cast<size_t>(o_.updates) * static_cast<size_t>(o_.watchers);
    for (int i = 0; i < 3000 && events_ < wanted; ++i)
      CO_TRY(co_await base::Sleep(daemon_.loop(), daemon_.context(), std::chrono::milliseconds(10)));
    if (events_ < wanted) co_return base::DeadlineExceeded(fmt::format("{} of {} events arrived", events_, wanted));
    Report("event to a watcher", static_cast<double>(wanted), start, cpu, store_cpu);
    co_await scope.CancelAndJoin();
    co_return base::Ok();
  }

  base::Daemon& daemon_;
  Options o_;
  std::vector<std::unique_ptr<Client>> clients_;
  double unit_ = 1;
  size_t bytes_ = 0, events_ = 0;
  std::string revision_, last_;
};

Task<base::Status> Serve(base::Daemon& daemon, Options o) {
  base::net::TlsFiles files;
  files.ca_file = o.ca;
  files.cert_file = o.cert;
  files.key_file = o.key;
  CO_TRY_ASSIGN(auto tls, base::net::ClientTls::FromFiles(files));
  Bench bench(daemon, o, tls);
  co_return co_await bench.Run();
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  base::FlagSet flags({.name = "apiserver_load",
                       .description = "Measures an API server under load.",
                       .version = "1",
                       .env_prefix = ""});
  flags.Add("server", &o.server, "URL.");
  flags.Add("ca", &o.ca, "CA file.");
  flags.Add("cert", &o.cert, "Client certificate.");
  flags.Add("key", &o.key, "Client key.");
  flags.Add("pid", &o.pid, "Process of the server.");
  flags.Add("store-pid", &o.store_pid, "Process of the store.");
  flags.Add("objects", &o.objects, "Pods.");
  flags.Add("clients", &o.clients, "Connections.");
  flags.Add("watchers", &o.watchers, "Watches; 0 leaves the phase out.");
  flags.Add("updates", &o.updates, "Updates while they watch.");
  flags.Add("lists", &o.lists, "How often everything is listed.");
  flags.Add("json", &o.json, "One JSON object per phase.");
  flags.Add("namespace", &o.namespace_name, "Where the pods go.");
  if (auto code = flags.ParseOrExitCode(argc, argv)) return *code;
  base::Daemon daemon;
  return daemon.Run([&](base::Daemon& d) { return Serve(d, o); });
}
