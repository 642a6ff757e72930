// Runs systemd unit files where systemd is not PID 1: the same files, the same command lines. Starts services in the
// order of After=, waits for READY=1 of Type=notify ones, restarts what ends after RestartSec, stops all in reverse.
// Each service's output goes to LOGDIR/<unit>.log, its pid to RUNDIR/<unit>.pid.
//
// Understood: [Unit] After, Requires, Wants; [Service] Type (simple, notify), ExecStart, ExecStartPre, Environment,
// EnvironmentFile, WorkingDirectory, Restart (no, always, on-failure), RestartSec, TimeoutStartSec, TimeoutStopSec,
// KillMode (process, control-group), LimitNOFILE. Everything else (hardening, resource limits) is systemd's alone and
// is passed over.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/status.h"

namespace deploy::keelson {

struct Unit {
  std::string name;  // "kubelet"
  std::vector<std::string> after;
  std::string type = "simple", restart = "no", kill_mode = "control-group";
  std::vector<std::string> exec_start_pre;  // command lines
  std::string exec_start;
  std::map<std::string, std::string> environment;
  std::vector<std::string> environment_files;  // a leading '-' forgives absence
  std::string working_directory;
  double restart_seconds = 0.1, start_timeout_seconds = 90, stop_timeout_seconds = 30;
};

base::Result<Unit> ParseUnit(std::string name, std::string_view text);
// Words of a command line as systemd splits them: quotes, "$VAR" as one word, $VAR alone split at blanks, ${VAR}
// inside.
base::Result<std::vector<std::string>> SplitCommand(std::string_view line,
                                                    const std::map<std::string, std::string>& environment);
// Units in starting order; an error when After= goes round in a circle.
base::Result<std::vector<Unit>> StartOrder(std::vector<Unit> units);

struct SuperviseOptions {
  std::string unit_directory = "/etc/systemd/system";
  std::vector<std::string> units;  // names without ".service", any order
  std::string log_directory = "/var/log/keelson";
  std::string run_directory = "/run/keelson";
};
// Runs until SIGTERM or SIGINT, then stops everything. The exit code.
int Supervise(const SuperviseOptions& options);

}  // namespace deploy::keelson
