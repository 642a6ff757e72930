#include "apiserver/admission/ask.h"

namespace apiserver::admission {

bool MayAlso(auth::Authorizer* authorizer, const machinery::request::Request* request, const Question& q) {
  if (!authorizer || !request) return true;
  auth::Attributes a{.identity = request->identity,
                     .verb = q.verb,
                     .group = q.group,
                     .version = q.version,
                     .resource = q.resource,
                     .namespace_name = q.namespace_name,
                     .name = q.name};
  return authorizer->Authorize(a).decision == auth::Decision::kAllow;
}

}  // namespace apiserver::admission
