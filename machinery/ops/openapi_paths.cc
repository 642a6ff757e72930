#include "machinery/ops/openapi_paths.h"

#include <algorithm>

#include "base/strings.h"

namespace machinery::ops::openapi {
namespace {

using schema::Kind;
using schema::Subresource;
using schema::Type;
using Parameters = std::vector<Parameter>;
using Media = Operation::Media;

Parameter Query(const char* name, const char* type = "string") { return {name, "query", type}; }
Parameter InPath(const char* name) { return {name, "path", "string"}; }

Parameters operator+(Parameters a, const Parameters& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

const Parameters kPretty = {Query("pretty")};
const Parameters kSelect = {Query("continue"),
                            Query("fieldSelector"),
                            Query("labelSelector"),
                            Query("limit", "integer"),
                            Query("resourceVersion"),
                            Query("resourceVersionMatch"),
                            Query("sendInitialEvents", "boolean"),
                            Query("shardSelector"),
                            Query("timeoutSeconds", "integer")};
const Parameters kList =
    kPretty + kSelect + Parameters{Query("allowWatchBookmarks", "boolean"), Query("watch", "boolean")};
const Parameters kWrite = kPretty + Parameters{Query("dryRun"), Query("fieldManager"), Query("fieldValidation")};
const Parameters kPatch = kWrite + Parameters{Query("force", "boolean")};
const Parameters kDelete = kPretty + Parameters{Query("dryRun"), Query("gracePeriodSeconds", "integer"),
                                                Query("ignoreStoreReadErrorWithClusterBreakingPotential", "boolean"),
                                                Query("orphanDependents", "boolean"), Query("propagationPolicy")};
const Parameters kStreams = {Query("container"), Query("stderr", "boolean"), Query("stdin", "boolean"),
                             Query("stdout", "boolean"), Query("tty", "boolean")};
const Parameters kLog = kPretty + Parameters{Query("container"),
                                             Query("follow", "boolean"),
                                             Query("insecureSkipTLSVerifyBackend", "boolean"),
                                             Query("limitBytes", "integer"),
                                             Query("previous", "boolean"),
                                             Query("sinceSeconds", "integer"),
                                             Query("stream"),
                                             Query("tailLines", "integer"),
                                             Query("timestamps", "boolean")};

// Deleting one of these answers the object instead of a Status.
constexpr std::string_view kReturnDeleted[] = {"/Pod",
                                               "/PodTemplate",
                                               "/Service",
                                               "/ServiceAccount",
                                               "/ResourceQuota",
                                               "/PersistentVolume",
                                               "/PersistentVolumeClaim",
                                               "resource.k8s.io/DeviceClass",
                                               "resource.k8s.io/ResourceClaim",
                                               "resource.k8s.io/ResourceClaimTemplate",
                                               "resource.k8s.io/ResourceSlice",
                                               "storage.k8s.io/CSIDriver",
                                               "storage.k8s.io/CSINode",
                                               "storage.k8s.io/StorageClass",
                                               "storage.k8s.io/VolumeAttachment",
                                               "storage.k8s.io/VolumeAttributesClass"};

std::string Capital(std::string s) {
  if (!s.empty() && s[0] >= 'a' && s[0] <= 'z') s[0] = static_cast<char>(s[0] - 'a' + 'A');
  return s;
}

bool Has(const std::vector<std::string>& verbs, std::string_view verb) {
  return std::find(verbs.begin(), verbs.end(), verb) != verbs.end();
}

const Type* Meta(const schema::Schema& schema, const char* kind) {
  return schema.FindType("k8s.io.apimachinery.pkg.apis.meta.v1." + std::string(kind));
}

// Writes the paths of one kind.
class KindPaths {
 public:
  KindPaths(const schema::Schema& schema, const Kind& kind, std::vector<PathItem>& out)
      : schema_(schema), kind_(kind), out_(out) {
    root_ = kind.group.empty() ? "/api/v1" : "/apis/" + kind.group + "/" + kind.version;
    word_ = GroupWord(kind.group) + Capital(kind.version);
    name_word_ = (kind.namespaced ? "Namespaced" : "") + kind.kind;
    scope_ = kind.namespaced ? "/namespaces/{namespace}/" : "/";
    if (kind.namespaced) place_ = {InPath("namespace")};
  }

  void Write() {
    Collection();
    Item();
    for (const Subresource& s : kind_.subresources) Sub(s);
    Watches();
  }

 private:
  bool Verb(std::string_view v) const { return Has(kind_.verbs, v); }
  std::string Path(std::string_view rest) const { return root_ + scope_ + kind_.resource + std::string(rest); }

  Operation Make(std::string method, std::string id, std::string action, Parameters parameters) const {
    Operation op;
    op.method = std::move(method);
    op.id = std::move(id);
    op.action = std::move(action);
    op.tag = Tag(kind_.group, kind_.version);
    op.group = kind_.group;
    op.version = kind_.version;
    op.kind = kind_.kind;
    op.parameters = std::move(parameters);
    op.result = kind_.type;
    op.codes = {200, 401};
    return op;
  }
  Operation Write(std::string method, std::string id, const Type* body, Parameters place) const {
    bool post = method == "post";
    Operation op = Make(method, std::move(id), method, kWrite + place);
    op.body = op.result = body;
    op.codes = post ? std::vector<int>{200, 201, 202, 401} : std::vector<int>{200, 201, 401};
    return op;
  }
  Operation Patch(std::string id, const Type* result, Parameters place) const {
    Operation op = Make("patch", std::move(id), "patch", kPatch + place);
    op.body = Meta(schema_, "Patch");
    op.body_is_patch = true;
    op.result = result;
    op.codes = {200, 201, 401};
    return op;
  }
  Operation List(std::string id, Parameters place) const {
    Operation op = Make("get", std::move(id), "list", kList + place);
    op.result = kind_.list_type;
    op.media = Media::kList;
    return op;
  }
  Operation Delete(std::string id, std::string action, Parameters parameters) const {
    Operation op = Make("delete", std::move(id), std::move(action), std::move(parameters));
    op.body = Meta(schema_, "DeleteOptions");
    op.body_required = false;
    op.result = Meta(schema_, "Status");
    return op;
  }
  void Add(std::string path, std::vector<Operation> operations) {
    if (!operations.empty()) out_.push_back({std::move(path), std::move(operations)});
  }

  void Collection() {
    std::vector<Operation> ops;
    if (Verb("list")) ops.push_back(List("list" + word_ + name_word_, place_));
    if (Verb("create")) ops.push_back(Write("post", "create" + word_ + name_word_, kind_.type, place_));
    if (Verb("deletecollection")) {
      Parameters all = kDelete + kSelect + place_;
      ops.push_back(Delete("delete" + word_ + "Collection" + name_word_, "deletecollection", all));
    }
    Add(Path(""), std::move(ops));
    if (kind_.namespaced && Verb("list"))
      Add(root_ + "/" + kind_.resource, {List("list" + word_ + kind_.kind + "ForAllNamespaces", {})});
  }

  void Item() {
    Parameters place = place_ + Parameters{InPath("name")};
    std::vector<Operation> ops;
    if (Verb("get")) ops.push_back(Make("get", "read" + word_ + name_word_, "get", kPretty + place));
    if (Verb("update")) ops.push_back(Write("put", "replace" + word_ + name_word_, kind_.type, place));
    if (Verb("delete")) {
      Operation op = Delete("delete" + word_ + name_word_, "delete", kDelete + place);
      op.codes = {200, 202, 401};
      std::string key = kind_.group + "/" + kind_.kind;
      if (std::find(std::begin(kReturnDeleted), std::end(kReturnDeleted), key) != std::end(kReturnDeleted))
        op.result = kind_.type;
      ops.push_back(std::move(op));
    }
    if (Verb("patch")) ops.push_back(Patch("patch" + word_ + name_word_, kind_.type, place));
    Add(Path("/{name}"), std::move(ops));
  }

  void Sub(const Subresource& s) {
    if (s.name == "attach" || s.name == "exec" || s.name == "portforward" || s.name == "proxy") return Connect(s);
    std::string group = s.kind.empty() ? kind_.group : s.group, version = s.kind.empty() ? kind_.version : s.version;
    if (group.empty() && version.empty()) group = kind_.group, version = kind_.version;
    std::string kind = s.kind.empty() ? kind_.kind : s.kind;
    const Type* type = kind == kind_.kind ? kind_.type : schema_.FindObject(group, version, kind);
    std::string word = name_word_ + Capital(s.name);
    Parameters place = place_ + Parameters{InPath("name")};
    std::vector<Operation> ops;
    if (Has(s.verbs, "get")) ops.push_back(Make("get", "read" + word_ + word, "get", kPretty + place));
    if (Has(s.verbs, "update")) ops.push_back(Write("put", "replace" + word_ + word, type, place));
    if (Has(s.verbs, "create")) ops.push_back(Write("post", "create" + word_ + word, type, place));
    if (Has(s.verbs, "patch")) ops.push_back(Patch("patch" + word_ + word, type, place));
    for (Operation& op : ops) {
      op.group = group;
      op.version = version;
      op.kind = kind;
      if (op.method == "get") op.result = type;
      if (s.name != "log") continue;
      op.parameters = kLog + place;
      op.result = nullptr;
      op.media = Media::kLog;
    }
    Add(Path("/{name}/" + s.name), std::move(ops));
  }

  void Connect(const Subresource& s) {
    Parameters place = place_ + Parameters{InPath("name")};
    Parameters options = s.name == "proxy"         ? Parameters{Query("path")}
                         : s.name == "portforward" ? Parameters{Query("ports", "integer")}
                         : s.name == "exec"        ? kStreams + Parameters{Query("command")}
                                                   : kStreams;
    std::vector<const char*> methods = {"get", "post"};
    if (s.name == "proxy") methods = {"get", "put", "post", "delete", "options", "head", "patch"};
    for (bool with_path : {false, true}) {
      if (with_path && s.name != "proxy") break;
      std::vector<Operation> ops;
      for (const char* method : methods) {
        std::string id = "connect" + word_ + Capital(method) + name_word_ + Capital(s.name);
        Operation op = Make(method, id + (with_path ? "WithPath" : ""), "connect", options + place);
        if (with_path) op.parameters.push_back(InPath("path"));
        op.kind = s.kind;
        op.result = nullptr;
        op.media = Media::kText;
        ops.push_back(std::move(op));
      }
      Add(Path("/{name}/" + s.name + (with_path ? "/{path}" : "")), std::move(ops));
    }
  }

  Operation Watch(std::string id, std::string action, Parameters place) const {
    Operation op = Make("get", std::move(id), std::move(action), kList + place);
    op.result = Meta(schema_, "WatchEvent");
    op.media = Media::kList;
    return op;
  }
  void Watches() {
    if (!Verb("watch")) return;
    std::string root = root_ + "/watch";
    if (kind_.namespaced) {
      Add(root + "/" + kind_.resource, {Watch("watch" + word_ + kind_.kind + "ListForAllNamespaces", "watchlist", {})});
    }
    Add(root + scope_ + kind_.resource, {Watch("watch" + word_ + name_word_ + "List", "watchlist", place_)});
    Add(root + scope_ + kind_.resource + "/{name}",
        {Watch("watch" + word_ + name_word_, "watch", place_ + Parameters{InPath("name")})});
  }

  const schema::Schema& schema_;
  const Kind& kind_;
  std::vector<PathItem>& out_;
  std::string root_, word_, name_word_, scope_;
  Parameters place_;
};

PathItem Discovery(std::string path, std::string id, std::string tag, const Type* result) {
  Operation op;
  op.method = "get";
  op.id = std::move(id);
  op.tag = std::move(tag);
  op.result = result;
  op.codes = {200, 401};
  op.media = Media::kDiscovery;
  return {std::move(path), {std::move(op)}};
}

}  // namespace

std::string GroupWord(std::string_view group) {
  if (group.empty()) return "Core";
  if (group.ends_with(".k8s.io")) group.remove_suffix(7);
  std::string word;
  for (const std::string& part : base::Split(group, '.')) word += Capital(part);
  return word;
}

std::string Tag(std::string_view group, std::string_view version) {
  std::string word = GroupWord(group);
  word[0] = static_cast<char>(word[0] - 'A' + 'a');
  return version.empty() ? word : word + "_" + std::string(version);
}

std::string DefinitionName(const Type& type) {
  std::string name = type.name;
  if (name.starts_with("k8s.io.")) name = "io.k8s." + name.substr(7);
  for (char& c : name)
    if (c == '_') c = '-';  // Go packages with dashes
  return name;
}

std::vector<PathItem> GroupVersionPaths(const schema::Schema& schema, const std::vector<const Kind*>& kinds) {
  std::vector<PathItem> items;
  const Kind& first = *kinds.front();
  std::string root = first.group.empty() ? "/api/v1/" : "/apis/" + first.group + "/" + first.version + "/";
  items.push_back(Discovery(root, "get" + GroupWord(first.group) + Capital(first.version) + "APIResources",
                            Tag(first.group, first.version), Meta(schema, "APIResourceList")));
  for (const Kind* kind : kinds) KindPaths(schema, *kind, items).Write();
  std::sort(items.begin(), items.end(), [](const PathItem& a, const PathItem& b) { return a.path < b.path; });
  return items;
}

std::vector<PathItem> PlainPaths(const schema::Schema& schema, std::string_view path) {
  if (path == "api") return {Discovery("/api/", "getCoreAPIVersions", "core", Meta(schema, "APIVersions"))};
  if (path == "apis") return {Discovery("/apis/", "getAPIVersions", "apis", Meta(schema, "APIGroupList"))};
  PathItem item;
  if (path == "version") {
    item = Discovery("/version/", "getCodeVersion", "version", schema.FindType("k8s.io.apimachinery.pkg.version.Info"));
    item.operations[0].media = Media::kJson;
  } else if (path == ".well-known/openid-configuration") {
    item = Discovery("/.well-known/openid-configuration/", "getServiceAccountIssuerOpenIDConfiguration", "WellKnown",
                     nullptr);
    item.operations[0].media = Media::kJson;
  } else if (path == "openid/v1/jwks") {
    item = Discovery("/openid/v1/jwks/", "getServiceAccountIssuerOpenIDKeyset", "openid", nullptr);
    item.operations[0].media = Media::kKeys;
  } else if (path.starts_with("apis/") && path.find('/', 5) == std::string_view::npos) {
    std::string group(path.substr(5));
    item = Discovery("/apis/" + group + "/", "get" + GroupWord(group) + "APIGroup", Tag(group, ""),
                     Meta(schema, "APIGroup"));
  } else {
    return {};
  }
  return {std::move(item)};
}

std::vector<Parameter> HoistParameters(PathItem& item) {
  std::vector<Parameter> common = item.operations.front().parameters;
  for (const Operation& op : item.operations) {
    std::erase_if(common, [&](const Parameter& p) {
      return std::find(op.parameters.begin(), op.parameters.end(), p) == op.parameters.end();
    });
  }
  for (Operation& op : item.operations) {
    std::erase_if(op.parameters,
                  [&](const Parameter& p) { return std::find(common.begin(), common.end(), p) != common.end(); });
    std::sort(op.parameters.begin(), op.parameters.end());
  }
  std::sort(common.begin(), common.end());
  return common;
}

}  // namespace machinery::ops::openapi
