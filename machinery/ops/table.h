// meta.k8s.io Tables: what `kubectl get` prints. Columns and where their cells come from stand with the kind in proto/;
// cells that need code are functions named in printers.def. Every row is the wide one; kubectl hides what has priority.
// Pure; thread-safe. The present is a parameter.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/executor.h"
#include "machinery/schema/type.h"
#include "machinery/value/value.h"

namespace machinery::ops {

struct TableOptions {
  enum class Include { kMetadata, kObject, kNone } include = Include::kMetadata;
  base::WallTime now;
  std::string group_version = "meta.k8s.io/v1";  // or v1beta1
  bool columns = true;  // false: columnDefinitions is null, as in all events of a watch but the first
};

// "", "Metadata", "Object", "None".
base::Result<TableOptions::Include> ParseIncludeObject(std::string_view text);

// A Table of `objects`, each of `kind` (kind and apiVersion need not be set). `list_metadata`: metadata of the list or
// of the one object; resourceVersion, continue and remainingItemCount of it are kept.
value::Value MakeTable(const schema::Kind& kind, const value::Value& list_metadata,
                       const std::vector<const value::Value*>& objects, const TableOptions& options);
// The object as PartialObjectMetadata.
value::Value PartialMetadata(const value::Value& object, const std::string& group_version = "meta.k8s.io/v1");

// "5m12s", "3d": the original's short durations; "<invalid>" for the future.
std::string HumanDuration(std::chrono::seconds d);
// Since an API time ("<unknown>" when absent).
std::string Age(std::string_view time, base::WallTime now);

}  // namespace machinery::ops
