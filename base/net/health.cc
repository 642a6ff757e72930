#include "base/net/health.h"

#include <algorithm>
#include <set>

#include "base/json_writer.h"
#include "base/log.h"

namespace base::net {
namespace {

struct GroupPath {
  std::string_view path;
  HealthEndpoints::Group group;
};
constexpr GroupPath kGroups[] = {{"/healthz", HealthEndpoints::kHealthz},
                                 {"/livez", HealthEndpoints::kLivez},
                                 {"/readyz", HealthEndpoints::kReadyz}};

Task<void> Answer(Exchange& e, int status, std::string text) {
  Headers h;
  h.Add("content-type", "text/plain; charset=utf-8");
  h.Add("x-content-type-options", "nosniff");
  (void)co_await e.Respond(status, std::move(h), std::move(text));
}

}  // namespace

HealthEndpoints::HealthEndpoints(MetricsRegistry* metrics, std::string version_json)
    : metrics_(metrics), version_json_(std::move(version_json)) {
  Add("ping", [] { return Ok(); });
  Add("log", [] { return Ok(); });
}

void HealthEndpoints::Add(std::string name, Check check, unsigned groups) {
  checks_.push_back({std::move(name), std::move(check), groups});
}
void HealthEndpoints::Add(std::string name, std::function<Status()> check, unsigned groups) {
  Add(std::move(name), Check([check = std::move(check)](Context) -> Task<Status> {
        return [](Status s) -> Task<Status> { co_return s; }(check());
      }),
      groups);
}

bool HealthEndpoints::Owns(std::string_view path) const {
  if (path == "/metrics") return metrics_ != nullptr;
  if (path == "/version") return !version_json_.empty();
  return std::any_of(std::begin(kGroups), std::end(kGroups), [&](const GroupPath& g) {
    return path == g.path || (path.starts_with(g.path) && path[g.path.size()] == '/');
  });
}

Task<void> HealthEndpoints::Serve(Exchange& e) {
  std::string path(e.path());
  if (!Owns(path)) co_return co_await Answer(e, 404, "404 page not found\n");
  if (path == "/metrics") {
    Headers h;
    h.Add("content-type", "text/plain; version=0.0.4; charset=utf-8");
    (void)co_await e.Respond(200, std::move(h), metrics_->ToText());
    co_return;
  }
  if (path == "/version") {
    Headers h;
    h.Add("content-type", "application/json");
    (void)co_await e.Respond(200, std::move(h), version_json_);
    co_return;
  }
  for (const GroupPath& g : kGroups) {
    if (!path.starts_with(g.path)) continue;
    std::string rest = path.substr(g.path.size());
    if (rest.empty() || rest == "/") co_return co_await ServeGroup(e, std::string(g.path.substr(1)), g.group);
    co_return co_await ServeOne(e, rest.substr(1), g.group);
  }
  co_await Answer(e, 404, "404 page not found\n");
}

Task<void> HealthEndpoints::ServeGroup(Exchange& e, std::string group_name, Group group) {
  std::set<std::string> excluded;
  bool verbose = false, failed = false;
  for (const auto& [key, value] : ParseQuery(e.query())) {
    if (key == "exclude") excluded.insert(value);
    if (key == "verbose") verbose = true;
  }
  std::string lines;
  for (const Entry& c : checks_) {
    if (!(c.groups & group)) continue;
    if (excluded.erase(c.name) > 0) {
      lines += "[+]" + c.name + " excluded: ok\n";
      continue;
    }
    Status s = co_await c.check(e.context());
    // Why it failed goes to the log: the answer may reach strangers.
    lines += s.ok() ? "[+]" + c.name + " ok\n" : "[-]" + c.name + " failed: reason withheld\n";
    if (!s.ok()) LogWarning("Health check failed", {{"group", group_name}, {"check", c.name}, {"err", s}});
    failed |= !s.ok();
  }
  if (!excluded.empty()) {
    std::string names;
    for (const auto& name : excluded) names += (names.empty() ? "" : ", ") + GoQuote(name);
    lines += "warn: some health checks cannot be excluded: no matches for " + names + "\n";
  }
  if (failed) co_return co_await Answer(e, 500, lines + group_name + " check failed\n");
  co_await Answer(e, 200, verbose ? lines + group_name + " check passed\n" : "ok");
}

Task<void> HealthEndpoints::ServeOne(Exchange& e, std::string name, Group group) {
  for (const Entry& c : checks_) {
    if (c.name != name || !(c.groups & group)) continue;
    Status s = co_await c.check(e.context());
    if (s.ok()) co_return co_await Answer(e, 200, "ok");
    co_return co_await Answer(e, 500, "internal server error: " + std::string(s.message()) + "\n");
  }
  co_await Answer(e, 404, "404 page not found\n");
}

}  // namespace base::net
