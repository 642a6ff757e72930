#include "tests/sim/history/linearizability.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace tests::history {
namespace {

using Clock = std::chrono::steady_clock;
using Value = int32_t;
constexpr Value kAbsent = 0;
constexpr Value kUntold = -1;  // a refused swap that does not say what it found

// An operation on one key with its values as numbers.
struct Step {
  Kind kind;
  bool ok;
  bool optional;  // may never happen
  Value value, expect, found;
  int64_t start, end;
  size_t origin;  // in the key's operations

  bool Reads() const { return kind == Kind::kGet || (kind == Kind::kCompareAndSwap && !ok); }
  // Whether it may happen in this state, and the state afterwards.
  std::optional<Value> After(Value state) const {
    switch (kind) {
      case Kind::kPut:
      case Kind::kDelete:
        return value;
      case Kind::kGet:
        return state == found ? std::optional(state) : std::nullopt;
      case Kind::kCompareAndSwap:
        if (ok) return state == expect ? std::optional(value) : std::nullopt;
        if (state == expect || (found != kUntold && state != found)) return std::nullopt;
        return state;
    }
    return std::nullopt;
  }
  bool SameEffect(const Step& o) const { return kind == o.kind && value == o.value && expect == o.expect; }
};

// A state the key may be in: which of the operations under way have happened in it. Steps by index, ascending.
struct Configuration {
  Value state = kAbsent;
  std::vector<uint32_t> done;  // that must happen and have not ended yet
  std::vector<uint32_t> used;  // that need not happen
};

bool Has(const std::vector<uint32_t>& v, uint32_t x) { return std::binary_search(v.begin(), v.end(), x); }
void Add(std::vector<uint32_t>& v, uint32_t x) { v.insert(std::lower_bound(v.begin(), v.end(), x), x); }
void Drop(std::vector<uint32_t>& v, uint32_t x) {
  auto it = std::lower_bound(v.begin(), v.end(), x);
  if (it != v.end() && *it == x) v.erase(it);
}

// Configurations without those that another one makes superfluous: same state, same duties done, fewer options used.
class Configurations {
 public:
  // False when it adds nothing.
  bool Insert(Configuration c) {
    auto& rivals = by_duties_[{c.state, c.done}];
    for (const auto& used : rivals) {
      if (std::includes(c.used.begin(), c.used.end(), used.begin(), used.end())) return false;
    }
    size_t before = rivals.size();
    std::erase_if(rivals, [&](const std::vector<uint32_t>& used) {
      return std::includes(used.begin(), used.end(), c.used.begin(), c.used.end());
    });
    rivals.push_back(std::move(c.used));
    size_ += rivals.size() - before;
    return true;
  }
  size_t size() const { return size_; }
  std::vector<Configuration> All() const {
    std::vector<Configuration> out;
    for (const auto& [duties, rivals] : by_duties_) {
      for (const auto& used : rivals) out.push_back({duties.first, duties.second, used});
    }
    return out;
  }

 private:
  std::map<std::pair<Value, std::vector<uint32_t>>, std::vector<std::vector<uint32_t>>> by_duties_;
  size_t size_ = 0;
};

// Judges steps that are in order of their starts, from any of the given first states.
class Judge {
 public:
  Judge(const std::vector<Step>& steps, const Limits& limits, Clock::time_point deadline)
      : steps_(steps), limits_(limits), deadline_(deadline) {
    for (uint32_t i = 0; i < steps.size(); ++i) {
      moments_.push_back({steps[i].start, false, i});
      if (!steps[i].optional) moments_.push_back({steps[i].end, true, i});
      if (steps[i].kind == Kind::kCompareAndSwap && !steps[i].ok && steps[i].found == kUntold) refusals_ = true;
      if (Value v = Observed(steps[i]); v != kUntold) ++observers_[v];
    }
    // At one moment starts come before ends: what touches overlaps.
    std::sort(moments_.begin(), moments_.end());
  }

  Answer Run(const std::vector<Value>& first_states) {
    for (Value v : first_states) configurations_.push_back({v, {}, {}});
    for (const Moment& m : moments_) {
      if (!m.ends) {
        Begin(m.step);
      } else if (Answer a = End(m.step); a != Answer::kLinearizable) {
        failed_at_ = m.at;
        return a;
      }
    }
    return Answer::kLinearizable;
  }
  int64_t failed_at() const { return failed_at_; }

 private:
  struct Moment {
    int64_t at;
    bool ends;
    uint32_t step;
    auto operator<=>(const Moment&) const = default;
  };

  // The value that must stand for the step to happen.
  static Value Observed(const Step& s) {
    if (s.kind == Kind::kGet) return s.found;
    if (s.kind != Kind::kCompareAndSwap) return kUntold;
    return s.ok ? s.expect : s.found;
  }
  // Whether anybody can still tell that this write has happened.
  bool Matters(const Step& s) const {
    if (refusals_ || s.kind == Kind::kCompareAndSwap) return true;
    auto it = observers_.find(s.value);
    return it != observers_.end() && it->second > 0;
  }

  void Begin(uint32_t i) {
    if (!steps_[i].optional) {
      Add(pending_, i);
    } else if (!steps_[i].Reads() && Matters(steps_[i])) {
      Add(options_, i);
    }
  }

  Answer End(uint32_t i) {
    Configurations next;
    std::vector<Configuration> open;
    Configurations seen;
    for (Configuration& c : configurations_) Offer(std::move(c), i, open, seen, next);
    while (!open.empty()) {
      Configuration c = std::move(open.back());
      open.pop_back();
      for (uint32_t p : pending_) {
        if (!Has(c.done, p)) Try(c, p, i, open, seen, next);
      }
      for (size_t k = 0; k < options_.size(); ++k) {
        if (!Has(c.used, options_[k]) && IsFirstOfItsKind(c, k)) Try(c, options_[k], i, open, seen, next);
      }
      if (seen.size() + next.size() > limits_.configurations || Clock::now() > deadline_) return Answer::kUndecided;
    }
    Drop(pending_, i);
    configurations_ = next.All();
    Forget(steps_[i]);
    return configurations_.empty() ? Answer::kNotLinearizable : Answer::kLinearizable;
  }

  // Equal options are interchangeable: the one that began first goes first.
  bool IsFirstOfItsKind(const Configuration& c, size_t k) const {
    for (size_t j = 0; j < k; ++j) {
      if (steps_[options_[j]].SameEffect(steps_[options_[k]]) && !Has(c.used, options_[j])) return false;
    }
    return true;
  }

  // tidy: parameters: the search's whole state, read at every step
  void Try(const Configuration& c, uint32_t step, uint32_t ending, std::vector<Configuration>& open,
           Configurations& seen, Configurations& next) const {
    auto after = steps_[step].After(c.state);
    if (!after || (steps_[step].optional && *after == c.state)) return;
    Configuration n = c;
    n.state = *after;
    Add(steps_[step].optional ? n.used : n.done, step);
    Offer(std::move(n), ending, open, seen, next);
  }

  // A configuration in which `ending` has happened is a result; another one is to be taken further.
  void Offer(Configuration c, uint32_t ending, std::vector<Configuration>& open, Configurations& seen,
             Configurations& next) const {
    // Reads change nothing: they happen as soon as they can, which leaves most freedom later.
    for (uint32_t p : pending_) {
      if (steps_[p].Reads() && !Has(c.done, p) && steps_[p].After(c.state)) Add(c.done, p);
    }
    if (Has(c.done, ending)) {
      Drop(c.done, ending);
      next.Insert(std::move(c));
    } else if (seen.Insert(c)) {
      open.push_back(std::move(c));
    }
  }

  // Options whose value nobody will look at any more need no memory.
  void Forget(const Step& ended) {
    Value v = Observed(ended);
    if (v == kUntold || --observers_[v] > 0) return;
    std::vector<uint32_t> idle;
    std::copy_if(options_.begin(), options_.end(), std::back_inserter(idle),
                 [&](uint32_t o) { return steps_[o].value == v && !Matters(steps_[o]); });
    if (idle.empty()) return;
    Configurations fewer;
    for (Configuration& c : configurations_) {
      for (uint32_t o : idle) Drop(c.used, o);
      fewer.Insert(std::move(c));
    }
    configurations_ = fewer.All();
    for (uint32_t o : idle) Drop(options_, o);
  }

  const std::vector<Step>& steps_;
  const Limits& limits_;
  Clock::time_point deadline_;
  std::vector<Moment> moments_;
  std::map<Value, int64_t> observers_;  // how many steps that have not ended need this value
  bool refusals_ = false;
  std::vector<Configuration> configurations_;
  std::vector<uint32_t> pending_;  // began, must happen, not ended
  std::vector<uint32_t> options_;  // began, need not happen
  int64_t failed_at_ = 0;
};

class KeyHistory {
 public:
  explicit KeyHistory(std::vector<Operation> operations) : operations_(std::move(operations)) {
    std::stable_sort(operations_.begin(), operations_.end(),
                     [](const Operation& a, const Operation& b) { return a.start < b.start; });
    for (size_t i = 0; i < operations_.size(); ++i) {
      const Operation& op = operations_[i];
      bool unknown = op.end == kUnknownEnd;
      Step s{
          .kind = op.kind, .ok = op.ok || unknown, .optional = unknown, .start = op.start, .end = op.end, .origin = i};
      s.value = op.kind == Kind::kDelete ? kAbsent : Number(op.value);
      s.expect = Number(op.expect);
      s.found = op.kind == Kind::kCompareAndSwap && !op.found ? kUntold : Number(op.found);
      if (!(unknown && op.kind == Kind::kGet)) steps_.push_back(s);
    }
  }

  Verdict Check(const Limits& limits, Clock::time_point deadline) {
    Judge judge(steps_, limits, deadline);
    Verdict v{.answer = judge.Run({kAbsent})};
    if (v.answer == Answer::kNotLinearizable) Explain(judge.failed_at(), limits, deadline, v);
    return v;
  }

 private:
  Value Number(const std::optional<std::string>& value) {
    if (!value) return kAbsent;
    return numbers_.try_emplace(*value, static_cast<Value>(numbers_.size() + 1)).first->second;
  }

  // What a judge who comes at time `from` and leaves at `to` sees: whole operations are duties, writes that had begun
  // before may still happen, and the key may hold anything that was written until then.
  std::vector<Step> Window(int64_t from, int64_t to, std::vector<Value>& states) const {
    std::vector<Step> out;
    std::set<Value> before{kAbsent};
    for (const Step& s : steps_) {
      if (s.start > to) break;
      if (s.start < from && !s.Reads()) before.insert(s.value);
      if (s.start < from && !s.optional && s.end < from) continue;
      Step t = s;
      t.optional = s.optional || s.start < from || s.end > to;
      if (!t.optional || !t.Reads()) out.push_back(t);
    }
    states.assign(before.begin(), before.end());
    return out;
  }

  // The latest beginning from which the failure still shows.
  void Explain(int64_t to, const Limits& limits, Clock::time_point deadline, Verdict& v) const {
    std::vector<int64_t> starts;
    for (const Step& s : steps_) {
      if (s.start <= to) starts.push_back(s.start);
    }
    auto fails = [&](int64_t from) {
      std::vector<Value> states;
      std::vector<Step> window = Window(from, to, states);
      return Judge(window, limits, deadline).Run(states) == Answer::kNotLinearizable;
    };
    size_t good = 0, bad = starts.size();  // fails at good, does not at bad; the first start is all there is
    while (bad - good > 1) {
      size_t middle = (good + bad) / 2;
      (fails(starts[middle]) ? good : bad) = middle;
    }
    std::vector<Value> states;
    for (const Step& s : Window(starts[good], to, states)) v.window.push_back(operations_[s.origin]);
  }

  std::vector<Operation> operations_;
  std::vector<Step> steps_;
  std::unordered_map<std::string, Value> numbers_;
};

std::string Quoted(const std::optional<std::string>& v) { return v ? "\"" + *v + "\"" : "nothing"; }

std::string Millis(int64_t ns) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3fms", static_cast<double>(ns) / 1e6);
  return text;
}

}  // namespace

std::string Describe(const Operation& op, int64_t zero) {
  std::string out = Millis(op.start - zero) + ".." + (op.end == kUnknownEnd ? "?" : Millis(op.end - zero));
  out += " client " + std::to_string(op.client) + " ";
  switch (op.kind) {
    case Kind::kPut:
      return out + "put " + Quoted(op.value);
    case Kind::kGet:
      return out + "get -> " + Quoted(op.found);
    case Kind::kDelete:
      return out + "delete";
    case Kind::kCompareAndSwap:
      break;
  }
  out += "swap " + Quoted(op.expect) + " for " + Quoted(op.value);
  if (op.end == kUnknownEnd || op.ok) return out;
  return out + " -> refused" + (op.found ? ", found " + Quoted(op.found) : "");
}

Verdict CheckLinearizable(const std::vector<Operation>& history, const Limits& limits) {
  constexpr size_t kShown = 50;
  auto deadline = Clock::now() + limits.time;
  std::map<std::string, std::vector<Operation>> by_key;
  for (const Operation& op : history) by_key[op.key].push_back(op);
  Verdict undecided;
  for (auto& [key, operations] : by_key) {
    Verdict v = KeyHistory(std::move(operations)).Check(limits, deadline);
    v.key = key;
    if (v.answer == Answer::kUndecided) {
      v.text = "key \"" + key + "\": undecided, past the limit of time or memory";
      undecided = v;
    }
    if (v.answer != Answer::kNotLinearizable) continue;
    v.text = "key \"" + key + "\" is not linearizable; no order explains these " + std::to_string(v.window.size()) +
             " operations:";
    for (size_t i = 0; i < std::min(v.window.size(), kShown); ++i) {
      v.text += "\n  " + Describe(v.window[i], v.window[0].start);
    }
    if (v.window.size() > kShown) v.text += "\n  ...";
    return v;  // a violation counts more than a doubt
  }
  return undecided;
}

}  // namespace tests::history
