#include "scheduler/queue.h"

#include <algorithm>

#include "proto/k8s/core/v1/pod.pb.h"

namespace scheduler {

bool SchedulingQueue::Better::operator()(const QueuedPod& a, const QueuedPod& b) const {
  if (framework->Less(*a.pod, *b.pod)) return true;
  if (framework->Less(*b.pod, *a.pod)) return false;
  return a.order < b.order;
}

SchedulingQueue::SchedulingQueue(base::Executor& executor, const Framework& framework, QueueOptions options)
    : executor_(executor),
      framework_(framework),
      options_(options),
      active_(Better{&framework}),
      available_(executor) {}

SchedulingQueue::~SchedulingQueue() {
  for (auto& [key, w] : backoff_) executor_.CancelTimer(w.timer);
}

base::Duration SchedulingQueue::Backoff(int attempts) const {
  base::Duration out = options_.initial_backoff;
  for (int i = 1; i < attempts && out < options_.max_backoff; ++i) out *= 2;
  return std::min(out, options_.max_backoff);
}

void SchedulingQueue::Activate(QueuedPod pod) {
  std::string key = pod.pod->key;
  if (!framework_.RunPreEnqueue(*pod.pod).verdict.ok()) {
    places_[key] = Place::kGated;
    gated_[key] = std::move(pod);
    return;
  }
  places_[key] = Place::kActive;
  active_index_[key] = pod;
  active_.insert(std::move(pod));
  available_.NotifyOne();
}

bool SchedulingQueue::Take(const std::string& key, QueuedPod& out) {
  auto place = places_.find(key);
  if (place == places_.end() || place->second == Place::kInFlight) return false;
  switch (place->second) {
    case Place::kActive:
      out = active_index_[key];
      active_.erase(out);
      active_index_.erase(key);
      break;
    case Place::kBackoff:
      out = std::move(backoff_[key].pod);
      executor_.CancelTimer(backoff_[key].timer);
      backoff_.erase(key);
      break;
    case Place::kUnschedulable:
      out = std::move(unschedulable_[key]);
      unschedulable_.erase(key);
      break;
    case Place::kGated:
      out = std::move(gated_[key]);
      gated_.erase(key);
      break;
    case Place::kInFlight:
      break;
  }
  places_.erase(place);
  return true;
}

void SchedulingQueue::Set(std::shared_ptr<const PodInfo> pod) {
  std::string key = pod->key;
  if (auto it = in_flight_.find(key); it != in_flight_.end()) {
    it->second.updated = std::move(pod);
    return;
  }
  auto place = places_.find(key);
  if (place == places_.end()) {
    QueuedPod fresh;
    fresh.pod = std::move(pod);
    fresh.added = executor_.Now();
    fresh.order = next_order_++;
    return Activate(std::move(fresh));
  }
  Place was = place->second;
  QueuedPod known;
  Take(key, known);
  auto old = std::exchange(known.pod, std::move(pod));
  if (was == Place::kActive || was == Place::kGated) return Activate(std::move(known));
  // A pod made again under the name, or one whose wishes changed, starts anew; a status written meanwhile (our own
  // condition, most of all) must not make it hurry.
  bool wishes = old->uid != known.pod->uid ||
                old->pod->metadata().generation() != known.pod->pod->metadata().generation() ||
                old->pod->metadata().labels().size() != known.pod->pod->metadata().labels().size();
  if (wishes && framework_.MayHelp({EventKind::kPodUpdated, nullptr, nullptr, known.pod->pod.get()}, *known.pod,
                                   known.rejected_by))
    return Requeue(std::move(known));
  if (was == Place::kBackoff) return Requeue(std::move(known));
  places_[key] = Place::kUnschedulable;
  unschedulable_[key] = std::move(known);
}

void SchedulingQueue::Remove(const std::string& key) {
  QueuedPod dropped;
  if (!Take(key, dropped)) {
    in_flight_.erase(key);
    places_.erase(key);
  }
}

base::Task<base::Result<QueuedPod>> SchedulingQueue::Pop(base::Context ctx) {
  while (active_.empty()) CO_TRY(co_await available_.Wait(ctx));
  QueuedPod pod = *active_.begin();
  active_.erase(active_.begin());
  active_index_.erase(pod.pod->key);
  places_[pod.pod->key] = Place::kInFlight;
  in_flight_[pod.pod->key] = {pod.order, nullptr, {}};
  ++pod.attempts;
  pod.rejected_by.clear();
  co_return pod;
}

// Into back-off, or straight to the active ones when its time is over.
void SchedulingQueue::Requeue(QueuedPod pod) {
  base::Duration left = pod.attempted + Backoff(pod.attempts) - executor_.Now();
  if (pod.attempts == 0 || left <= base::Duration::zero()) return Activate(std::move(pod));
  std::string key = pod.pod->key;
  places_[key] = Place::kBackoff;
  base::TimerId timer = executor_.After(left, [this, key] {
    QueuedPod due = std::move(backoff_[key].pod);
    backoff_.erase(key);
    Activate(std::move(due));
  });
  backoff_[key] = {std::move(pod), timer};
}

std::optional<SchedulingQueue::InFlight> SchedulingQueue::Land(const QueuedPod& pod) {
  auto it = in_flight_.find(pod.pod->key);
  if (it == in_flight_.end() || it->second.order != pod.order) return std::nullopt;
  InFlight seen = std::move(it->second);
  in_flight_.erase(it);
  places_.erase(pod.pod->key);
  return seen;
}

void SchedulingQueue::Finish(const QueuedPod& pod) {
  auto seen = Land(pod);
  // Made again under its name while the old one was tried.
  if (seen && seen->updated && seen->updated->uid != pod.pod->uid) Set(std::move(seen->updated));
}

void SchedulingQueue::AddUnschedulable(QueuedPod pod) {
  std::string key = pod.pod->key;
  auto seen = Land(pod);
  if (!seen) return;
  pod.attempted = executor_.Now();
  if (seen->updated) pod.pod = std::move(seen->updated);
  bool helped = std::ranges::any_of(seen->events, [&](EventKind kind) {
    // The objects of the event are gone; its kind is enough, in doubt the pod is tried once more.
    return kind != EventKind::kPodUpdated;
  });
  if (helped) return Requeue(std::move(pod));
  places_[key] = Place::kUnschedulable;
  unschedulable_[key] = std::move(pod);
}

void SchedulingQueue::AddBackoff(QueuedPod pod) {
  auto seen = Land(pod);
  if (!seen) return;
  if (seen->updated) pod.pod = std::move(seen->updated);
  pod.attempted = executor_.Now();
  Requeue(std::move(pod));
}

void SchedulingQueue::Move(const ClusterEvent& event) {
  for (auto& [key, seen] : in_flight_)
    if (seen.events.size() < 8) seen.events.push_back(event.kind);
  std::vector<std::string> helped;
  for (const auto& [key, pod] : unschedulable_)
    if (framework_.MayHelp(event, *pod.pod, pod.rejected_by)) helped.push_back(key);
  for (const auto& key : helped) {
    QueuedPod pod;
    Take(key, pod);
    Requeue(std::move(pod));
  }
}

void SchedulingQueue::FlushStale() {
  std::vector<std::string> stale;
  for (const auto& [key, pod] : unschedulable_)
    if (executor_.Now() - pod.attempted >= options_.max_unschedulable) stale.push_back(key);
  for (const auto& key : stale) {
    QueuedPod pod;
    Take(key, pod);
    Requeue(std::move(pod));
  }
}

std::shared_ptr<const PodInfo> SchedulingQueue::Find(const std::string& key) const {
  if (auto it = active_index_.find(key); it != active_index_.end()) return it->second.pod;
  if (auto it = backoff_.find(key); it != backoff_.end()) return it->second.pod.pod;
  if (auto it = unschedulable_.find(key); it != unschedulable_.end()) return it->second.pod;
  if (auto it = gated_.find(key); it != gated_.end()) return it->second.pod;
  return nullptr;
}

}  // namespace scheduler
