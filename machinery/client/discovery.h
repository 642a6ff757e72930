// What the server serves: its groups, versions and resources, by aggregated discovery (apidiscovery.k8s.io/v2) over
// plain HTTP on the same connection. For controllers that act on every kind.
#pragma once

#include <string>
#include <vector>

#include "base/net/client.h"
#include "machinery/client/client.h"

namespace machinery::client {

struct DiscoveredResource {
  Resource resource;
  std::vector<std::string> verbs;
};

// In the server's order, so that a resource's preferred version comes before its others.
base::Task<base::Result<std::vector<DiscoveredResource>>> Discover(base::Context ctx, base::net::Client& http,
                                                                   base::net::Headers credentials);
// The resources in one APIGroupDiscoveryList document.
base::Result<std::vector<DiscoveredResource>> ParseDiscovery(std::string_view json);

}  // namespace machinery::client
