#!/usr/bin/python3
"""What an enemy sends to a control plane of real processes: every attack is refused with the right answer, writes
nothing, leaves the daemon alive and its memory where it was.

Each module of attacks/ is one family; its functions named attack_* take a Target and raise AssertionError with what was
seen. Run one: tests/component/attacks_test.py [TEXT]."""
import importlib
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import apiserver_process
from attacks.target import Target

RSS_SLACK_MB = 60  # what an attack may leave behind
SETTLE_SECONDS = 10  # how long memory may take to go back


def families():
    folder = pathlib.Path(__file__).resolve().parent / "attacks"
    return sorted(p.stem for p in folder.glob("*.py") if p.stem not in ("__init__", "target"))


def settled(target, before_mb):
    """The RSS once it is back within the slack, or what it stayed at."""
    end = time.time() + SETTLE_SECONDS
    while True:
        now = target.rss_mb()
        if now <= before_mb + RSS_SLACK_MB or time.time() > end:
            return now
        time.sleep(0.2)


def run(target, name, attack):
    """None, or why it failed."""
    before = target.rss_mb()
    try:
        attack(target)
    except AssertionError as e:
        return str(e) or "refused wrongly"
    except Exception as e:  # a dropped connection is an answer only where the attack expects it
        return f"{type(e).__name__}: {e}"
    finally:
        target.clean()
    if not target.alive():
        return "the daemon ended: " + target.log_end()
    after = settled(target, before)
    return f"memory went from {before:.0f} to {after:.0f} MB" if after > before + RSS_SLACK_MB else None


def main():
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    server = apiserver_process.ApiServer("kvstore")
    target = Target(server)
    failed = False
    try:
        server.wait_ready()
        for family in families():
            module = importlib.import_module(f"attacks.{family}")
            for function in [f for f in vars(module) if f.startswith("attack_")]:
                name = f"attacks.{family}.{function.removeprefix('attack_')}"
                if wanted not in name:
                    continue
                why = run(target, name, getattr(module, function))
                failed |= why is not None
                print(f"PASS {name}" if why is None else f"FAIL {name}: {why}", flush=True)
                if not target.alive():
                    target.restart()
    finally:
        target.close()
        server.stop()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
