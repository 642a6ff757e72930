#include "base/bug.h"

namespace base {

void ThrowRequestBug(const std::string& what) { throw RequestBug(what); }

}  // namespace base
