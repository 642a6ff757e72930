// Fills in what a writer left out, exactly as the original would store it: unconditional defaults from the schema,
// conditional ones from defaults/. The result is a fixed point: defaulting twice changes nothing.
//
// A Defaulter is built once from a schema, which must outlive it; immutable afterwards, thread-safe. Only the parts of
// an object below which something can have a default are visited.
#pragma once

#include <memory>
#include <string>

#include "machinery/schema/type.h"
#include "machinery/value/value.h"

namespace machinery::ops {

class Defaulter {
 public:
  explicit Defaulter(const schema::Schema& schema);
  ~Defaulter();
  // An object of a served kind. `now` (RFC 3339) stands in fields that default to the present; empty leaves them out.
  void Apply(const schema::Kind& kind, value::Value& object, const std::string& now = "") const;
  // A value of any message of the schema, without what holds under a root only.
  void Apply(const schema::Type& type, value::Value& v, const std::string& now = "") const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace machinery::ops
