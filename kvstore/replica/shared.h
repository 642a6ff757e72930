// What all parts of a replica are given and none of them owns, and what they let others see of their work. Made before
// the parts and gone after them; the replica's strand.
#pragma once

#include <functional>
#include <memory>

#include "base/random.h"
#include "kvstore/mvcc/applier.h"
#include "kvstore/replica/life.h"
#include "kvstore/replica/observers.h"
#include "kvstore/replica/options.h"
#include "kvstore/replica/transport.h"

namespace kvstore::replica {

struct Shared {
  Shared(const Environment& env, Options options, base::Random random, const Observers& observers)
      : env(env), options(std::move(options)), random(random), observers(observers), life(env.executor) {}

  const Environment env;
  const Options options;
  base::Random random;
  const Observers& observers;
  Counters counters;
  Life life;
  uint64_t member_id = 0;
  uint64_t cluster_id = 0;
  std::unique_ptr<mvcc::Store> store;
  std::unique_ptr<mvcc::Applier> applier;
  Transport* transport = nullptr;  // null: no peers to talk to
};

}  // namespace kvstore::replica
