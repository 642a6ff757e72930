// The API shows static pods by mirrors that this node makes and keeps: made when missing, made anew when they show
// another content, removed when their pod is gone. One strand.
#pragma once

#include <functional>

#include "kubelet/node.h"
#include "kubelet/static_pods.h"
#include "machinery/client/informer.h"

namespace kubelet {

class Mirrors {
 public:
  using Pods = machinery::client::Informer<api::Pod>;
  Mirrors(base::Executor& executor, machinery::client::Client& client, Pods& pods, const StaticPods& own,
          const NodeKeeper& node)
      : executor_(executor), client_(client), pods_(pods), own_(own), node_(node), look_(executor) {}

  // The manifests and the API have been read.
  std::function<bool()> sources_ready;

  // Until the context ends.
  base::Task<void> Run(base::Context ctx);
  // A mirror or a manifest has changed.
  void Look() { look_.NotifyAll(); }
  // The mirror of the static pod; nullptr when the API has none.
  PodPtr Of(const api::Pod& pod) const;

 private:
  base::Task<void> RemoveStrangers(base::Context ctx);
  base::Task<void> Keep(base::Context ctx, PodPtr pod);
  base::Task<void> Make(base::Context ctx, const api::Pod& pod);

  base::Executor& executor_;
  machinery::client::Client& client_;
  Pods& pods_;
  const StaticPods& own_;
  const NodeKeeper& node_;
  base::Event look_;
};

}  // namespace kubelet
