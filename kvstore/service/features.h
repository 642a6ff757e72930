// etcd's feature gates: which there are, and what --feature-gates makes of them. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace kvstore::service {

class Features {
 public:
  struct Feature {
    std::string_view name, stage;
    bool on;
  };
  Features();
  // "A=true,B=false". kInvalidArgument as the original words it.
  base::Status Set(std::string_view text);
  void Set(std::string_view name, bool on);
  bool on(std::string_view name) const;
  const std::vector<Feature>& all() const { return all_; }

 private:
  std::vector<Feature> all_;
};

}  // namespace kvstore::service
