#include "apiserver/chain/request_metrics.h"

#include <algorithm>

#include "apiserver/registry/registry.h"

namespace apiserver::chain {

namespace {

constexpr size_t kMostCells = 20'000;  // as a family of metrics

// As the original reports verbs: by the HTTP method where that tells enough.
std::string_view ReportedVerb(const RequestInfo& info, bool apply) {
  static constexpr std::pair<std::string_view, std::string_view> kWords[] = {
      {"get", "GET"},    {"list", "LIST"},   {"watch", "WATCH"},   {"create", "POST"},
      {"update", "PUT"}, {"patch", "PATCH"}, {"delete", "DELETE"}, {"deletecollection", "DELETE"},
  };
  static constexpr std::string_view kConnect[] = {"log", "exec", "attach", "portforward", "proxy"};
  if (std::ranges::find(kConnect, info.subresource) != std::end(kConnect)) return "CONNECT";
  if (apply) return "APPLY";
  auto word = std::ranges::find(kWords, info.verb, &std::pair<std::string_view, std::string_view>::first);
  return word == std::end(kWords) ? "OTHER" : word->second;
}

std::string_view ScopeWord(const RequestInfo& info) {
  if (!info.name.empty() || info.verb == "create") return "resource";
  return !info.namespace_name.empty() ? "namespace" : "cluster";
}

}  // namespace

RequestMetrics::RequestMetrics(base::MetricsRegistry* metrics, const registry::Registry* registry)
    : registry_(registry) {
  if (!metrics) return;
  total_ = &metrics->AddCounter(
      "apiserver_request_total",
      "Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope, "
      "component, and HTTP response code.",
      {"code", "component", "dry_run", "group", "resource", "scope", "subresource", "verb", "version"});
  duration_ = &metrics->AddHistogram(
      "apiserver_request_duration_seconds",
      "Response latency distribution in seconds for each verb, dry run value, group, version, resource, subresource, "
      "scope and component.",
      {0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60},
      {"component", "dry_run", "group", "resource", "scope", "subresource", "verb", "version"});
}

RequestMetrics::Cells& RequestMetrics::CellsOf(const Scope& scope) {
  const RequestInfo& info = *scope.info;
  auto served = registry_->Find(info.group, info.version, info.resource);
  bool known = served && (info.subresource.empty() ||
                          std::ranges::find(served->kind->subresources, info.subresource, [](const auto& s) {
                            return std::string_view(s.name);
                          }) != served->kind->subresources.end());
  auto label = [&](const std::string& text) { return known ? std::string_view(text) : std::string_view(); };
  std::string code = std::to_string(scope.code);
  std::string_view dry_run = scope.dry_run ? "All" : "", word = ScopeWord(info), verb = ReportedVerb(info, scope.apply);
  std::string key;
  for (std::string_view part : {std::string_view(code), dry_run, label(info.group), label(info.resource), word,
                                label(info.subresource), verb, label(info.version)})
    (key += part) += '\0';
  auto found = cells_.find(key);
  if (found != cells_.end()) return found->second;
  if (cells_.size() >= kMostCells) cells_.clear();
  Cells cells{&total_->With({code, "apiserver", dry_run, label(info.group), label(info.resource), word,
                             label(info.subresource), verb, label(info.version)}),
              &duration_->With({"apiserver", dry_run, label(info.group), label(info.resource), word,
                                label(info.subresource), verb, label(info.version)})};
  return cells_.emplace(std::move(key), cells).first->second;
}

void RequestMetrics::Count(const Scope& scope, base::Duration took) {
  if (!total_) return;
  Cells& cells = CellsOf(scope);
  cells.total->Add();
  cells.duration->Observe(std::chrono::duration<double>(took).count());
}

}  // namespace apiserver::chain
