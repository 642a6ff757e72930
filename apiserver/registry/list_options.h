// The rules of list and watch options and the continue token's format. Pure.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"
#include "machinery/request/request.h"

namespace apiserver::registry {

// "" and "0" are 0; an error words it as Go's ParseUint does, of an option or of an object's own field.
base::Result<uint64_t> ParseRevision(const std::string& text);
base::Result<uint64_t> ParseOwnRevision(const std::string& text);
base::Status CheckListOptions(const machinery::request::Options& o);
base::Status CheckWatchOptions(const machinery::request::Options& o);
// Of the verb: CreateOptions, UpdateOptions, PatchOptions, DeleteOptions (dryRun, fieldValidation, fieldManager, ...).
base::Status CheckWriteOptions(const machinery::request::Request& r);

// Where a list goes on: the revision all pages show and the first key, relative to the list's own root.
struct ContinueToken {
  uint64_t revision = 0;
  std::string start;
};
// The revision of a token whose later pages show the present.
inline constexpr uint64_t kInconsistent = UINT64_MAX;
std::string EncodeContinue(const ContinueToken& token);
base::Result<ContinueToken> DecodeContinue(const std::string& text);
// 410 for a token whose revision is compacted, with a token that goes on inconsistently.
base::Status ContinueExpired(const std::string& text);

}  // namespace apiserver::registry
