// What a client sent, as a tree: media types, the kind it claims to be, unknown and duplicate fields, patches. The
// texts of the errors are the original's. Pure.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "machinery/request/request.h"
#include "machinery/schema/type.h"
#include "machinery/value/value.h"

namespace apiserver::registry {

// The request's body as an object of `type`. `version`: the kind the URL names (null: the type's own name counts).
// Problems of field validation become warnings or, when strict, an error.
base::Result<machinery::value::Value> DecodeObject(const machinery::schema::Schema& schema,
                                                   const machinery::schema::Type& type,
                                                   const machinery::schema::Kind* version,
                                                   const machinery::request::Request& r,
                                                   std::vector<std::string>& warnings);
// The body must be in the namespace of the URL; an empty one is filled in.
base::Status MatchNamespace(const std::string& request_namespace, machinery::value::Value& object);
base::Status MatchName(const machinery::request::Request& r, const machinery::value::Value& object);

base::Result<machinery::value::Value> DecodePatch(const machinery::request::Request& r);
// Applies `patch` to a tree of `type` and reads the result as one again.
base::Result<machinery::value::Value> ApplyPatch(const machinery::request::Request& r,
                                                 const machinery::schema::Type& type, machinery::value::Value object,
                                                 const machinery::value::Value& patch,
                                                 std::vector<std::string>& warnings);

// "application/json; charset=utf-8" -> "application/json", lower case.
std::string MediaTypeOf(std::string_view content_type);

}  // namespace apiserver::registry
