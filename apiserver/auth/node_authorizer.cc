#include "apiserver/auth/node_authorizer.h"

#include <algorithm>
#include <set>

#include "apiserver/registry/registry.h"
#include "machinery/object/go_text.h"
#include "machinery/object/meta.h"
#include "machinery/ops/selector.h"

namespace apiserver::auth {

namespace object = machinery::object;
using machinery::value::Value;

namespace {

constexpr std::string_view kPrefix = "system:node:";
constexpr std::string_view kLeaseNamespace = "kube-node-lease";

Verdict Allow() { return {.decision = Decision::kAllow}; }
Verdict No(std::string reason) { return {.reason = std::move(reason)}; }

bool OneOf(std::string_view s, std::initializer_list<std::string_view> list) {
  return std::find(list.begin(), list.end(), s) != list.end();
}

std::string NoPath(const std::string& node) {
  return "no relationship found between node '" + node + "' and this object";
}

class References {
 public:
  explicit References(std::string ns) : ns_(std::move(ns)) {}
  void Add(const char* resource, std::string_view name) {
    if (!name.empty()) found_.insert(std::string(resource) + "/" + ns_ + "/" + std::string(name));
  }
  void AddVolume(const Value& volume) {
    Add("secrets", volume.At("secret", "secretName").string_or());
    Add("configmaps", volume.At("configMap", "name").string_or());
    Add("persistentvolumeclaims", volume.At("persistentVolumeClaim", "claimName").string_or());
    for (std::string_view plugin : {"flexVolume", "rbd", "cephfs", "scaleIO", "iscsi", "storageos", "azureFile"}) {
      const Value& source = volume.At(plugin);
      Add("secrets", source.At("secretRef", "name").string_or());
      Add("secrets", source.At("secretName").string_or());
    }
    Add("secrets", volume.At("csi", "nodePublishSecretRef", "name").string_or());
    if (const Value& sources = volume.At("projected", "sources"); sources.is_list())
      for (const Value& s : sources.list()) {
        Add("secrets", s.At("secret", "name").string_or());
        Add("configmaps", s.At("configMap", "name").string_or());
      }
  }
  void AddContainer(const Value& container) {
    if (const Value& from = container.At("envFrom"); from.is_list())
      for (const Value& e : from.list()) {
        Add("secrets", e.At("secretRef", "name").string_or());
        Add("configmaps", e.At("configMapRef", "name").string_or());
      }
    if (const Value& env = container.At("env"); env.is_list())
      for (const Value& e : env.list()) {
        Add("secrets", e.At("valueFrom", "secretKeyRef", "name").string_or());
        Add("configmaps", e.At("valueFrom", "configMapKeyRef", "name").string_or());
      }
  }
  std::vector<std::string> Take() { return {found_.begin(), found_.end()}; }

 private:
  std::string ns_;
  std::set<std::string> found_;
};

template <class F>
void Each(const Value& list, F f) {
  if (list.is_list())
    for (const Value& v : list.list()) f(v);
}

}  // namespace

bool NodeOf(const machinery::request::Identity& identity, std::string* node) {
  if (!identity.name.starts_with(kPrefix) || !identity.InGroup("system:nodes")) return false;
  *node = identity.name.substr(kPrefix.size());
  return true;
}

std::vector<std::string> ReferencesOf(const Value& pod) {
  References out{std::string(object::NamespaceOf(pod))};
  const Value& spec = pod.At("spec");
  std::string pod_name(object::NameOf(pod));
  out.Add("serviceaccounts", spec.At("serviceAccountName").string_or());
  Each(spec.At("imagePullSecrets"), [&](const Value& v) { out.Add("secrets", v.At("name").string_or()); });
  Each(spec.At("volumes"), [&](const Value& v) {
    out.AddVolume(v);
    if (v.At("ephemeral").is_map())
      out.Add("persistentvolumeclaims", pod_name + "-" + std::string(v.At("name").string_or()));
  });
  for (std::string_view kind : {"initContainers", "containers", "ephemeralContainers"})
    Each(spec.At(kind), [&](const Value& v) { out.AddContainer(v); });
  Each(pod.At("status", "resourceClaimStatuses"),
       [&](const Value& v) { out.Add("resourceclaims", v.At("resourceClaimName").string_or()); });
  Each(spec.At("resourceClaims"),
       [&](const Value& v) { out.Add("resourceclaims", v.At("resourceClaimName").string_or()); });
  return out.Take();
}

NodeAuthorizer::NodeAuthorizer(registry::Registry& registry, std::vector<PolicyRule> rules)
    : registry_(registry), rules_(std::move(rules)) {
  auto* pods = registry.FindStore("", "pods");
  if (!pods) return;
  pods->cache().AddObserver([this](const storage::Change& c) { OnPod(c); });
  pods->cache().ForEach([this](const storage::ObjectPtr& o) {
    Count(*o, 1);
    return true;
  });
}

void NodeAuthorizer::OnPod(const storage::Change& c) {
  if (c.previous && !c.deleted) {
    // What a pod names is fixed, but for its node (set once), ephemeral containers and claims (rare): only then it is
    // worth decoding both states.
    int index = c.object->resource().node_name_field;
    bool same_node = index >= 0 && c.object->field(index) == c.previous->field(index);
    if (same_node && (c.object->field(index).empty() || c.object == c.previous)) return;
    if (same_node) {
      auto before = ReferencesOf(c.previous->Tree()), after = ReferencesOf(c.object->Tree());
      if (before == after) return;
    }
    Count(*c.previous, -1);
  }
  Count(*c.object, c.deleted ? -1 : 1);
}

void NodeAuthorizer::Count(const storage::Object& pod, int by) {
  int index = pod.resource().node_name_field;
  if (index < 0 || pod.field(index).empty()) return;
  std::string node(pod.field(index));
  for (auto& name : ReferencesOf(pod.Tree())) {
    auto& nodes = nodes_of_[name];
    if ((nodes[node] += by) <= 0) nodes.erase(node);
    if (nodes.empty()) nodes_of_.erase(name);
  }
}

bool NodeAuthorizer::Related(const std::string& node, const std::string& what) const {
  auto it = nodes_of_.find(what);
  return it != nodes_of_.end() && it->second.contains(node);
}

Verdict NodeAuthorizer::Authorize(const Attributes& a) {
  std::string node;
  if (!NodeOf(a.identity, &node)) return {};
  if (node.empty()) return No("unknown node for user " + object::GoQuote(a.identity.name));
  if (a.resource_request) {
    if (a.group.empty()) {
      if (a.resource == "secrets" || a.resource == "configmaps") return Read(node, a, false);
      if (a.resource == "persistentvolumeclaims") {
        if (a.subresource == "status") {
          if (!OneOf(a.verb, {"update", "patch"})) return No("can only update status of this type");
          return Related(node, a.resource + "/" + a.namespace_name + "/" + a.name) ? Allow() : No(NoPath(node));
        }
        return Read(node, a, true);
      }
      if (a.resource == "persistentvolumes") return Volume(node, a);
      if (a.resource == "serviceaccounts") return ServiceAccount(node, a);
      if (a.resource == "nodes") return Node(node, a);
      if (a.resource == "pods") return Pod(node, a);
    }
    if (a.group == "resource.k8s.io" && a.resource == "resourceclaims") return Read(node, a, true);
    if (a.group == "resource.k8s.io" && a.resource == "resourceslices") return Slice(node, a);
    if (a.group == "storage.k8s.io" && a.resource == "volumeattachments") return Attachment(node, a);
    if (a.group == "storage.k8s.io" && a.resource == "csinodes") return OwnNamed(node, a, "CSINode");
    if (a.group == "coordination.k8s.io" && a.resource == "leases") return Lease(node, a);
  }
  for (const auto& rule : rules_)
    if (RuleAllows(rule, a)) return Allow();
  return {};
}

Verdict NodeAuthorizer::Read(const std::string& node, const Attributes& a, bool get_only) {
  if (get_only) {
    if (a.verb != "get") return No("can only get individual resources of this type");
    if (!a.subresource.empty()) return No("cannot get subresource");
  } else {
    if (!OneOf(a.verb, {"get", "list", "watch"})) return No("can only read resources of this type");
    if (!a.subresource.empty()) return No("cannot read subresource");
    if (a.namespace_name.empty()) return No("can only read namespaced object of this type");
  }
  if (a.name.empty()) return No("No Object name found");
  return Related(node, a.resource + "/" + a.namespace_name + "/" + a.name) ? Allow() : No(NoPath(node));
}

Verdict NodeAuthorizer::ServiceAccount(const std::string& node, const Attributes& a) {
  if (a.verb == "get" && a.subresource.empty()) return Read(node, a, true);
  if (a.verb != "create" || a.subresource != "token")
    return No("can only create tokens for individual service accounts");
  if (a.name.empty()) return No("can only create tokens for individual service accounts");
  return Related(node, a.resource + "/" + a.namespace_name + "/" + a.name) ? Allow() : No(NoPath(node));
}

// A volume belongs to a node when its claim does.
Verdict NodeAuthorizer::Volume(const std::string& node, const Attributes& a) {
  if (a.verb != "get") return No("can only get individual resources of this type");
  if (!a.subresource.empty()) return No("cannot get subresource");
  auto* store = registry_.FindStore("", "persistentvolumes");
  auto volume = store ? store->Cached("", a.name) : nullptr;
  if (!volume) return No(NoPath(node));
  Value tree = volume->Tree();
  const Value& claim = tree.At("spec", "claimRef");
  std::string what = "persistentvolumeclaims/" + std::string(claim.At("namespace").string_or()) + "/" +
                     std::string(claim.At("name").string_or());
  return Related(node, what) ? Allow() : No(NoPath(node));
}

Verdict NodeAuthorizer::Attachment(const std::string& node, const Attributes& a) {
  if (a.verb != "get") return No("can only get individual resources of this type");
  if (!a.subresource.empty()) return No("cannot get subresource");
  auto* store = registry_.FindStore("storage.k8s.io", "volumeattachments");
  auto found = store ? store->Cached("", a.name) : nullptr;
  if (!found || found->Tree().At("spec", "nodeName").string_or() != node) return No(NoPath(node));
  return Allow();
}

Verdict NodeAuthorizer::Lease(const std::string& node, const Attributes& a) {
  if (!OneOf(a.verb, {"get", "create", "update", "patch", "delete"}))
    return No("can only get, create, update, patch, or delete a node lease");
  if (a.namespace_name != kLeaseNamespace)
    return No("can only access leases in the " + object::GoQuote(kLeaseNamespace) + " system namespace");
  // The name of an object to create is not known yet; NodeRestriction looks at it.
  if (a.verb != "create" && a.name != node)
    return No("can only access node lease with the same name as the requesting node");
  return Allow();
}

Verdict NodeAuthorizer::OwnNamed(const std::string& node, const Attributes& a, std::string_view what) {
  std::string kind(what);
  if (!OneOf(a.verb, {"get", "create", "update", "patch", "delete"}))
    return No("can only get, create, update, patch, or delete a " + kind);
  if (!a.subresource.empty()) return No("cannot authorize " + kind + " subresources");
  if (a.verb != "create" && a.name != node)
    return No("can only access " + kind + " with the same name as the requesting node");
  return Allow();
}

Verdict NodeAuthorizer::Slice(const std::string& node, const Attributes& a) {
  if (!a.subresource.empty()) return No("cannot authorize ResourceSlice subresources");
  if (a.verb == "create") return Allow();
  if (OneOf(a.verb, {"get", "update", "patch", "delete"})) {
    auto* store = registry_.FindStore("resource.k8s.io", "resourceslices");
    auto found = store ? store->Cached("", a.name) : nullptr;
    return found && found->Tree().At("spec", "nodeName").string_or() == node ? Allow() : No(NoPath(node));
  }
  if (OneOf(a.verb, {"list", "watch", "deletecollection"})) {
    auto fields = machinery::ops::FieldSelector::Parse(a.field_selector);
    if (fields && fields->RequiredValue("spec.nodeName") == node) return Allow();
    return No("can only list/watch/deletecollection resourceslices with spec.nodeName field selector");
  }
  return No(
      "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, "
      "deletecollection");
}

Verdict NodeAuthorizer::Node(const std::string& node, const Attributes& a) {
  if (a.subresource == "status") return OneOf(a.verb, {"update", "patch"}) ? Allow() : Verdict{};
  if (!a.subresource.empty()) return {};
  if (OneOf(a.verb, {"create", "update", "patch"})) return Allow();  // NodeRestriction looks at the name
  if (!OneOf(a.verb, {"get", "list", "watch"})) return {};
  if (a.name == node) return Allow();
  if (a.name.empty()) return No("node '" + node + "' cannot read all nodes, only its own Node object");
  return No("node '" + node + "' cannot read '" + a.name + "', only its own Node object");
}

Verdict NodeAuthorizer::Pod(const std::string& node, const Attributes& a) {
  if (a.subresource == "status") return OneOf(a.verb, {"update", "patch"}) ? Allow() : Verdict{};
  if (a.subresource == "eviction") return a.verb == "create" ? Allow() : Verdict{};
  if (!a.subresource.empty()) return {};
  if (a.verb == "create" || a.verb == "delete") return Allow();  // NodeRestriction looks at the pod
  auto* store = registry_.FindStore("", "pods");
  if (a.verb == "get") {
    auto pod = store ? store->Cached(a.namespace_name, a.name) : nullptr;
    int index = pod ? pod->resource().node_name_field : -1;
    return index >= 0 && pod->field(index) == node ? Allow() : No(NoPath(node));
  }
  if (a.verb == "list" || a.verb == "watch") {
    auto fields = machinery::ops::FieldSelector::Parse(a.field_selector);
    if (fields && fields->RequiredValue("spec.nodeName") == node) return Allow();
    // A pod that was bound to the node may also be followed by its name.
    auto pod = store && !a.name.empty() ? store->Cached(a.namespace_name, a.name) : nullptr;
    int index = pod ? pod->resource().node_name_field : -1;
    if (index >= 0 && pod->field(index) == node) return Allow();
    return No("can only list/watch pods with spec.nodeName field selector");
  }
  return {};
}

}  // namespace apiserver::auth
