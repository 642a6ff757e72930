// Bytes <-> tree, driven by Types alone: JSON, YAML and Kubernetes Protobuf. No per-kind code.
//
// Output is the original's, byte for byte: JSON fields in declaration order, map keys sorted, omitempty rules, Go's
// number and string texts; Protobuf fields ascending with the emission rules of Go's generated code; the k8s\0
// envelope. Hostile input (depth, size, bad UTF-8, truncated varints, huge counts) gives kInvalidArgument, never a
// crash, and memory in proportion to the input. Pure; thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "machinery/codec/envelope.h"
#include "machinery/schema/type.h"

namespace machinery::codec {

// What fieldValidation asks for: unknown and duplicate fields are listed with their paths.
struct DecodeReport {
  // In order found, as the original words them: `unknown field "spec.foo"`, `duplicate field "metadata.name"`.
  std::vector<std::string> problems;
};
struct DecodeOptions {
  DecodeReport* report = nullptr;  // null: unknown fields are dropped silently
  int max_depth = value::kMaxDepth;
};

// JSON text -> tree in schema order. Wrong types give the original's text: `json: cannot unmarshal string into Go
// struct field PodSpec.spec.hostNetwork of type bool`. kind and apiVersion stand first in the tree when present.
base::Result<value::Value> DecodeJson(const schema::Type& type, std::string_view text, const DecodeOptions& o = {});
// A schema-less tree (from JSON, YAML or a patch) -> canonical tree in schema order: same checks as DecodeJson.
base::Result<value::Value> Normalize(const schema::Type& type, const value::Value& raw, const DecodeOptions& o = {});
base::Result<value::Value> DecodeYaml(const schema::Type& type, std::string_view text, const DecodeOptions& o = {});
// Canonical JSON. `newline` as the original's encoder ends documents.
std::string EncodeJson(const schema::Type& type, const value::Value& v, bool pretty = false, bool newline = true);
void AppendJson(std::string& out, const schema::Type& type, const value::Value& v);

// A bare message (no envelope, no kind and apiVersion).
base::Result<value::Value> DecodeProtobuf(const schema::Type& type, std::string_view bytes);
std::string EncodeProtobuf(const schema::Type& type, const value::Value& v);

// Envelope and message at once; kind and apiVersion of the tree go into / come from the envelope.
std::string EncodeEnvelope(const schema::Type& type, const value::Value& v);
base::Result<value::Value> DecodeEnvelope(const schema::Type& type, std::string_view bytes);

// Straight from message bytes to canonical JSON text and without a tree: the hot path of lists and watches. `head`
// holds kind and apiVersion to print first ("" = none); `resource_version` replaces metadata.resourceVersion when not
// empty.
struct TranscodeOptions {
  std::string_view api_version, kind;
  std::string_view resource_version;
};
base::Status TranscodeToJson(const schema::Type& type, std::string_view message, const TranscodeOptions& o,
                             std::string& out);
// Message bytes with metadata.resourceVersion replaced by `resource_version` (metadata is field 1 of every object and
// resourceVersion field 6 of ObjectMeta), canonical bytes in and out.
base::Result<std::string> SpliceResourceVersion(std::string_view message, std::string_view resource_version);

}  // namespace machinery::codec
