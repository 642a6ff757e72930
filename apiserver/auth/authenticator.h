// Who asks. An Authenticator looks at what a request brought and says who it is, or that it cannot tell.
//
// Made at start from flags, asked by the chain's first step, on the server's loop.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/net/http.h"
#include "base/task.h"
#include "machinery/request/request.h"

namespace apiserver::auth {

struct Credentials {
  std::string bearer_token;                     // of Authorization: Bearer
  const base::net::Peer* peer = nullptr;        // the connection; null in-process
  const base::net::Headers* headers = nullptr;  // for the front proxy's headers; null in-process
};

class Authenticator {
 public:
  virtual ~Authenticator() = default;
  // nullopt: these credentials are not mine. An error: they are, and they are bad: unless another one knows who it is,
  // the chain answers 401.
  virtual base::Task<base::Result<std::optional<machinery::request::Identity>>> Authenticate(
      base::Context ctx, const Credentials& credentials) = 0;
};

// Asks one after another; the first who knows decides. A request without any gets system:anonymous when allowed. Adds
// system:authenticated (system:unauthenticated to the anonymous).
class Union final : public Authenticator {
 public:
  Union(std::vector<std::unique_ptr<Authenticator>> members, bool anonymous);
  base::Task<base::Result<std::optional<machinery::request::Identity>>> Authenticate(
      base::Context ctx, const Credentials& credentials) override;

 private:
  std::vector<std::unique_ptr<Authenticator>> members_;
  bool anonymous_;
};

}  // namespace apiserver::auth
