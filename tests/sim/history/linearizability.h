// Is a history of operations on a key-value store linearizable? Each key is judged alone (keys do not touch one
// another, so a history is linearizable exactly when each key's part is).
//
//   Verdict v = CheckLinearizable(history, {});
//   if (v.answer != Answer::kLinearizable) complain(v.text);
//
// The judge walks through time and keeps every state the key may be in, together with which of the operations under way
// have taken effect in it. Operations whose outcome nobody knows may take effect once, at any time after their start,
// or never. Works in bounded memory and time: past a limit it says "undecided", never "linearizable".
//
// Pure; any thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tests::history {

enum class Kind : uint8_t { kPut, kGet, kDelete, kCompareAndSwap };

inline constexpr int64_t kUnknownEnd = -1;

struct Operation {
  int client = 0;
  std::string key;
  Kind kind = Kind::kGet;
  std::optional<std::string> value;   // what a put or a swap writes; none: absent
  std::optional<std::string> expect;  // what a swap demands to find; none: absent
  std::optional<std::string> found;   // what a get saw, or a swap that was refused when it says so; none: absent
  bool ok = true;                     // a swap: whether it took place
  int64_t start = 0;                  // nanoseconds of one clock
  int64_t end = kUnknownEnd;          // kUnknownEnd: nobody knows whether it happened, now or ever
};

struct Limits {
  std::chrono::milliseconds time = std::chrono::seconds(60);
  size_t configurations = 500'000;  // of one key at one moment
};

enum class Answer : uint8_t { kLinearizable, kNotLinearizable, kUndecided };

struct Verdict {
  Answer answer = Answer::kLinearizable;
  std::string key;  // of the first key that is not linearizable, or not decided
  // The shortest stretch of that key's operations that cannot be explained from any state the key could have been in.
  std::vector<Operation> window;
  std::string text;  // key and window for people
};

// Keys start absent.
Verdict CheckLinearizable(const std::vector<Operation>& history, const Limits& limits);

// One line: 12.345ms..13.001ms client 3 put "k" = "v".
std::string Describe(const Operation& op, int64_t zero);

}  // namespace tests::history
