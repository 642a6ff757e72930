// helper: finds a back end by name.
#include "proxy/backends/backend.h"

namespace proxy::backends {

#define BACKEND(mode, constructor) std::unique_ptr<RuleBackend> constructor(const BackendOptions& options);
#include "proxy/backends.def"
#undef BACKEND

base::Result<std::unique_ptr<RuleBackend>> NewBackend(std::string_view mode, const BackendOptions& options) {
  std::string known;
#define BACKEND(name, constructor)               \
  if (mode == name) return constructor(options); \
  known.append(known.empty() ? "" : ", ").append(name);
#include "proxy/backends.def"
#undef BACKEND
  return base::Err(
      base::Unimplemented("proxy mode \"" + std::string(mode) + "\" is not supported yet; supported: " + known));
}

}  // namespace proxy::backends
