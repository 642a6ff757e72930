#include "base/random.h"

#include <bit>
#include <random>

namespace base {
namespace {
uint64_t SplitMix(uint64_t& x) {
  uint64_t z = (x += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}
}  // namespace

Random::Random(uint64_t seed) {
  for (auto& s : s_) s = SplitMix(seed);
}

Random Random::System() {
  std::random_device device;
  return Random((static_cast<uint64_t>(device()) << 32) ^ device());
}

uint64_t Random::Next() {
  uint64_t result = std::rotl(s_[1] * 5, 7) * 9;
  uint64_t t = s_[1] << 17;
  s_[2] ^= s_[0];
  s_[3] ^= s_[1];
  s_[1] ^= s_[2];
  s_[0] ^= s_[3];
  s_[2] ^= t;
  s_[3] = std::rotl(s_[3], 45);
  return result;
}

uint64_t Random::Below(uint64_t n) {
  // Rejects the few values that would make the remainder uneven.
  uint64_t limit = -n % n;
  uint64_t v;
  do v = Next();
  while (v < limit);
  return v % n;
}

double Random::Unit() { return static_cast<double>(Next() >> 11) * 0x1.0p-53; }

std::string Random::NameSuffix(size_t n) {
  static constexpr char kAlphabet[] = "bcdfghjklmnpqrstvwxz2456789";
  std::string out(n, '\0');
  for (auto& c : out) c = kAlphabet[Below(sizeof(kAlphabet) - 1)];
  return out;
}

}  // namespace base
