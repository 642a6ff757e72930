"""What the end-to-end tests share: running inside the sandbox, bringing a cluster up, kubectl."""
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BIN = pathlib.Path(os.environ.get("KEELSON_BIN", ROOT / "build/dev/bin"))
SHARED = pathlib.Path(os.environ.get("KEELSON_SHARED", ROOT.parent / "shared"))
sys.path.insert(0, str(ROOT / "tests/tools"))
DAEMONS = ["kvstore", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"]


def missing():
    """Why a cluster cannot be brought up here, or None."""
    absent = [d for d in DAEMONS + ["keelson", "kvctl"] if not (BIN / d).exists()]
    if absent:
        return f"not built: {', '.join(absent)}"
    if os.geteuid() != 0:
        return "needs root"
    return None


def enter_sandbox(kind="sandbox"):
    """Runs this program again inside the sandbox (or systemd_sandbox) and exits with its code; returns when already inside."""
    if os.environ.get("KEELSON_SANDBOX") == "inside":
        return
    from kubectl import kubectl  # the sandbox has no way to the registries

    for minor in (35, 37):
        kubectl(minor)
    # A run that is cut short takes its sandbox with it.
    done = subprocess.run(["setpriv", "--pdeathsig", "TERM", ROOT / "tests/e2e" / kind, sys.executable, "-u",
                           os.path.abspath(sys.argv[0]), *sys.argv[1:]],
                          stdin=subprocess.DEVNULL, env=dict(os.environ, KEELSON_BIN=str(BIN), KEELSON_SHARED=str(SHARED)))
    sys.exit(done.returncode)


def up():
    start = time.time()
    # The command line is a user's; only the packages and the build are there already.
    done = subprocess.run([ROOT / "deploy/up", "--bin", BIN, "--no-packages", "--supervisor", "keelson"],
                          capture_output=True, text=True)
    print(done.stdout[-4000:], flush=True)
    if done.returncode != 0:
        print(done.stderr[-4000:])
        logs()
        print(f"FAIL deploy/up: ended with {done.returncode}")
        sys.exit(1)
    print(f"PASS deploy/up ({time.time() - start:.1f} s)", flush=True)


def logs(lines=30):
    for log in sorted(pathlib.Path("/var/log/keelson").glob("*.log")):
        text = log.read_text(errors="replace").splitlines()[-lines:]
        print(f"--- {log}", *text, sep="\n")


def kubectl_path(minor=37):
    """A folder to put first in PATH, in which `kubectl` is that version."""
    folder = pathlib.Path(f"/tmp/kubectl-{minor}")
    folder.mkdir(exist_ok=True)
    link = folder / "kubectl"
    if not link.exists():
        link.symlink_to(ROOT / f"build/tools/kubectl-1.{minor}")
    return folder


def sh(command, minor=37, timeout=180, check=False, **environment):
    env = dict(os.environ, PATH=f"{kubectl_path(minor)}:{os.environ['PATH']}", KUBECONFIG="/etc/kubernetes/admin.conf",
               **environment)
    try:
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, errors="replace", env=env,
                              timeout=timeout, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as late:
        return subprocess.CompletedProcess(command, 124, (late.stdout or b"").decode(errors="replace"),
                                           (late.stderr or b"").decode(errors="replace") + "timed out")
    if check and done.returncode != 0:
        print(f"FAIL {command}: {done.stderr.strip() or done.stdout.strip()}")
        logs()
        sys.exit(1)
    return done


def until(what, condition, seconds=60):
    """Waits for condition() to be true; a FAIL line and exit otherwise."""
    end = time.time() + seconds
    while time.time() < end:
        if condition():
            return
        time.sleep(0.2)
    print(f"FAIL {what}: not within {seconds} s")
    logs()
    sys.exit(1)
