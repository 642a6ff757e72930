// The types that the codec's fuzzers feed: between them they use every shape. For *_fuzz.cc.
#pragma once

#include "machinery/schema/type.h"
#include "proto/schema_blob.h"

namespace machinery::codec {

inline const schema::Type& FuzzType(uint8_t pick) {
  static const auto schema = schema::Schema::FromDescriptors({proto::SchemaBlob()});
  static const schema::Type* const types[] = {
      schema->FindObject("", "v1", "Pod"),
      schema->FindObject("apps", "v1", "Deployment"),
      schema->FindObject("", "v1", "Secret"),
      schema->FindObject("", "v1", "Event"),
      schema->FindObject("", "v1", "PersistentVolume"),
      schema->FindObject("apps", "v1", "ControllerRevision"),
      schema->FindObject("apiextensions.k8s.io", "v1", "CustomResourceDefinition"),
      schema->FindObject("authentication.k8s.io", "v1", "TokenReview"),
      schema->FindObject("coordination.k8s.io", "v1", "Lease"),
      schema->FindObject("resource.k8s.io", "v1", "ResourceSlice"),
      schema->FindObject("autoscaling", "v2", "HorizontalPodAutoscaler"),
      schema->FindObject("", "v1", "ServiceList"),
  };
  const schema::Type* type = types[pick % std::size(types)];
  CHECK(type);
  return *type;
}

}  // namespace machinery::codec
