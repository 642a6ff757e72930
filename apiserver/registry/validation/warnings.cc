// Which kind is warned of what; addresses, claims and Services. Pods and templates: warnings_pod.cc.
#include "apiserver/registry/validation/warnings.h"

#include <algorithm>

#include "apiserver/registry/validation/warn.h"
#include "base/strings.h"

namespace apiserver::registry::validation {
namespace {

using machinery::schema::Kind;

constexpr std::string_view kMetaNameUse = "which can result in surprising behavior; a DNS label is recommended: ";

// "[a b]", as Go prints a list of strings.
std::string Bracketed(const object::Reasons& reasons) { return "[" + base::Join(reasons, " ") + "]"; }

void WarnOfName(const Value& object, std::string_view used_in, Warnings& out) {
  auto reasons = object::IsDns1123Label(object::NameOf(object));
  if (reasons.empty()) return;
  out.Add("metadata.name: this is used in " + std::string(used_in) + ", " + std::string(kMetaNameUse) +
          Bracketed(reasons));
}

// Kinds whose pods carry their name.
bool NamesPods(const Kind& kind) {
  constexpr std::string_view kNaming[] = {"ReplicationController", "Deployment", "ReplicaSet", "Job", "CronJob"};
  return std::find(std::begin(kNaming), std::end(kNaming), kind.kind) != std::end(kNaming);
}

void WarnOfJobSpec(const Value& spec, const std::string& path, Warnings& out) {
  constexpr int64_t kManyCompletions = 100'000, kMuchParallelism = 10'000;
  if (spec.At("completionMode").string_or() == "Indexed" && spec.At("completions").int_or() > kManyCompletions &&
      spec.At("parallelism").int_or() > kMuchParallelism)
    out.Add(path +
            ": In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, "
            "Kubernetes might not be able to track completedIndexes when a big number of indexes fail");
}

// What is said of a template again only when something in it may have changed.
bool IsNews(const Kind& kind, const Value& object, const Value& old) {
  if (kind.kind == "DaemonSet") return !(object.At("spec", "template") == old.At("spec", "template"));
  return object::GenerationOf(object) != object::GenerationOf(old);
}

void WarnOfWorkload(const Kind& kind, const Value& object, const Value* old, Warnings& out) {
  if (!old && NamesPods(kind)) WarnOfName(object, "Pod names and hostnames", out);
  if (!old || IsNews(kind, object, *old)) {
    if (kind.kind == "Job") WarnOfJobSpec(object.At("spec"), "spec", out);
    if (kind.kind == "CronJob") WarnOfJobSpec(object.At("spec", "jobTemplate", "spec"), "spec.jobTemplate.spec", out);
    PodAt at = PodOf(kind, object);
    WarnOfPod(*at.pod, at.path, out);
  }
  if (kind.kind == "CronJob" && old && object.At("spec", "schedule").string_or().find("TZ") != std::string_view::npos)
    out.Add(
        "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see "
        "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details");
  if (kind.kind != "StatefulSet") return;
  const List& claims = Items(object.At("spec", "volumeClaimTemplates"));
  for (size_t i = 0; i < claims.size(); ++i) {
    std::string at = Index("spec.volumeClaimTemplates", i);
    WarnOfClaimSpec(claims[i].At("spec"), old ? Child(at, "Spec") : at, out);
  }
  if (object.At("spec", "revisionHistoryLimit").int_or() < 0)
    out.Add(
        "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended");
}

void WarnOfClaim(const Value& claim, Warnings& out) {
  constexpr std::string_view kOldClass = "volume.beta.kubernetes.io/storage-class";
  if (object::AnnotationsOf(claim).At(kOldClass).is_string())
    out.Add(Key("metadata.annotations", kOldClass) +
            ": deprecated since v1.8; use \"storageClassName\" attribute instead");
  WarnOfClaimSpec(claim.At("spec"), "spec", out);
}

void WarnOfVolume(const Value& volume, Warnings& out) {
  const Value& annotations = object::AnnotationsOf(volume);
  for (auto [key, advice] : {std::pair{"volume.beta.kubernetes.io/storage-class",
                                       "deprecated since v1.8; use \"storageClassName\" attribute instead"},
                             std::pair{"volume.beta.kubernetes.io/mount-options",
                                       "deprecated since v1.31; use \"mountOptions\" attribute instead"}})
    if (annotations.At(key).is_string()) out.Add(Key("metadata.annotations", key) + ": " + advice);
  const Value& spec = volume.At("spec");
  if (spec.At("persistentVolumeReclaimPolicy").string_or() == "Recycle")
    out.Add(
        "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended "
        "approach is to use dynamic provisioning.");
  const List& terms = Items(spec.At("nodeAffinity", "required", "nodeSelectorTerms"));
  for (size_t i = 0; i < terms.size(); ++i)
    WarnOfNodeTerm(terms[i], false, Index("spec.nodeAffinity.required.nodeSelectorTerms", i), out);
}

}  // namespace

void WarnOfFraction(const Value& amount, const std::string& path, Warnings& out) {
  if (!amount.is_string()) return;
  auto q = object::Quantity::Parse(amount.as_string());
  if (!q || q->MilliValue() % 1000 == 0) return;
  out.Add(path + ": fractional byte value " + object::GoQuote(amount.as_string()) + " is invalid, must be an integer");
}

void WarnOfClaimSpec(const Value& spec, const std::string& path, Warnings& out) {
  for (const char* which : {"requests", "limits"})
    WarnOfFraction(spec.At("resources", which, "storage"), Key(Child(path, "resources", which), "storage"), out);
}

void WarnOfIp(const std::string& path, std::string_view text, Warnings& out) {
  auto ip = object::ParseIp(text);
  if (!ip) return;
  std::string canonical = ip->ToString(), quoted = object::GoQuote(text);
  if (ip->leading_zero || ip->mapped)
    out.Add(path + ": non-standard IP address " + quoted + " is invalid: use " + object::GoQuote(canonical));
  else if (!ip->v4 && canonical != text)
    out.Add(path + ": IPv6 address " + quoted + " should be in RFC 5952 canonical format (" +
            object::GoQuote(canonical) + ")");
}

void WarnOfCidr(const std::string& path, std::string_view text, Warnings& out) {
  auto cidr = object::ParseCidr(text);
  if (!cidr) return;
  std::string network = cidr->ToString(), quoted = object::GoQuote(text);
  bool said = false;
  if (!(cidr->address == cidr->Masked())) {
    std::string single = cidr->address.ToString() + (cidr->address.v4 ? "/32" : "/128");
    out.Add(path + ": CIDR value " + quoted + " is ambiguous in this context (should be " + object::GoQuote(network) +
            " or " + object::GoQuote(single) + "?)");
    said = true;
  }
  if (cidr->leading_zero || cidr->address.mapped) {
    out.Add(path + ": non-standard CIDR value " + quoted + " is invalid: use " + object::GoQuote(network));
    said = true;
  }
  if (!said && !cidr->address.v4 && network != text)
    out.Add(path + ": IPv6 CIDR value " + quoted + " should be in RFC 5952 canonical format (" +
            object::GoQuote(network) + ")");
}

void WarnOfService(const Value& service, Warnings& out) {
  const Value& spec = service.At("spec");
  std::string_view type = spec.At("type").string_or(), ip = spec.At("clusterIP").string_or();
  bool headless = type == "ClusterIP" && ip == "None";
  if (object::AnnotationsOf(service).At("service.kubernetes.io/topology-aware-hints").is_string())
    out.Add(
        "annotation service.kubernetes.io/topology-aware-hints is deprecated, please use "
        "service.kubernetes.io/topology-mode instead");
  auto each_ip = [&](const char* field) {
    const List& ips = Items(spec.At(field));
    for (size_t i = 0; i < ips.size(); ++i) WarnOfIp(Index(Child("spec", field), i), ips[i].string_or(), out);
  };
  if (type != "ExternalName" && !ip.empty() && ip != "None") each_ip("clusterIPs");
  size_t external = Size(spec.At("externalIPs"));
  if (headless) {
    if (!NoText(spec.At("loadBalancerIP"))) out.Add("spec.loadBalancerIP is ignored for headless services");
    if (external > 0) out.Add("spec.externalIPs is ignored for headless services");
    if (spec.At("sessionAffinity").string_or() != "None")
      out.Add("spec.SessionAffinity is ignored for headless services");
  }
  each_ip("externalIPs");
  if (external > 0 && !headless && type != "ExternalName")
    out.Add("spec.externalIPs is deprecated and may no longer be implemented in some clusters");
  WarnOfIp("spec.loadBalancerIP", spec.At("loadBalancerIP").string_or(), out);
  const List& ranges = Items(spec.At("loadBalancerSourceRanges"));
  for (size_t i = 0; i < ranges.size(); ++i)
    WarnOfCidr(Index("spec.loadBalancerSourceRanges", i), ranges[i].string_or(), out);
  if (type == "ExternalName" && external > 0) out.Add("spec.externalIPs is ignored when spec.type is \"ExternalName\"");
  if (type != "ExternalName" && !NoText(spec.At("externalName")))
    out.Add("spec.externalName is ignored when spec.type is not \"ExternalName\"");
  if (spec.At("trafficDistribution").string_or() == "PreferClose")
    out.Add("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"");
}

std::vector<std::string> WarningsOf(const Kind& kind, const Value& object, const Value* old) {
  Warnings out;
  if (kind.group.empty() && kind.kind == "Pod") {
    // People seldom change pods themselves, and kubelets and controllers often do.
    if (old) return {};
    WarnOfName(object, "the Pod's hostname", out);
    WarnOfPod(object, "", out);
  } else if (kind.group.empty() && kind.kind == "Service") {
    WarnOfService(object, out);
  } else if (kind.group.empty() && kind.kind == "PersistentVolumeClaim") {
    WarnOfClaim(object, out);
  } else if (kind.group.empty() && kind.kind == "PersistentVolume") {
    WarnOfVolume(object, out);
  } else if (PodOf(kind, object).pod) {
    WarnOfWorkload(kind, object, old, out);
  }
  return out.Take();
}

}  // namespace apiserver::registry::validation
