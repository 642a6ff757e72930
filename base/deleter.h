// Owners of what C libraries hand out: std::unique_ptr<EVP_PKEY, base::Deleter<EVP_PKEY_free>>. Pure; any thread.
#pragma once

namespace base {

template <auto Free>
struct Deleter {
  template <class T>
  void operator()(T* p) const {
    Free(p);
  }
};

}  // namespace base
