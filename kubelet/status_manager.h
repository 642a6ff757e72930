// Statuses on their way to the API: the newest one per pod is kept here and written (status subresource) whenever it
// differs from what was written last; a write that fails is tried again with the newest. When the kubelet is through
// with a pod that is to be deleted, it is removed from the API with grace period 0. One strand.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>

#include "base/sync.h"
#include "kubelet/model/types.h"
#include "machinery/client/client.h"

namespace kubelet {

class StatusManager {
 public:
  // `client` is null in standalone mode: statuses are kept, nothing is written.
  StatusManager(base::Executor& executor, machinery::client::Client* client);

  // The API's copy of a pod by the uid the runtime knows it by (a mirror for a static pod); null when there is none.
  std::function<PodPtr(const std::string& uid)> api_pod;

  // What was set last, nullptr when nothing was.
  const api::PodStatus* Get(const std::string& uid) const;
  void Set(const api::Pod& pod, api::PodStatus status);
  // Containers, volumes and groups of the pod are gone: it may leave the API.
  void Finished(const std::string& uid);
  void Forget(const std::string& uid);
  // A changed API copy may differ from what was written (or be deleted meanwhile): looks again.
  void Recheck(const std::string& uid);

  // Writes until the context ends.
  base::Task<void> Run(base::Context ctx);

 private:
  struct Entry {
    api::PodStatus status;
    std::string written;     // serialized, as last accepted
    std::string written_to;  // uid of the API's pod that has it: a mirror may be made anew
    bool finished = false;
    bool deleted = false;  // the API was told
  };
  base::Task<base::Status> Write(base::Context ctx, std::string uid);
  base::Task<void> WriteOne(base::Context ctx, std::string uid);
  void Queue(const std::string& uid);

  base::Executor& executor_;
  machinery::client::Client* client_;
  std::map<std::string, Entry> entries_;
  std::set<std::string> dirty_, busy_;
  base::Event wake_;
};

// The same message, byte for byte; map order does not count.
std::string Canonical(const google::protobuf::MessageLite& message);

}  // namespace kubelet
