// What cannot happen, met by a request. CHECK (base/status.h) ends the process, which is right where the process can no
// longer be trusted. Where only one request's data is at stake, RequestBug ends that request: it is thrown to the guard
// that every request stands under (SpawnCaught in base/task.h), which logs it and answers 500. Elsewhere it ends the
// process, as CHECK does.
#pragma once

#include <stdexcept>
#include <string>

namespace base {

class RequestBug : public std::logic_error {
  using std::logic_error::logic_error;
};

[[noreturn]] void ThrowRequestBug(const std::string& what);

}  // namespace base
