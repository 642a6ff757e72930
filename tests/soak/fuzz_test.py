#!/usr/bin/env python3
"""Every fuzzer for ten minutes, patches and HTTP/2 for thirty (KEELSON_FUZZ_SECONDS instead of 600), in a build with the
sanitizers of its own."""
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / "build/asan"


def main():
    if not (BUILD / "build.ninja").exists():
        subprocess.run(["cmake", "--preset", "asan"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["ninja", "-C", BUILD, "fuzzers"], check=True)
    seconds = os.environ.get("KEELSON_FUZZ_SECONDS", "600")
    return subprocess.run([ROOT / "tests/fuzz/run", "--seconds", seconds],
                          env=os.environ | {"KEELSON_BUILD": str(BUILD)}).returncode


if __name__ == "__main__":
    sys.exit(main())
