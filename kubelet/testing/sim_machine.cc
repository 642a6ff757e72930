#include "kubelet/testing/sim_machine.h"

namespace kubelet::testing {

base::Status SimHost::MakeDirectory(const std::string& path, mode_t mode) {
  return disk.MakeDirectories(path, static_cast<int>(mode));
}

base::Status SimHost::WriteFile(const std::string& path, std::string_view content, mode_t mode) {
  TRY_ASSIGN(auto file, disk.Open(path, base::OpenMode::kCreate, static_cast<int>(mode)));
  TRY(file->Truncate(0));
  return file->Append(content);
}

base::Result<std::string> SimHost::ReadPlain(const std::string& root, const std::string& path, size_t limit) {
  if (!path.starts_with(root + "/")) return base::Err(base::NotFound(path));
  TRY_ASSIGN(std::string text, base::ReadFile(disk, path));
  return text.substr(0, limit);
}

base::Result<std::string> SimHost::LastWords(const std::string& root, const std::string& path) {
  return ReadPlain(root, path, std::string::npos);
}

bool SimHost::IsPlain(const std::string& root, const std::string& path) {
  return path.starts_with(root + "/") && SizeOf(path) >= 0;
}

std::vector<std::string> SimHost::ListFiles(const std::string& directory) {
  std::vector<std::string> out;
  if (auto names = disk.List(directory))
    for (const auto& name : *names)
      if (SizeOf(directory + "/" + name) >= 0) out.push_back(directory + "/" + name);
  return out;
}

int64_t SimHost::SizeOf(const std::string& path) {
  auto file = disk.Open(path, base::OpenMode::kRead);
  return file ? static_cast<int64_t>((*file)->Size().value_or(0)) : -1;
}

base::Status SimMounter::Make(const volumes::Setup& setup, const volumes::Place&) {
  if (setup.check_path) return base::Ok();
  TRY(host_.disk.MakeDirectories(setup.path));
  if (setup.payload) payloads[setup.path] = *setup.payload;
  return base::Ok();
}

base::Result<std::string> SimMounter::BindSubPath(const volumes::SubPath&, const std::string& target) { return target; }

base::Status SimMounter::Remove(const std::string& directory) {
  std::erase_if(payloads, [&](const auto& e) { return e.first.starts_with(directory + "/"); });
  return host_.RemoveTree(directory);
}

std::vector<std::string> SimMounter::List(const std::string& pods_directory) {
  return host_.disk.List(pods_directory).value_or(std::vector<std::string>());
}

std::optional<cgroups::Manager::Usage> SimCgroups::PodUsage(const api::Pod& pod) const {
  auto it = usage.find(RuntimeUid(pod));
  return it == usage.end() ? std::nullopt : std::optional(it->second);
}

checks::Outcome SimNetwork::Look(const std::string& host) const {
  if (answers && answers(host)) return {checks::Verdict::kSuccess, ""};
  return {checks::Verdict::kFailure, "dial tcp " + host + ": connect: connection refused"};
}

base::Task<checks::Outcome> SimNetwork::HttpGet(base::Context, checks::HttpTarget target, base::Duration,
                                                checks::Judge) {
  co_return Look(target.host);
}

base::Task<checks::Outcome> SimNetwork::TcpConnect(base::Context, std::string host, int, base::Duration) {
  co_return Look(host);
}

base::Task<checks::Outcome> SimNetwork::GrpcHealth(base::Context, std::string host, int, std::string, base::Duration) {
  co_return Look(host);
}

}  // namespace kubelet::testing
