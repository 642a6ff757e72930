// Content negotiation: what an Accept header picks among JSON, YAML and Protobuf, plain objects, Tables and metadata
// only. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace apiserver::chain {

enum class Media : uint8_t { kJson, kYaml, kProtobuf };
enum class As : uint8_t { kObject, kTable, kPartial };  // kPartial: PartialObjectMetadata or its list

struct Negotiated {
  Media media = Media::kJson;
  As as = As::kObject;
  std::string as_version = "v1";  // of meta.k8s.io: "v1" or "v1beta1"
  bool pretty = false;
  std::string content_type;  // of the answer
};

// What an endpoint can do beside plain objects.
struct Offer {
  bool list = false;
  bool transforms = true;  // Tables and metadata only
  bool watch = false;
};
// 406 when nothing fits.
base::Result<Negotiated> Negotiate(std::string_view accept, const Offer& offer);

// One clause of an Accept header.
struct AcceptClause {
  std::string type, subtype;
  double quality = 1;
  size_t place = 0;
  std::vector<std::pair<std::string, std::string>> parameters;
  std::string_view Parameter(std::string_view name) const;
};
// In order of preference.
std::vector<AcceptClause> ParseAccept(std::string_view accept);

}  // namespace apiserver::chain
