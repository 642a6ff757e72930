// The releases that Keelson is and is compatible with: the one file a new release changes. Clients and nodes compare
// these numbers with their own; etcd members tell them to each other. Constants.
#pragma once

#include <string_view>

namespace base::version {

// Up to the second point: "v1.36.2" -> "v1.36".
constexpr std::string_view MajorMinor(std::string_view release) { return release.substr(0, release.rfind('.')); }

// What --version of a Kubernetes daemon prints, and the parts of it that discovery, nodes and user agents show.
inline constexpr std::string_view kKubernetesProgram = "Kubernetes v1.36.2";
inline constexpr std::string_view kKubernetes = kKubernetesProgram.substr(kKubernetesProgram.find('v'));
inline constexpr std::string_view kKubernetesLine = MajorMinor(kKubernetes).substr(1);
inline constexpr std::string_view kKubernetesMajor = kKubernetesLine.substr(0, kKubernetesLine.find('.'));
inline constexpr std::string_view kKubernetesMinor = kKubernetesLine.substr(kKubernetesLine.find('.') + 1);
// The oldest minor release whose behaviour the server can be asked to keep (--min-compatibility-version's default).
inline constexpr std::string_view kKubernetesOldestMinor = "35";
// The compiler of that release.
inline constexpr std::string_view kKubernetesGo = "go1.26.8";

// etcd's: of the server, of a cluster whose members are all of this release, of the files.
inline constexpr std::string_view kEtcd = "3.7.1";
inline constexpr std::string_view kEtcdCluster = "3.7.0";
inline constexpr std::string_view kEtcdLine = MajorMinor(kEtcd);

// Of `keelson`, the tool that sets clusters up.
inline constexpr std::string_view kKeelson = "v0.1.0";

}  // namespace base::version
