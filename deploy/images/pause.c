// pause: holds a pod's namespaces open, reaps orphans when it is PID 1, ends on SIGTERM and SIGINT. Static, no libc
// start-up beyond what the compiler links.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void End(int signal) { _exit(0); }
static void Reap(int signal) {
  while (waitpid(-1, 0, WNOHANG) > 0) {
  }
}

int main(void) {
  struct sigaction end = {.sa_handler = End}, reap = {.sa_handler = Reap, .sa_flags = SA_NOCLDSTOP};
  sigaction(SIGINT, &end, 0);
  sigaction(SIGTERM, &end, 0);
  sigaction(SIGCHLD, &reap, 0);
  for (;;) pause();
}
