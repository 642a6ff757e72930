// OpenAPI documents made from the schema: /openapi/v2 (one document of everything), /openapi/v3 (an index) and
// /openapi/v3/<path> (one document per group version and a few more). Nothing is kept: a document is a few megabytes of
// text that almost nobody asks for, so the caller caches what it serves (by Hash, which changes when a document does).
//
// Borrowed schema, which must outlive it; immutable, thread-safe.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "machinery/schema/type.h"

namespace machinery::ops {

class OpenApi {
 public:
  // `served` picks the kinds that appear; `version` is info.version ("1.36").
  OpenApi(const schema::Schema& schema, std::function<bool(const schema::Kind&)> served, std::string version);

  // Paths below /openapi/v3/: "api", "api/v1", "apis", "apis/apps", "apis/apps/v1", "version", ...; sorted.
  std::vector<std::string> V3Paths() const;
  // {"paths": {"api/v1": {"serverRelativeURL": "/openapi/v3/api/v1?hash=..."}}}
  std::string V3Index() const;
  std::optional<std::string> V3(std::string_view path) const;
  std::string V2() const;
  // Upper-case hex; the same for equal documents.
  std::string Hash(std::string_view path) const;

 private:
  const schema::Schema& schema_;
  std::vector<const schema::Kind*> kinds_;  // served, by group, version and resource
  std::string version_;
};

}  // namespace machinery::ops
