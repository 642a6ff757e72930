// The three patch formats on trees in JSON's model. The caller decodes the patch (DecodeX checks its outer shape),
// applies it to the object in the version the patch was written for, and normalizes the result (codec::Normalize).
// Errors are ready API errors with the original's codes and texts. Pure; thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "machinery/schema/type.h"
#include "machinery/value/value.h"

namespace machinery::ops {

inline constexpr size_t kMaxJsonPatchOperations = 10000;

// RFC 6902. An operation that does not apply answers 422 without words, as the original does, and so does one beyond
// the patch's budget (patch_budget.h); more than kMaxJsonPatchOperations operations 413; a patch that is no list of
// objects 400.
base::Result<value::Value> ApplyJsonPatch(value::Value doc, const value::Value& patch);

// RFC 7386. 400 when the patch is no object.
base::Result<value::Value> ApplyMergePatch(value::Value doc, const value::Value& patch);

// Strategic merge: lists merge by the keys that `type` declares; directives $patch, $retainKeys,
// $deleteFromPrimitiveList/f, $setElementOrder/f.
base::Result<value::Value> ApplyStrategicMergePatch(const schema::Type& type, value::Value doc, value::Value patch);

// The original's text for a patch body of the wrong shape: `error decoding patch: json: cannot unmarshal array into
// Go value of type map[string]interface {}`.
base::Status WrongPatchShape(const value::Value& patch, std::string_view wanted);

}  // namespace machinery::ops
