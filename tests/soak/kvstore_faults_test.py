#!/usr/bin/env python3
"""tests/component/kvstore_faults_test.py for an hour ($KEELSON_SOAK_FAULT_SECONDS), with a seed that the day gives."""
import datetime
import os
import pathlib
import subprocess
import sys

TEST = pathlib.Path(__file__).resolve().parents[1] / "component/kvstore_faults_test.py"
SECONDS = int(os.environ.get("KEELSON_SOAK_FAULT_SECONDS", "3600"))

sys.exit(subprocess.run([TEST, "--seed", str(datetime.date.today().toordinal()), "--seconds", str(SECONDS // 2)]).returncode)
