#include "kubelet/status_manager.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include "base/log.h"
#include "kubelet/pod/status.h"
#include "machinery/object/api_error.h"

namespace kubelet {
namespace {

// Conditions that others own (readiness gates, the scheduler's, disruption) stay as the API has them.
void KeepForeign(const api::PodStatus& theirs, api::PodStatus& ours) {
  for (const auto& c : theirs.conditions())
    if (c.type() != "PodResizePending" && !pod::FindCondition(ours, c.type())) *ours.add_conditions() = c;
  if (ours.nominatednodename().empty()) ours.set_nominatednodename(theirs.nominatednodename());
  for (const auto& c : theirs.resourceclaimstatuses()) *ours.add_resourceclaimstatuses() = c;
  // A pod that has ended does not begin again.
  if ((theirs.phase() == "Failed" || theirs.phase() == "Succeeded") && ours.phase() != theirs.phase())
    ours.set_phase(theirs.phase());
}

}  // namespace

std::string Canonical(const google::protobuf::MessageLite& message) {
  std::string out;
  {
    google::protobuf::io::StringOutputStream stream(&out);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    message.SerializeToCodedStream(&coded);
  }
  return out;
}

StatusManager::StatusManager(base::Executor& executor, machinery::client::Client* client)
    : executor_(executor), client_(client), wake_(executor) {}

const api::PodStatus* StatusManager::Get(const std::string& uid) const {
  auto it = entries_.find(uid);
  return it == entries_.end() ? nullptr : &it->second.status;
}

void StatusManager::Set(const api::Pod& pod, api::PodStatus status) {
  Entry& e = entries_[RuntimeUid(pod)];
  e.status = std::move(status);
  if (Canonical(e.status) != e.written) Queue(RuntimeUid(pod));
}

void StatusManager::Finished(const std::string& uid) {
  auto it = entries_.find(uid);
  if (it == entries_.end()) return;
  it->second.finished = true;
  Queue(uid);
}

void StatusManager::Forget(const std::string& uid) {
  entries_.erase(uid);
  dirty_.erase(uid);
}

void StatusManager::Recheck(const std::string& uid) {
  auto it = entries_.find(uid);
  if (it == entries_.end()) return;
  if (it->second.finished && !it->second.deleted) Queue(uid);
  // A mirror made anew, or a status somebody else wrote: ours goes over it.
  PodPtr pod = api_pod ? api_pod(uid) : nullptr;
  if (!pod) return;
  Entry& e = it->second;
  bool there = !e.written.empty() && e.written_to == pod->metadata().uid();
  // The node controller calls pods of a silent node unready; they are what they are once it is heard again.
  bool same = pod->status().phase() == e.status.phase() && pod::IsReady(pod->status()) == pod::IsReady(e.status);
  if (there && same) return;
  e.written.clear();
  Queue(uid);
}

void StatusManager::Queue(const std::string& uid) {
  if (!client_) return;
  dirty_.insert(uid);
  wake_.NotifyOne();
}

base::Task<void> StatusManager::Run(base::Context ctx) {
  if (!client_) co_return;
  base::TaskScope scope(executor_, ctx);
  while (ctx.status().ok()) {
    for (auto it = dirty_.begin(); it != dirty_.end() && scope.running() < 10;) {
      if (busy_.contains(*it)) {
        ++it;
        continue;
      }
      std::string uid = *it;
      it = dirty_.erase(it);
      busy_.insert(uid);
      scope.Spawn(WriteOne(scope.context(), uid));
    }
    if (!(co_await wake_.Wait(ctx)).ok()) break;
  }
  co_await scope.CancelAndJoin();
}

base::Task<void> StatusManager::WriteOne(base::Context ctx, std::string uid) {
  base::Status s = co_await Write(ctx, uid);
  if (!s.ok() && ctx.status().ok()) {
    base::LogWarning("Failed to update status for pod", {{"podUID", uid}, {"err", s}});
    co_await base::Sleep(executor_, ctx, std::chrono::seconds(2));
    if (entries_.contains(uid)) dirty_.insert(uid);
  }
  busy_.erase(uid);
  wake_.NotifyOne();
}

base::Task<base::Status> StatusManager::Write(base::Context ctx, std::string uid) {
  auto it = entries_.find(uid);
  PodPtr pod = api_pod ? api_pod(uid) : nullptr;
  if (it == entries_.end() || !pod) co_return base::Ok();
  const std::string api_uid = pod->metadata().uid(), ns = pod->metadata().namespace_(), name = pod->metadata().name();
  base::Context bounded = ctx.WithTimeout(executor_, std::chrono::seconds(20));
  for (int attempt = 0; attempt < 4 && Canonical(it->second.status) != it->second.written; ++attempt) {
    api::Pod object = *pod;
    const std::string sent = Canonical(it->second.status);
    *object.mutable_status() = it->second.status;
    KeepForeign(pod->status(), *object.mutable_status());
    auto answer = co_await client_->UpdateStatus<api::Pod>(bounded, std::move(object));
    it = entries_.find(uid);
    if (it == entries_.end()) co_return base::Ok();
    if (answer) {
      it->second.written = sent;
      it->second.written_to = api_uid;
      break;
    }
    if (machinery::object::IsNotFound(answer.error())) co_return base::Ok();
    if (!machinery::object::IsConflict(answer.error()) || attempt == 3) co_return answer.error();
    auto fresh = co_await client_->Get<api::Pod>(bounded, ns, name);
    it = entries_.find(uid);
    if (it == entries_.end()) co_return base::Ok();
    if (!fresh) co_return machinery::object::IsNotFound(fresh.error()) ? base::Ok() : fresh.error();
    if (fresh->metadata().uid() != api_uid) co_return base::Ok();  // another pod under the same name
    pod = std::make_shared<const api::Pod>(std::move(*fresh));
  }
  if (!it->second.finished || it->second.deleted) co_return base::Ok();
  PodPtr now = api_pod(uid);
  if (now && !IsMirrorPod(*now) && !now->metadata().has_deletiontimestamp()) co_return base::Ok();
  if (IsMirrorPod(*pod)) co_return base::Ok();
  base::Status gone =
      co_await client_->Delete<api::Pod>(bounded, ns, name, {.grace_period_seconds = 0, .uid = api_uid});
  if (!gone.ok() && !machinery::object::IsNotFound(gone) && !machinery::object::IsConflict(gone)) co_return gone;
  it = entries_.find(uid);
  if (it != entries_.end()) it->second.deleted = true;
  co_return base::Ok();
}

}  // namespace kubelet
