#include "apiserver/paths/health.h"

#include <algorithm>
#include <set>

#include "base/net/http.h"

namespace apiserver::paths {

namespace {

struct Root {
  std::string_view name;
  Health::Where where;
};
constexpr Root kRoots[] = {{"healthz", Health::kHealthz}, {"livez", Health::kLivez}, {"readyz", Health::kReadyz}};

}  // namespace

void Health::Add(std::string name, uint8_t where, std::function<base::Status()> check) {
  checks_.push_back({std::move(name), where, std::move(check)});
}

Health::Answer Health::Evaluate(std::string_view path, std::string_view query) const {
  path.remove_prefix(1);
  std::string_view rest = path.substr(std::min(path.find('/'), path.size()));
  const Root* root = nullptr;
  for (const Root& r : kRoots)
    if (path.substr(0, path.size() - rest.size()) == r.name) root = &r;
  if (!root) return {};
  if (rest.size() > 1) {
    for (const auto& c : checks_) {
      if (c.name != rest.substr(1) || !(c.where & root->where)) continue;
      auto s = c.run();
      if (s.ok()) return {200, "ok"};
      return {500, "internal server error: " + std::string(s.message()) + "\n"};
    }
    return {404, "404 page not found\n"};
  }
  bool verbose = false, failed = false;
  std::set<std::string> excluded;
  for (const auto& [key, value] : base::net::ParseQuery(query)) {
    if (key == "verbose") verbose = true;
    if (key == "exclude") excluded.insert(value);
  }
  std::string text;
  for (const auto& c : checks_) {
    if (!(c.where & root->where)) continue;
    if (excluded.erase(c.name)) {
      text += "[+]" + c.name + " excluded: ok\n";
      continue;
    }
    if (c.run().ok()) {
      text += "[+]" + c.name + " ok\n";
    } else {
      // Why is for the log: this page is open to everybody.
      text += "[-]" + c.name + " failed: reason withheld\n";
      failed = true;
    }
  }
  for (const auto& name : excluded)
    text += "warn: some health checks cannot be excluded: no matches for \"" + name + "\"\n";
  std::string name(root->name);
  if (failed) return {500, text + name + " check failed\n", true};
  return {200, verbose ? text + name + " check passed\n" : "ok", true};
}

std::vector<std::string> Health::Paths() const {
  std::vector<std::string> out;
  for (const Root& r : kRoots) {
    out.push_back("/" + std::string(r.name));
    for (const auto& c : checks_)
      if (c.where & r.where) out.push_back("/" + std::string(r.name) + "/" + c.name);
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::string Health::SliText() const {
  std::string out =
      "# HELP kubernetes_healthcheck [STABLE] This metric records the result of a single healthcheck.\n"
      "# TYPE kubernetes_healthcheck gauge\n";
  for (const Root& r : kRoots)
    for (const auto& c : checks_)
      if (c.where & r.where)
        out += "kubernetes_healthcheck{name=\"" + c.name + "\",type=\"" + std::string(r.name) + "\"} " +
               (c.run().ok() ? "1" : "0") + "\n";
  return out;
}

}  // namespace apiserver::paths
