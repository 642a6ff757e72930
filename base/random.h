// Randomness that is injected: a seeded generator for simulations, the machine's for daemons (Random::System()).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace base {

// xoshiro256**; fast, not for secrets (base/net/tls.h and OpenSSL make those). One strand.
class Random {
 public:
  explicit Random(uint64_t seed);
  // Seeded from the machine's entropy.
  static Random System();

  uint64_t Next();
  // Uniform in [0, n); n > 0.
  uint64_t Below(uint64_t n);
  // Uniform in [0, 1).
  double Unit();
  bool OneIn(uint64_t n) { return Below(n) == 0; }
  // A generator of its own, decoupled from this one's later use.
  Random Fork() { return Random(Next()); }
  // `n` characters of the alphabet Kubernetes uses for name suffixes: bcdfghjklmnpqrstvwxz2456789.
  std::string NameSuffix(size_t n);

 private:
  uint64_t s_[4];
};

}  // namespace base
