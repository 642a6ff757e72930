// What the authorizer is asked about a request to the kubelet: the original's reading of method and path. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kubelet {

// "" for a method that stands for no verb.
std::string VerbOf(std::string_view method);
// The subresources of nodes whose holders may make the request, one of them is enough: the finer first, nodes/proxy
// last where it counts. `path` is decoded and starts with a slash.
std::vector<std::string> SubresourcesOf(std::string_view path);

}  // namespace kubelet
