// What a PKCS #10 certificate request says of its subject. Pure; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace base::net {

struct RequestedSubject {
  std::string common_name;  // the last one, where there are several
  std::vector<std::string> organizations;
};

// `pem`: the first PEM block counts and must be a CERTIFICATE REQUEST. The request's own signature is not judged. A
// name that has no UTF-8 form is an error: nobody may read it in another way.
Result<RequestedSubject> ReadCertificateRequest(std::string_view pem);

}  // namespace base::net
