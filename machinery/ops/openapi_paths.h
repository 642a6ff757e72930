// The operations of an API as data, between kinds and documents: one list, written out as OpenAPI v2 or v3.
// Internal to openapi*.cc.
#pragma once

#include <string>
#include <vector>

#include "machinery/schema/type.h"

namespace machinery::ops::openapi {

struct Parameter {
  std::string name;
  std::string in = "query";  // or "path"
  std::string type = "string";
  friend auto operator<=>(const Parameter&, const Parameter&) = default;
};

struct Operation {
  std::string method;  // "get"
  std::string id, tag;
  std::string action;  // x-kubernetes-action, "" for discovery
  std::string group, version, kind;
  std::vector<Parameter> parameters;
  const schema::Type* body = nullptr;
  bool body_is_patch = false;
  bool body_required = true;
  std::vector<int> codes;
  const schema::Type* result = nullptr;  // nullptr: plain text
  enum class Media { kObject, kList, kText, kLog, kDiscovery, kJson, kKeys } media = Media::kObject;
};

struct PathItem {
  std::string path;
  std::vector<Operation> operations;
};

// "apps", "v1" -> "AppsV1"; "rbac.authorization.k8s.io" -> "RbacAuthorization"; tag "rbacAuthorization_v1".
std::string GroupWord(std::string_view group);
std::string Tag(std::string_view group, std::string_view version);

// All paths of one group version (its kinds given), sorted.
std::vector<PathItem> GroupVersionPaths(const schema::Schema& schema, const std::vector<const schema::Kind*>& kinds);
// Discovery of a group; of all groups; version and keys: whatever stands at one of V3Paths() without kinds.
std::vector<PathItem> PlainPaths(const schema::Schema& schema, std::string_view path);
// Parameters that all operations of a path share; they are taken out of the operations.
std::vector<Parameter> HoistParameters(PathItem& item);

// "k8s.io.api.apps.v1.Deployment" -> "io.k8s.api.apps.v1.Deployment".
std::string DefinitionName(const schema::Type& type);

}  // namespace machinery::ops::openapi
