#include "kubelet/evictor.h"

#include "kubelet/model/resources.h"

namespace kubelet {
namespace {

// True when what is available is less than a threshold says: "100Mi" or "10%".
bool Below(const std::map<std::string, std::string>& thresholds, const char* signal, double available, double all) {
  auto it = thresholds.find(signal);
  if (it == thresholds.end() || all <= 0) return false;
  double bound = it->second.ends_with('%') ? all * atof(it->second.c_str()) / 100
                                           : static_cast<double>(ParseWhole(it->second).value_or(0));
  return available < bound;
}

}  // namespace

Evictor::Evictor(Host& host, cgroups::Manager& cgroups, Events& events, std::map<std::string, std::string> hard,
                 std::string root_directory)
    : host_(host),
      cgroups_(cgroups),
      events_(events),
      hard_(std::move(hard)),
      root_directory_(std::move(root_directory)) {}

void Evictor::Check(NodeKeeper& node, Workers& workers) {
  const auto available = host_.AvailableMemory();
  bool memory = available && Below(hard_, "memory.available", static_cast<double>(*available),
                                   static_cast<double>(node.facts().memory_bytes));
  bool disk = false;
  if (auto space = host_.SpaceAt(root_directory_))
    disk = Below(hard_, "nodefs.available", space->free_bytes, space->bytes) ||
           Below(hard_, "nodefs.inodesFree", space->free_inodes, space->inodes);
  if (memory != memory_pressure_ || disk != disk_pressure_) node.Poke();
  memory_pressure_ = memory;
  disk_pressure_ = disk;
  if (memory) EvictOne(workers, *available);
}

// The pod that asked for the least and uses what nobody promised it goes first: best effort, then the greatest use over
// its request.
void Evictor::EvictOne(Workers& workers, int64_t available) {
  PodPtr worst;
  int64_t worst_over = 0;
  for (const auto& pod : workers.Active()) {
    if (IsStaticPod(*pod) || pod->spec().priority() >= 2000000000) continue;
    auto usage = cgroups_.PodUsage(*pod);
    int64_t over =
        (usage ? static_cast<int64_t>(usage->working_set_bytes) : 0) - Aggregate(*pod).memory_request.value_or(0);
    if (!worst || pod->spec().priority() < worst->spec().priority() ||
        (pod->spec().priority() == worst->spec().priority() && over > worst_over)) {
      worst = pod;
      worst_over = over;
    }
  }
  if (!worst) return;
  std::string text = "The node was low on resource: memory. Threshold quantity: " + hard_.at("memory.available") +
                     ", available: " + BytesText(available / 1024 * 1024) + ". ";
  events_.Pod(*worst, "", "Warning", "Evicted", text);
  workers.Evict(worst->metadata().uid(), "Evicted", text, 0);
}

}  // namespace kubelet
