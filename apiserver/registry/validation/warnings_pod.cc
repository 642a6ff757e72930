// What a writer is told about a pod or a template that is accepted all the same.
#include <algorithm>
#include <map>
#include <set>

#include "apiserver/registry/validation/pod_parts.h"
#include "apiserver/registry/validation/warn.h"

namespace apiserver::registry::validation {
namespace {

struct Advice {
  std::string_view key, message;
};
constexpr Advice kNodeLabels[] = {
    {"beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"},
    {"beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"},
    {"failure-domain.beta.kubernetes.io/region",
     "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead"},
    {"failure-domain.beta.kubernetes.io/zone", "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"},
    {"beta.kubernetes.io/instance-type", "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"},
    {"app.kubernetes.io/created-by", "deprecated since v1.9"},
    {"scheduler.alpha.kubernetes.io/preferAvoidPods", "deprecated since v1.22; use Taints and Tolerations instead"},
    {"node-role.kubernetes.io/master", "use \"node-role.kubernetes.io/control-plane\" instead"},
};
constexpr Advice kAnnotations[] = {
    {"scheduler.alpha.kubernetes.io/critical-pod",
     "non-functional in v1.16+; use the \"priorityClassName\" field instead"},
    {"security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"},
    {"security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"},
};

constexpr std::string_view kNullSelector = ": a null labelSelector results in matching no pod";

// --- labels, selectors, annotations ---

void WarnOfNodeChoice(const Value& spec, const std::string& path, Warnings& out) {
  if (const Value& selector = spec.At("nodeSelector"); selector.is_map())
    for (const auto& e : selector.map())
      if (auto advice = DeprecatedNodeLabel(e.key); !advice.empty())
        out.Add(Key(Child(path, "nodeSelector"), e.key) + ": " + std::string(advice));
  std::string at = Child(Child(path, "affinity"), "nodeAffinity");
  const Value& affinity = spec.At("affinity", "nodeAffinity");
  const List& terms = Items(affinity.At("requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"));
  for (size_t i = 0; i < terms.size(); ++i)
    WarnOfNodeTerm(terms[i], false,
                   Index(Child(at, "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"), i), out);
  const char* preferred = "preferredDuringSchedulingIgnoredDuringExecution";
  const List& wishes = Items(affinity.At(preferred));
  for (size_t i = 0; i < wishes.size(); ++i)
    WarnOfNodeTerm(wishes[i].At("preference"), true, Child(Index(Child(at, preferred), i), "preference"), out);
}

void WarnOfSpread(const Value& spec, const std::string& path, Warnings& out) {
  const List& constraints = Items(spec.At("topologySpreadConstraints"));
  for (size_t i = 0; i < constraints.size(); ++i) {
    std::string key = Text(constraints[i].At("topologyKey")), at = Index(Child(path, "topologySpreadConstraints"), i);
    if (auto advice = DeprecatedNodeLabel(key); !advice.empty())
      out.Add(Child(at, "topologyKey") + ": " + key + " is " + std::string(advice));
    if (constraints[i].At("labelSelector").is_null()) out.Add(Child(at, "labelSelector") + std::string(kNullSelector));
  }
}

void WarnOfPodAffinity(const Value& spec, const std::string& path, Warnings& out) {
  for (const char* which : {"podAffinity", "podAntiAffinity"}) {
    const Value& affinity = spec.At("affinity", which);
    std::string at = Child(path, "affinity", which);
    const char *required = "requiredDuringSchedulingIgnoredDuringExecution",
               *preferred = "preferredDuringSchedulingIgnoredDuringExecution";
    const List &terms = Items(affinity.At(required)), &wishes = Items(affinity.At(preferred));
    for (size_t i = 0; i < terms.size(); ++i)
      if (terms[i].At("labelSelector").is_null())
        out.Add(Child(Index(Child(at, required), i), "labelSelector") + std::string(kNullSelector));
    for (size_t i = 0; i < wishes.size(); ++i)
      if (wishes[i].At("podAffinityTerm", "labelSelector").is_null())
        out.Add(Child(Index(Child(at, preferred), i), "podAffinityTerm", "labelSelector") + std::string(kNullSelector));
  }
}

void WarnOfAnnotations(const Value& pod, const std::string& path, Warnings& out) {
  const Value& annotations = object::AnnotationsOf(pod);
  std::string at = Child(path, "metadata", "annotations");
  for (const Advice& a : kAnnotations)
    if (annotations.At(a.key).is_string()) out.Add(Key(at, a.key) + ": " + std::string(a.message));
}

// --- lists that say something twice ---

void WarnOfDuplicates(const Value& spec, const std::string& path, Warnings& out) {
  std::set<std::string> ips, secrets;
  const List& aliases = Items(spec.At("hostAliases"));
  for (size_t i = 0; i < aliases.size(); ++i)
    if (std::string ip = Text(aliases[i].At("ip")); !ips.insert(ip).second)
      out.Add(Child(Index(Child(path, "hostAliases"), i), "ip") + ": duplicate ip " + object::GoQuote(ip));
  const List& pulls = Items(spec.At("imagePullSecrets"));
  std::string at = Child(path, "imagePullSecrets");
  for (size_t i = 0; i < pulls.size(); ++i)
    if (std::string name = Text(pulls[i].At("name")); !secrets.insert(name).second)
      out.Add(Child(Index(at, i), "name") + ": duplicate name " + object::GoQuote(name));
  for (size_t i = 0; i < pulls.size(); ++i)
    if (NoText(pulls[i].At("name"))) out.Add(Child(Index(at, i), "name") + ": invalid empty name \"\"");
}

// A second definition is fine only where it builds on the first: X="a"; X="$(X)b".
void WarnOfEnv(const Value& container, const std::string& path, Warnings& out) {
  std::set<std::string> seen;
  const List& env = Items(container.At("env"));
  for (size_t i = 0; i < env.size(); ++i) {
    std::string name = Text(env[i].At("name")), value = Text(env[i].At("value")), reference = "$(" + name + ")";
    if (seen.insert(name).second) continue;
    bool builds_on_it = env[i].At("valueFrom").is_null() && value != reference && value.find(reference) != value.npos;
    if (!builds_on_it)
      out.Add(Index(Child(path, "env"), i) + ": hides previous definition of " + object::GoQuote(name) +
              ", which may be dropped when using apply");
  }
}

// --- containers ---

void WarnOfContainer(const Value& pod, const Value& container, const std::string& path, const std::string& pod_path,
                     Warnings& out) {
  const Value &annotations = object::AnnotationsOf(pod), &security = container.At("securityContext");
  std::string name = Text(container.At("name")), annotations_at = Child(pod_path, "metadata", "annotations");
  std::string seccomp = std::string(kContainerSeccomp) + name, apparmor = std::string(kAppArmor) + name;
  if (security.At("seccompProfile").is_null() && annotations.At(seccomp).is_string())
    out.Add(Key(annotations_at, seccomp) + ": non-functional in v1.27+; use the \"seccompProfile\" field instead");
  // Of a pod it is said where the annotation is turned into the field.
  bool is_template = !pod_path.empty();
  if (is_template && security.At("appArmorProfile").is_null() && annotations.At(apparmor).is_string()) {
    const Value& whole = pod.At("spec", "securityContext", "appArmorProfile");
    if (whole.is_null() || !(whole == AppArmorProfileOf(annotations.At(apparmor).as_string())))
      out.Add(Key(annotations_at, apparmor) + ": deprecated since v1.30; use the \"appArmorProfile\" field instead");
  }
  for (const char* resource : {"memory", "ephemeral-storage"})
    for (const char* which : {"limits", "requests"})
      WarnOfFraction(container.At("resources", which, resource), Key(Child(path, "resources", which), resource), out);
  WarnOfEnv(container, path, out);
}

struct PortSeen {
  std::string path, host_ip;
  int64_t host_port;
};

// The ports of one number and protocol, found by what can make two of them clash.
class PortsSeen {
 public:
  // Those that `port` may clash with, in the order in which they came.
  std::vector<size_t> Near(const PortSeen& port) const {
    if (port.host_port == 0) {
      std::vector<size_t> all(ports_.size());
      for (size_t i = 0; i < all.size(); ++i) all[i] = i;
      return all;
    }
    std::vector<size_t> out;
    auto take = [&](int64_t host_port, const std::string* host_ip) {
      auto from = host_ip ? places_.lower_bound({host_port, *host_ip}) : places_.lower_bound({host_port, ""});
      for (; from != places_.end() && from->first.first == host_port; ++from) {
        if (host_ip && from->first.second != *host_ip) break;
        out.push_back(from->second);
      }
    };
    const std::string everywhere;
    take(0, nullptr);
    take(port.host_port, port.host_ip.empty() ? nullptr : &port.host_ip);
    if (!port.host_ip.empty()) take(port.host_port, &everywhere);
    std::sort(out.begin(), out.end());
    return out;
  }
  const PortSeen& at(size_t i) const { return ports_[i]; }
  void Add(PortSeen port) {
    places_.emplace(std::pair(port.host_port, port.host_ip), ports_.size());
    ports_.push_back(std::move(port));
  }

 private:
  std::vector<PortSeen> ports_;
  std::multimap<std::pair<int64_t, std::string>, size_t> places_;
};

void WarnOfPortPair(const PortSeen& port, const PortSeen& other, Warnings& out) {
  if (port.host_ip == other.host_ip && port.host_port == other.host_port) {
    out.Add(port.path + ": duplicate port definition with " + other.path);
  } else if (port.host_port == 0 || other.host_port == 0) {
    out.Add(port.path + ": overlapping port definition with " + other.path);
  } else if (port.host_port == other.host_port && port.host_ip.empty() != other.host_ip.empty()) {
    out.Add(port.path + ": dangerously ambiguous port definition with " + other.path);
  }
}

void WarnOfPorts(const Value& spec, const std::string& path, Warnings& out) {
  std::map<std::pair<int64_t, std::string>, PortsSeen> seen;
  std::map<std::string, std::string> names;
  EachContainer(spec, path, [&](const Value& container, const std::string& at) {
    const List& ports = Items(container.At("ports"));
    for (size_t i = 0; i < ports.size() && !out.full(); ++i) {
      const Value& p = ports[i];
      PortSeen port{Index(Child(at, "ports"), i), Text(p.At("hostIP")), p.At("hostPort").int_or()};
      int64_t number = p.At("containerPort").int_or();
      std::string protocol = Text(p.At("protocol"));
      if (!port.host_ip.empty() && port.host_port == 0)
        out.Add(port.path + ": hostIP set without hostPort: {Name:" + Text(p.At("name")) +
                " HostPort:0 ContainerPort:" + std::to_string(number) + " Protocol:" + protocol +
                " HostIP:" + port.host_ip + "}");
      auto& others = seen[{number, protocol}];
      for (size_t other : others.Near(port)) {
        if (out.full()) return;
        WarnOfPortPair(port, others.at(other), out);
      }
      others.Add(std::move(port));
    }
  });
  EachContainer(spec, path, [&](const Value& container, const std::string& at) {
    const List& ports = Items(container.At("ports"));
    for (size_t i = 0; i < ports.size(); ++i) {
      std::string name = Text(ports[i].At("name")), here = Index(Child(at, "ports"), i);
      if (name.empty()) continue;
      auto [first, fresh] = names.emplace(name, here);
      if (!fresh)
        out.Add(here + ": duplicate port name " + object::GoQuote(name) + " with " + first->second +
                ", services and probes that select ports by name will use " + first->second);
    }
  });
}

}  // namespace

void WarnOfNodeTerm(const Value& term, bool check_values, const std::string& path, Warnings& out) {
  const List& expressions = Items(term.At("matchExpressions"));
  for (size_t i = 0; i < expressions.size(); ++i) {
    std::string key = Text(expressions[i].At("key")), at = Index(Child(path, "matchExpressions"), i);
    if (auto advice = DeprecatedNodeLabel(key); !advice.empty())
      out.Add(Child(at, "key") + ": " + key + " is " + std::string(advice));
    if (!check_values) continue;
    const List& values = Items(expressions[i].At("values"));
    for (size_t j = 0; j < values.size(); ++j)
      for (const auto& reason : object::IsLabelValue(values[j].string_or()))
        out.Add(Index(Child(at, "values"), j) + ": " + Text(values[j]) + " is invalid, " + reason);
  }
}

std::string_view DeprecatedNodeLabel(std::string_view key) {
  for (const Advice& a : kNodeLabels)
    if (a.key == key) return a.message;
  return {};
}

Value AppArmorProfileOf(std::string_view annotation) {
  constexpr std::string_view kLocal = "localhost/";
  if (annotation == "unconfined") return Value(Map{{"type", Value("Unconfined")}});
  if (annotation == "runtime/default") return Value(Map{{"type", Value("RuntimeDefault")}});
  if (annotation.starts_with(kLocal) && annotation.size() > kLocal.size())
    return Value(Map{{"type", Value("Localhost")}, {"localhostProfile", Value(annotation.substr(kLocal.size()))}});
  return {};
}

void WarnOfPod(const Value& pod, const std::string& path, Warnings& out) {
  const Value& spec = pod.At("spec");
  std::string at = Child(path, "spec");
  WarnOfNodeChoice(spec, at, out);
  WarnOfSpread(spec, at, out);
  WarnOfAnnotations(pod, path, out);
  WarnOfVolumes(spec.At("volumes"), Child(at, "volumes"), out);
  WarnOfDuplicates(spec, at, out);
  for (const char* resource : {"memory", "ephemeral-storage"})
    WarnOfFraction(spec.At("overhead", resource), Key(Child(at, "overhead"), resource), out);
  if (spec.At("securityContext", "seccompProfile").is_null() && object::AnnotationsOf(pod).At(kPodSeccomp).is_string())
    out.Add(Key(Child(path, "metadata", "annotations"), kPodSeccomp) +
            ": non-functional in v1.27+; use the \"seccompProfile\" field instead");
  EachContainer(spec, at, [&](const Value& container, const std::string& where) {
    WarnOfContainer(pod, container, where, path, out);
  });
  WarnOfPorts(spec, at, out);
  if (spec.At("terminationGracePeriodSeconds").int_or() < 0)
    out.Add(Child(at, "terminationGracePeriodSeconds") +
            ": must be >= 0; negative values are invalid and will be treated as 1");
  WarnOfPodAffinity(spec, at, out);
  const List& servers = Items(spec.At("dnsConfig", "nameservers"));
  for (size_t i = 0; i < servers.size(); ++i)
    WarnOfIp(Index(Child(at, "dnsConfig", "nameservers"), i), servers[i].string_or(), out);
  const List& aliases = Items(spec.At("hostAliases"));
  for (size_t i = 0; i < aliases.size(); ++i)
    WarnOfIp(Child(Index(Child(at, "hostAliases"), i), "ip"), aliases[i].At("ip").string_or(), out);
}

}  // namespace apiserver::registry::validation
