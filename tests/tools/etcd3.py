"""The npm client etcd3, brought in on first use and kept in build/tools/etcd3/."""
import pathlib
import shutil
import subprocess

TOOLS = pathlib.Path(__file__).resolve().parent.parent.parent / "build/tools/etcd3"
VERSION = "1.1.2"


def node_path():
    """What NODE_PATH must be for require('etcd3'); (None, why) where it cannot be had."""
    if not shutil.which("npm"):
        return None, "npm is not installed"
    if not (TOOLS / "node_modules/etcd3").exists():
        TOOLS.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", TOOLS, f"etcd3@{VERSION}"],
                              capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            return None, "npm cannot install etcd3: " + " ".join(done.stderr.split())[-200:]
    return str(TOOLS / "node_modules"), ""
