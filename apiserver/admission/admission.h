// Admission: plug-ins that may change an object on its way in (Admit) or refuse it (Validate), in the original's order.
// One .cc per plug-in, one line in plugins.def. Run inside the registry's write path, on the server's loop; on a write
// conflict they run again with the fresh old object.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/context.h"
#include "base/task.h"
#include "machinery/request/request.h"
#include "machinery/schema/type.h"
#include "machinery/value/value.h"

namespace apiserver::registry {
class Registry;
}
namespace apiserver::auth {
class Authorizer;
}

namespace apiserver::admission {

enum class Operation : uint8_t { kCreate, kUpdate, kDelete, kConnect };
std::string_view OperationName(Operation op);  // "CREATE"

struct Attributes {
  Operation operation = Operation::kCreate;
  const machinery::request::Request* request = nullptr;  // identity, options, user agent
  const machinery::schema::Kind* kind = nullptr;         // the resource's kind in the request's version
  std::string group, resource, subresource;
  std::string namespace_name, name;                     // name may be "" (generateName)
  machinery::value::Value* object = nullptr;            // what comes in; null for delete (of the storage version)
  const machinery::value::Value* old_object = nullptr;  // null for create
  bool dry_run = false;
  std::vector<std::string>* warnings = nullptr;  // Warning headers
  bool IsResource(std::string_view g, std::string_view r) const { return group == g && resource == r; }
};

class Plugin {
 public:
  virtual ~Plugin() = default;
  virtual bool Handles(Operation op) const = 0;
  // May change *a.object. Default: nothing.
  virtual base::Task<base::Status> Admit(base::Context ctx, Attributes& a);
  // May not change anything. Default: nothing.
  virtual base::Task<base::Status> Validate(base::Context ctx, const Attributes& a);
};

// What plug-ins may use.
struct Environment {
  base::Executor* executor = nullptr;
  registry::Registry* registry = nullptr;
  auth::Authorizer* authorizer = nullptr;
};
using Factory = std::unique_ptr<Plugin> (*)(const Environment& env);
struct Registration {
  std::string_view name;
  Factory make;
  bool on_by_default;
};
// From plugins.def, in the order of facts/admission.tsv.
const std::vector<Registration>& Plugins();

class Chain {
 public:
  Chain() = default;
  // `enable` and `disable` as --enable-admission-plugins and --disable-admission-plugins; a name that the original
  // knows and we do not is an error when enabled explicitly.
  static base::Result<std::unique_ptr<Chain>> Make(const Environment& env, const std::vector<std::string>& enable,
                                                   const std::vector<std::string>& disable);
  base::Task<base::Status> Admit(base::Context ctx, Attributes& a);
  base::Task<base::Status> Validate(base::Context ctx, const Attributes& a);
  bool Handles(Operation op) const;

 private:
  std::vector<std::unique_ptr<Plugin>> plugins_;
};

}  // namespace apiserver::admission
