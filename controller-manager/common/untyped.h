// Objects of any kind by their metadata alone: for controllers that act on all of them (namespace, garbage collector).
// A whole object read this way keeps what it does not know as unknown fields, so it can be written back.
#pragma once

#include <string>
#include <vector>

#include "machinery/client/client.h"
#include "proto/k8s/meta/v1/watch.pb.h"

namespace controller_manager {

using AnyObject = k8s::io::apimachinery::pkg::apis::meta::v1::PartialObjectMetadata;

class Untyped {
 public:
  explicit Untyped(machinery::client::Client& client) : client_(client) {}
  base::Task<base::Result<AnyObject>> Get(base::Context ctx, machinery::client::Resource r, std::string ns,
                                          std::string name);
  base::Task<base::Result<AnyObject>> Update(base::Context ctx, machinery::client::Resource r, AnyObject object);
  base::Task<base::Status> Delete(base::Context ctx, machinery::client::Resource r, std::string ns, std::string name,
                                  machinery::client::DeleteOptions options);
  base::Task<base::Status> DeleteCollection(base::Context ctx, machinery::client::Resource r, std::string ns);
  // Metadata only.
  base::Task<base::Result<std::vector<std::shared_ptr<const AnyObject>>>> List(base::Context ctx,
                                                                               machinery::client::Resource r,
                                                                               std::string ns);

 private:
  machinery::client::Client& client_;
};

}  // namespace controller_manager
