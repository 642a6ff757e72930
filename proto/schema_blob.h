// The whole Kubernetes schema as bytes: one serialized google.protobuf.FileDescriptorSet of every file under proto/k8s
// and all they import, in an order where imports come first, with keelson.options on messages and fields.
//
// Promises: the bytes live as long as the program and never change; messages and fields keep their doc comments as
// leading_comments of SourceCodeInfo (spans are zero), nothing else of the source survives.
// Thread-safe. Owner: proto/. Reading the bytes into types is machinery/schema's job.
#pragma once

#include <string_view>

namespace proto {

std::string_view SchemaBlob();

}  // namespace proto
