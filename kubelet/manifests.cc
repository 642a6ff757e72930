#include "kubelet/manifests.h"

#include <malloc.h>

#include "machinery/codec/codec.h"
#include "machinery/ops/defaulting.h"
#include "proto/schema_blob.h"

namespace kubelet {
namespace {

// Gives the schema's memory back to the system at once.
struct Trim {
  ~Trim() { malloc_trim(0); }
};

}  // namespace

base::Result<api::Pod> ParseManifest(const std::string& text) {
  Trim trim;
  auto schema = machinery::schema::Schema::FromDescriptors({proto::SchemaBlob()});
  const auto* type = schema->FindObject("", "v1", "Pod");
  CHECK(type);
  TRY_ASSIGN(auto tree, machinery::codec::DecodeYaml(*type, text));
  if (tree.At("kind").string_or() != "Pod" || tree.At("apiVersion").string_or() != "v1")
    return base::Err(base::InvalidArgument("a manifest must hold one v1 Pod"));
  machinery::ops::Defaulter defaulter(*schema);
  for (const auto& kind : schema->kinds())
    if (kind.group.empty() && kind.version == "v1" && kind.kind == "Pod") defaulter.Apply(kind, tree);
  api::Pod pod;
  if (!pod.ParseFromString(machinery::codec::EncodeProtobuf(*type, tree)))
    return base::Err(base::Internal("a manifest could not be turned into a pod"));
  if (pod.metadata().name().empty()) return base::Err(base::InvalidArgument("metadata.name: Required value"));
  if (pod.spec().containers().empty()) return base::Err(base::InvalidArgument("spec.containers: Required value"));
  return pod;
}

std::string PodListJson(const std::vector<PodPtr>& pods) {
  Trim trim;
  auto schema = machinery::schema::Schema::FromDescriptors({proto::SchemaBlob()});
  const auto* type = schema->FindObject("", "v1", "Pod");
  CHECK(type);
  std::string out = "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{},\"items\":[";
  for (size_t i = 0; i < pods.size(); ++i) {
    if (i) out += ',';
    (void)machinery::codec::TranscodeToJson(*type, pods[i]->SerializeAsString(), {}, out);
  }
  return out + "]}";
}

}  // namespace kubelet
