// What a kubelet may write: its own Node, Lease and CSINode, the status of its pods, mirror pods, evictions of its pods
// and tokens for the accounts of its pods. The node authorizer has let the request through to here by its kind alone.
#include <algorithm>
#include <map>
#include <set>

#include "apiserver/admission/plugin.h"
#include "apiserver/auth/node_authorizer.h"
#include "apiserver/registry/registry.h"
#include "machinery/object/go_text.h"
#include "machinery/object/meta.h"
#include "machinery/ops/validation.h"

namespace apiserver::admission {

namespace {

namespace object = machinery::object;
using machinery::value::Value;
using object::GoQuote;

constexpr std::string_view kMirror = "kubernetes.io/config.mirror";

// --- labels of nodes ---

bool InDomain(std::string_view prefix, std::string_view domain) {
  return prefix == domain || (prefix.size() > domain.size() && prefix.ends_with(domain) &&
                              prefix[prefix.size() - domain.size() - 1] == '.');
}

// Labels a kubelet may set although they stand under kubernetes.io.
bool KubeletLabel(const std::string& key, std::string_view prefix) {
  static const std::set<std::string, std::less<>> own = {
      "kubernetes.io/hostname",
      "topology.kubernetes.io/zone",
      "topology.kubernetes.io/region",
      "failure-domain.beta.kubernetes.io/zone",
      "failure-domain.beta.kubernetes.io/region",
      "beta.kubernetes.io/instance-type",
      "node.kubernetes.io/instance-type",
      "kubernetes.io/os",
      "kubernetes.io/arch",
      "beta.kubernetes.io/os",
      "beta.kubernetes.io/arch",
  };
  return own.contains(key) || InDomain(prefix, "kubelet.kubernetes.io") || InDomain(prefix, "node.kubernetes.io");
}

bool ForbiddenLabel(const std::string& key) {
  size_t slash = key.find('/');
  if (slash == key.npos) return false;
  std::string_view prefix = std::string_view(key).substr(0, slash);
  if (InDomain(prefix, "node-restriction.kubernetes.io")) return true;
  return (InDomain(prefix, "kubernetes.io") || InDomain(prefix, "k8s.io")) && !KubeletLabel(key, prefix);
}

// The forbidden ones among those that differ, "a, b".
std::string ForbiddenChanges(const Value& now, const Value& before) {
  std::set<std::string> keys;
  auto collect = [&](const Value& a, const Value& b) {
    if (!a.is_map()) return;
    for (const auto& e : a.map())
      if (b.At(e.key).is_null() || !(b.At(e.key) == e.value)) keys.insert(e.key);
  };
  collect(now, before);
  collect(before, now);
  std::string out;
  for (const auto& key : keys)
    if (ForbiddenLabel(key)) out += (out.empty() ? "" : ", ") + key;
  return out;
}

class NodeRestriction final : public Plugin {
 public:
  explicit NodeRestriction(const Environment& env) : registry_(*env.registry) {}
  bool Handles(Operation op) const override { return op != Operation::kConnect; }

  base::Task<base::Status> Admit(base::Context, Attributes& a) override {
    std::string node;
    if (!a.request || !auth::NodeOf(a.request->identity, &node)) co_return base::Ok();
    if (node.empty()) co_return Forbid(a, "could not determine node from user " + GoQuote(a.request->identity.name));
    if (a.IsResource("", "pods")) co_return Pods(node, a);
    if (a.IsResource("", "nodes")) co_return Nodes(node, a);
    if (a.IsResource("", "serviceaccounts") && a.subresource == "token") co_return Token(node, a);
    if (a.IsResource("coordination.k8s.io", "leases")) co_return Lease(node, a);
    if (a.IsResource("storage.k8s.io", "csinodes")) co_return Csi(node, a);
    co_return base::Ok();
  }

 private:
  static std::string NodeNameOf(const Value& pod) { return std::string(pod.At("spec", "nodeName").string_or()); }

  base::Status Pods(const std::string& node, const Attributes& a) {
    if (a.subresource == "status") {
      if (a.operation != Operation::kUpdate) return Unexpected(a);
      if (NodeNameOf(*a.old_object) != node)
        return Forbid(
            a, "node " + GoQuote(node) + " can only update pod status for pods with spec.nodeName set to itself");
      if (!(object::LabelsOf(*a.old_object) == object::LabelsOf(*a.object)))
        return Forbid(a, "node " + GoQuote(node) + " cannot update labels through pod status");
      return base::Ok();
    }
    if (a.subresource == "eviction") return Eviction(node, a);
    if (!a.subresource.empty()) return Forbid(a, "unexpected pod subresource " + GoQuote(a.subresource));
    if (a.operation == Operation::kCreate) return CreatePod(node, a);
    if (a.operation == Operation::kDelete) {
      if (a.old_object && NodeNameOf(*a.old_object) != node)
        return Forbid(a, "node " + GoQuote(node) + " can only delete pods with spec.nodeName set to itself");
      return base::Ok();
    }
    return Unexpected(a);
  }

  static base::Status Unexpected(const Attributes& a) {
    return Forbid(a, "unexpected operation " + GoQuote(OperationName(a.operation)));
  }

  base::Status CreatePod(const std::string& node, const Attributes& a) {
    const Value& pod = *a.object;
    if (!object::AnnotationsOf(pod).At(kMirror).is_string())
      return Forbid(a, "pod does not have " + GoQuote(kMirror) + " annotation, node " + GoQuote(node) +
                           " can only create mirror pods");
    if (NodeNameOf(pod) != node)
      return Forbid(a, "node " + GoQuote(node) + " can only create pods with spec.nodeName set to itself");
    const Value& owners = object::OwnerReferencesOf(pod);
    if (owners.is_list() && owners.list().size() > 1)
      return Forbid(a, "node " + GoQuote(node) + " can only create pods with a single owner reference set to itself");
    if (owners.is_list() && owners.list().size() == 1) {
      const Value& o = owners.list()[0];
      if (o.At("apiVersion").string_or() != "v1" || o.At("kind").string_or() != "Node" ||
          o.At("name").string_or() != node)
        return Forbid(a, "node " + GoQuote(node) + " can only create pods with an owner reference set to itself");
      auto* store = registry_.FindStore("", "nodes");
      auto found = store ? store->Cached("", node) : nullptr;
      if (found && object::UidOf(found->Tree()) != o.At("uid").string_or())
        return Forbid(a, "node " + GoQuote(node) + " UID mismatch: expected " +
                             std::string(object::UidOf(found->Tree())) + " got " +
                             std::string(o.At("uid").string_or()));
    }
    // A mirror pod must not give the node access to objects it had none to.
    if (!pod.At("spec", "serviceAccountName").string_or().empty())
      return Forbid(a, "node " + GoQuote(node) + " can not create pods that reference a service account");
    for (const auto& reference : auth::ReferencesOf(pod)) {
      std::string resource = reference.substr(0, reference.find('/'));
      return Forbid(a, "node " + GoQuote(node) + " can not create pods that reference " + resource);
    }
    return base::Ok();
  }

  base::Status Eviction(const std::string& node, const Attributes& a) {
    if (a.operation != Operation::kCreate) return Unexpected(a);
    auto* store = registry_.FindStore("", "pods");
    auto pod = store ? store->Cached(a.namespace_name, a.name) : nullptr;
    if (pod && NodeNameOf(pod->Tree()) != node)
      return Forbid(a, "node " + node + " can only evict pods with spec.nodeName set to itself");
    return base::Ok();
  }

  static base::Status Nodes(const std::string& node, const Attributes& a) {
    if (a.name != node) return Forbid(a, "node " + GoQuote(node) + " is not allowed to modify node " + GoQuote(a.name));
    if (a.operation == Operation::kCreate) {
      auto labels = ForbiddenChanges(object::LabelsOf(*a.object), Value::Null());
      if (!labels.empty())
        return Forbid(a, "node " + GoQuote(node) + " is not allowed to set the following labels: " + labels);
      return base::Ok();
    }
    if (a.operation != Operation::kUpdate) return base::Ok();
    // No taints and an empty list of them are the same.
    using machinery::ops::SemanticEqual;
    if (!SemanticEqual(a.object->At("spec", "taints"), a.old_object->At("spec", "taints")))
      return Forbid(a, "node " + GoQuote(node) + " is not allowed to modify taints");
    if (!SemanticEqual(object::OwnerReferencesOf(*a.object), object::OwnerReferencesOf(*a.old_object)))
      return Forbid(a, "node " + GoQuote(node) + " is not allowed to modify ownerReferences");
    auto labels = ForbiddenChanges(object::LabelsOf(*a.object), object::LabelsOf(*a.old_object));
    if (!labels.empty()) return Forbid(a, "is not allowed to modify labels: " + labels);
    return base::Ok();
  }

  base::Status Token(const std::string& node, const Attributes& a) {
    const Value& ref = a.object->At("spec", "boundObjectRef");
    std::string pod_name(ref.At("name").string_or()), uid(ref.At("uid").string_or());
    if (ref.At("apiVersion").string_or() != "v1" || ref.At("kind").string_or() != "Pod" || pod_name.empty())
      return Forbid(a, "node requested token not bound to a pod");
    if (uid.empty()) return Forbid(a, "node requested token with a pod binding without a uid");
    auto* store = registry_.FindStore("", "pods");
    auto pod = store ? store->Cached(a.namespace_name, pod_name) : nullptr;
    if (!pod) return object::NotFound({"", "pods"}, pod_name);
    Value tree = pod->Tree();
    if (object::UidOf(tree) != uid)
      return Forbid(a, "the UID in the bound object reference (" + uid + ") does not match the UID in record (" +
                           std::string(object::UidOf(tree)) +
                           "). The object might have been deleted and then recreated");
    if (NodeNameOf(tree) != node) return Forbid(a, "node requested token bound to a pod scheduled on a different node");
    auto audiences = object::StringsOf(a.object->At("spec", "audiences"));
    return audiences.size() > 1 ? Forbid(a, "node may only request 0 or 1 audiences") : base::Ok();
  }

  static base::Status Lease(const std::string& node, const Attributes& a) {
    if (a.namespace_name != "kube-node-lease")
      return Forbid(a, "can only access leases in the " + GoQuote("kube-node-lease") + " system namespace");
    bool create = a.operation == Operation::kCreate;
    std::string name = create ? std::string(object::NameOf(*a.object)) : a.name;
    if (name != node) return Forbid(a, "can only access node lease with the same name as the requesting node");
    return base::Ok();
  }

  static base::Status Csi(const std::string& node, const Attributes& a) {
    bool create = a.operation == Operation::kCreate;
    std::string name = create ? std::string(object::NameOf(*a.object)) : a.name;
    if (name != node) return Forbid(a, "can only access CSINode with the same name as the requesting node");
    return base::Ok();
  }

  registry::Registry& registry_;
};

}  // namespace

std::unique_ptr<Plugin> NewNodeRestriction(const Environment& env) { return std::make_unique<NodeRestriction>(env); }

}  // namespace apiserver::admission
