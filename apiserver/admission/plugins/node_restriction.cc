// What a kubelet may write: its own Node, Lease, CSINode and ResourceSlices, the status of its pods and the sizes of
// their claims, mirror pods, evictions of its pods, tokens for the accounts of its pods and requests for certificates.
// The node authorizer has let the request through to here by its kind alone.
#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "apiserver/admission/plugin.h"
#include "apiserver/auth/node_authorizer.h"
#include "apiserver/auth/question.h"
#include "apiserver/registry/registry.h"
#include "base/bytes.h"
#include "base/net/certificate_request.h"
#include "machinery/object/go_text.h"
#include "machinery/object/meta.h"
#include "machinery/ops/validation.h"

namespace apiserver::admission {

namespace {

namespace object = machinery::object;
using machinery::ops::SemanticEqual;
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

// --- what a mirror pod must not name ---

// The kind of object that a volume would give its node access to ("" = none). What is not known is not let through.
std::string NamedByVolume(const Value& volume) {
  static constexpr std::string_view kHarmless[] = {"awsElasticBlockStore",
                                                   "azureDisk",
                                                   "cephfs",
                                                   "cinder",
                                                   "downwardAPI",
                                                   "emptyDir",
                                                   "fc",
                                                   "flexVolume",
                                                   "flocker",
                                                   "gcePersistentDisk",
                                                   "gitRepo",
                                                   "hostPath",
                                                   "image",
                                                   "iscsi",
                                                   "nfs",
                                                   "photonPersistentDisk",
                                                   "portworxVolume",
                                                   "quobyte",
                                                   "rbd",
                                                   "scaleIO",
                                                   "storageos",
                                                   "vsphereVolume"};
  for (std::string_view kind : kHarmless)
    if (volume.At(kind).is_map()) return {};
  static constexpr std::pair<std::string_view, const char*> kNaming[] = {
      {"configMap", "configmaps (via configmap volumes)"},
      {"secret", "secrets (via secret volumes)"},
      {"csi", "csidrivers (via CSI volumes)"},
      {"glusterfs", "endpoints (via glusterFS volumes)"},
      {"persistentVolumeClaim", "persistentvolumeclaims"},
      {"ephemeral", "persistentvolumeclaims (via ephemeral volumes)"},
      {"azureFile", "secrets (via azureFile volumes)"}};
  for (const auto& [kind, what] : kNaming)
    if (volume.At(kind).is_map()) return what;
  if (!volume.At("projected").is_map()) return "objects of an unknown kind";
  static constexpr std::pair<std::string_view, const char*> kSources[] = {
      {"configMap", "configmaps (via projected volumes)"},
      {"secret", "secrets (via projected volumes)"},
      {"serviceAccountToken", "serviceaccounts (via projected volumes)"},
      {"clusterTrustBundle", "clustertrustbundles"},
      {"podCertificate", "podcertificates"}};
  std::string found;
  Each(volume.At("projected", "sources"), [&](const Value& source) {
    for (const auto& [kind, what] : kSources)
      if (found.empty() && source.At(kind).is_map()) found = what;
    if (found.empty() && !source.At("downwardAPI").is_map()) found = "objects of an unknown kind";
  });
  return found;
}

std::string NamedBy(const Value& pod) {
  const Value& spec = pod.At("spec");
  if (!spec.At("serviceAccountName").string_or().empty()) return "serviceaccounts";
  for (const char* resource : {"secrets", "configmaps"})
    for (const auto& reference : auth::ReferencesOf(pod))
      if (reference.starts_with(std::string(resource) + "/")) return resource;
  if (const Value& claims = spec.At("resourceClaims"); claims.is_list() && !claims.list().empty())
    return "resourceclaims";
  std::string found;
  Each(spec.At("volumes"), [&](const Value& v) {
    if (found.empty()) found = NamedByVolume(v);
  });
  return found;
}

class NodeRestriction final : public Plugin {
 public:
  explicit NodeRestriction(const Environment& env) : registry_(*env.registry), authorizer_(env.authorizer) {}
  bool Handles(Operation op) const override { return op != Operation::kConnect; }

  base::Task<base::Status> Admit(base::Context, Attributes& a) override {
    std::string node;
    if (!a.request || !auth::NodeOf(a.request->identity, &node)) co_return base::Ok();
    if (node.empty()) co_return Forbid(a, "could not determine node from user " + GoQuote(a.request->identity.name));
    if (a.IsResource("", "pods")) co_return Pods(node, a);
    if (a.IsResource("", "nodes")) co_return Nodes(node, a);
    if (a.IsResource("", "persistentvolumeclaims")) co_return ClaimStatus(node, a);
    if (a.IsResource("", "serviceaccounts") && a.subresource == "token" && a.operation == Operation::kCreate)
      co_return Token(node, a);
    if (a.IsResource("coordination.k8s.io", "leases")) co_return Lease(node, a);
    if (a.IsResource("storage.k8s.io", "csinodes")) co_return Csi(node, a);
    if (a.IsResource("resource.k8s.io", "resourceslices")) co_return Slice(node, a);
    if (a.IsResource("certificates.k8s.io", "certificatesigningrequests")) co_return SigningRequest(node, a);
    if (a.IsResource("certificates.k8s.io", "podcertificaterequests"))
      co_return Forbid(a, "PodCertificateRequest feature gate is disabled");
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
      const Value &was = a.old_object->At("status"), &now = a.object->At("status");
      if (!SemanticEqual(was.At("resourceClaimStatuses"), now.At("resourceClaimStatuses")))
        return Forbid(a, "node " + GoQuote(node) + " cannot update resource claim statues");
      if (!SemanticEqual(was.At("extendedResourceClaimStatus"), now.At("extendedResourceClaimStatus")))
        return Forbid(a, "node " + GoQuote(node) + " cannot update extended resource claim status");
      return base::Ok();
    }
    if (a.subresource == "eviction") return Eviction(node, a);
    if (!a.subresource.empty())
      return Forbid(
          a, "unexpected pod subresource " + GoQuote(a.subresource) + ", only 'status' and 'eviction' are allowed");
    if (a.operation == Operation::kCreate) return CreatePod(node, a);
    if (a.operation == Operation::kDelete) {
      if (a.old_object && NodeNameOf(*a.old_object) != node)
        return Forbid(a, "node " + GoQuote(node) + " can only delete pods with spec.nodeName set to itself");
      return base::Ok();
    }
    return Forbid(a, "unexpected operation " + GoQuote(OperationName(a.operation)) + ", node " + GoQuote(node) +
                         " can only create and delete mirror pods");
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
    TRY(Owner(node, a));
    // A mirror pod must not give the node access to objects it had none to.
    if (std::string what = NamedBy(pod); !what.empty())
      return Forbid(a, "node " + GoQuote(node) + " can not create pods that reference " + what);
    return base::Ok();
  }

  // A mirror pod belongs to its node, so that it goes when the node goes.
  base::Status Owner(const std::string& node, const Attributes& a) {
    const Value& owners = object::OwnerReferencesOf(*a.object);
    const std::string may = "node " + GoQuote(node) + " can only create pods with ";
    size_t count = owners.is_list() ? owners.list().size() : 0;
    if (count > 1) return Forbid(a, may + "a single owner reference set to itself");
    if (count == 0) return Forbid(a, may + "an owner reference set to itself");
    const Value& o = owners.list()[0];
    if (o.At("apiVersion").string_or() != "v1" || o.At("kind").string_or() != "Node" ||
        o.At("name").string_or() != node)
      return Forbid(a, may + "an owner reference set to itself");
    if (!o.At("controller").bool_or()) return Forbid(a, may + "a controller owner reference set to itself");
    if (o.At("blockOwnerDeletion").bool_or())
      return Forbid(a, "node " + GoQuote(node) + " must not set blockOwnerDeletion on an owner reference");
    auto* store = registry_.FindStore("", "nodes");
    auto found = store ? store->Cached("", node) : nullptr;
    if (!found) return object::NotFound({"", "nodes"}, node);
    std::string have(object::UidOf(found->Tree())), given(o.At("uid").string_or());
    if (have != given) return Forbid(a, "node " + node + " UID mismatch: expected " + given + " got " + have);
    return base::Ok();
  }

  base::Status Eviction(const std::string& node, const Attributes& a) {
    if (a.operation != Operation::kCreate)
      return Forbid(a, "unexpected operation " + std::string(OperationName(a.operation)));
    std::string name = a.name.empty() && a.object ? std::string(object::NameOf(*a.object)) : a.name;
    if (name.empty()) return Forbid(a, "could not determine pod from request data");
    auto* store = registry_.FindStore("", "pods");
    auto pod = store ? store->Cached(a.namespace_name, name) : nullptr;
    if (!pod) return object::NotFound({"", "pods"}, name);
    if (NodeNameOf(pod->Tree()) != node)
      return Forbid(a, "node " + node + " can only evict pods with spec.nodeName set to itself");
    return base::Ok();
  }

  static base::Status Nodes(const std::string& node, const Attributes& a) {
    if (a.name != node) return Forbid(a, "node " + GoQuote(node) + " is not allowed to modify node " + GoQuote(a.name));
    if (a.operation == Operation::kCreate) {
      // What a node's spec names, the node may read.
      if (!a.object->At("spec", "configSource").is_null())
        return Forbid(a, "node " + GoQuote(node) + " is not allowed to create pods with a non-nil configSource");
      auto labels = ForbiddenChanges(object::LabelsOf(*a.object), Value::Null());
      if (!labels.empty())
        return Forbid(a, "node " + GoQuote(node) + " is not allowed to set the following labels: " + labels);
      return base::Ok();
    }
    if (a.operation != Operation::kUpdate) return base::Ok();
    const Value& source = a.object->At("spec", "configSource");
    if (!source.is_null() && !SemanticEqual(source, a.old_object->At("spec", "configSource")))
      return Forbid(a,
                    "node " + GoQuote(node) + " is not allowed to update configSource to a new non-nil configSource");
    // No taints and an empty list of them are the same.
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
      return Forbid(a, "the UID in the bound object reference (" + uid +
                           ") does not match the UID in record. The object might have been deleted and then recreated");
    if (NodeNameOf(tree) != node) return Forbid(a, "node requested token bound to a pod scheduled on a different node");
    return Audience(a, tree);
  }

  // A token is for an audience that a volume of the pod asks for, or one that the node was allowed by name.
  base::Status Audience(const Attributes& a, const Value& pod) {
    auto audiences = object::StringsOf(a.object->At("spec", "audiences"));
    if (audiences.size() > 1) return Forbid(a, "node may only request 0 or 1 audiences");
    std::string audience = audiences.empty() ? "" : audiences[0], trouble;
    bool found = false;
    Each(pod.At("spec", "volumes"), [&](const Value& v) {
      Each(v.At("projected", "sources"), [&](const Value& s) {
        const Value& token = s.At("serviceAccountToken");
        found |= token.is_map() && token.At("audience").string_or() == audience;
      });
      auto driver = DriverOf(a.namespace_name, pod, v);
      if (!driver)
        trouble = driver.error().message();
      else if (!driver->empty())
        found |= DriverWants(*driver, audience, trouble);
    });
    if (found) return base::Ok();
    if (!trouble.empty()) return Forbid(a, "error validating audience " + GoQuote(audience) + ": " + trouble);
    auth::Attributes q{.verb = "request-serviceaccounts-token-audience",
                       .group = "",
                       .version = "v1",
                       .resource = audience,
                       .namespace_name = a.namespace_name,
                       .name = a.name};
    if (authorizer_ && auth::MayAlso(authorizer_, a.request, q)) return base::Ok();
    return Forbid(a, "audience " + GoQuote(audience) + " not found in pod spec volume, " + a.request->identity.name +
                         " is not authorized to request tokens for this audience");
  }

  std::optional<Value> Find(std::string_view group, std::string_view resource, const std::string& ns,
                            const std::string& name) {
    auto* store = registry_.FindStore(group, resource);
    auto found = store ? store->Cached(ns, name) : nullptr;
    if (!found) return std::nullopt;
    return found->Tree();
  }

  // The CSI driver behind a volume of a pod; "" = none.
  base::Result<std::string> DriverOf(const std::string& ns, const Value& pod, const Value& volume) {
    if (volume.At("csi").is_map()) return std::string(volume.At("csi", "driver").string_or());
    std::string claim(volume.At("persistentVolumeClaim", "claimName").string_or());
    if (volume.At("ephemeral", "volumeClaimTemplate").is_map())
      claim = std::string(object::NameOf(pod)) + "-" + std::string(volume.At("name").string_or());
    if (claim.empty()) return std::string();
    auto found = Find("", "persistentvolumeclaims", ns, claim);
    if (!found) return base::Err(object::NotFound({"", "persistentvolumeclaim"}, claim));
    std::string name(found->At("spec", "volumeName").string_or());
    auto bound = Find("", "persistentvolumes", "", name);
    if (!bound) return base::Err(object::NotFound({"", "persistentvolume"}, name));
    return std::string(bound->At("spec", "csi", "driver").string_or());
  }

  bool DriverWants(const std::string& name, const std::string& audience, std::string& trouble) {
    auto driver = Find("storage.k8s.io", "csidrivers", "", name);
    if (!driver) trouble = object::NotFound({"storage.k8s.io", "csidriver"}, name).message();
    bool wants = false;
    if (driver)
      Each(driver->At("spec", "tokenRequests"),
           [&](const Value& t) { wants |= t.At("audience").string_or() == audience; });
    return wants;
  }

  // Of a claim a node writes how large its volume has become, nothing else.
  static base::Status ClaimStatus(const std::string& node, const Attributes& a) {
    if (a.subresource != "status") return Forbid(a, "may only update PVC status");
    if (a.operation != Operation::kUpdate) return Unexpected(a);
    auto rest = [](const Value& claim) {
      Value out = claim;
      for (const char* field : {"resourceVersion", "managedFields"}) object::SetMeta(out, field, nullptr);
      if (out.At("status").is_map())
        for (const char* field : {"capacity", "conditions", "allocatedResourceStatuses", "allocatedResources"})
          out.Ensure("status").Remove(field);
      return out;
    };
    if (SemanticEqual(rest(*a.old_object), rest(*a.object))) return base::Ok();
    return Forbid(a, "node " + GoQuote(node) +
                         " is not allowed to update fields other than status.quantity and status.conditions");
  }

  static base::Status Slice(const std::string& node, const Attributes& a) {
    const Value* slice = a.operation == Operation::kCreate   ? a.object
                         : a.operation == Operation::kDelete ? a.old_object
                                                             : nullptr;
    if (!slice || slice->At("spec", "nodeName").string_or() == node) return base::Ok();
    return Forbid(a, std::string("can only ") + (a.operation == Operation::kCreate ? "create" : "delete") +
                         " ResourceSlice with the same NodeName as the requesting node");
  }

  // Signers look at the rest; whose certificate it is they cannot know.
  static base::Status SigningRequest(const std::string& node, const Attributes& a) {
    if (a.operation != Operation::kCreate) return base::Ok();
    std::string_view signer = a.object->At("spec", "signerName").string_or();
    if (signer != "kubernetes.io/kubelet-serving" && signer != "kubernetes.io/kube-apiserver-client-kubelet")
      return base::Ok();
    auto pem = base::Base64Decode(a.object->At("spec", "request").string_or());
    auto subject = base::net::ReadCertificateRequest(pem ? *pem : std::string());
    if (!subject) return Forbid(a, "unable to parse csr: " + std::string(subject.error().message()));
    if (subject->common_name != "system:node:" + node)
      return Forbid(a, "can only create a node CSR with CN=system:node:" + node);
    return base::Ok();
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
  auth::Authorizer* authorizer_;
};

}  // namespace

std::unique_ptr<Plugin> NewNodeRestriction(const Environment& env) { return std::make_unique<NodeRestriction>(env); }

}  // namespace apiserver::admission
