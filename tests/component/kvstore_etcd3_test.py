#!/usr/bin/env python3
"""kvstore through the npm client `etcd3`: plain, TLS, with authentication."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import apiserver_process
from kvstore_test import Store

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "tools"))
from etcd3 import node_path  # noqa: E402

SCRIPT = r"""
const { Etcd3 } = require('etcd3');
const fs = require('fs');
const [url, ca, cert, key, user] = process.argv.slice(2);
const must = (got, want, what) => { if (got !== want) throw new Error(`${what}: got ${got}, want ${want}`); };
(async () => {
  const options = { hosts: url };
  if (ca) options.credentials = { rootCertificate: fs.readFileSync(ca), certChain: fs.readFileSync(cert),
                                  privateKey: fs.readFileSync(key) };
  if (user) options.auth = { username: user.split(':')[0], password: user.split(':')[1] };
  const c = new Etcd3(options);
  await c.put('foo').value('bar');
  must(await c.get('foo').string(), 'bar', 'get');
  const w = await c.watch().prefix('w').create();
  const seen = new Promise(done => w.on('put', kv => done(kv.key.toString())));
  const lease = c.lease(10);
  await lease.put('w1').value('x');
  must(await seen, 'w1', 'watch');
  await lease.revoke();
  must(await c.get('w1'), null, 'lease');
  const t = await c.if('foo', 'Value', '==', 'bar').then(c.put('foo').value('baz')).else(c.get('foo')).commit();
  must(t.succeeded, true, 'txn');
  await c.lock('l').do(async () => {});
  const e = c.election('e', 5), campaign = e.campaign('me');
  await new Promise((done, fail) => { campaign.on('elected', done); campaign.on('error', fail); });
  must(await e.leader(), 'me', 'election');
  await campaign.resign();
  await c.delete().all();
  must((await c.maintenance.status()).version, '3.7.1', 'status');
  await w.cancel();
  c.close();
})().catch(e => { console.error(e.message); process.exit(1); });
"""


def main():
    node, (modules, why) = shutil.which("node"), node_path()
    if not node or not modules:
        print(f"SKIP kvstore_etcd3: {why or 'node is not installed'}")
        return
    with tempfile.TemporaryDirectory(prefix="kvstore-etcd3-") as top:
        top = pathlib.Path(top)
        script = top / "client.js"
        script.write_text(SCRIPT)
        (top / "pki").mkdir()
        apiserver_process.Pki(top / "pki")
        for name, tls in (("plain", None), ("tls", top / "pki")):
            (top / name).mkdir()
            store = Store(top / name, tls=tls, flags=["--bcrypt-cost", "4"])
            store.start()
            try:
                files = [str(tls / f) for f in ("ca.crt", "admin.crt", "admin.key")] if tls else ["", "", ""]
                for case, user in ((name, ""), (f"{name}_auth", "root:pw")):
                    if user:
                        store.ctl("user", "add", user, program="kvctl")
                        store.ctl("auth", "enable", program="kvctl")
                    done = subprocess.run([node, str(script), store.url, *files, user], capture_output=True, text=True,
                                          timeout=60, env=os.environ | {"NODE_PATH": modules})
                    good = done.returncode == 0
                    print(f"PASS kvstore_etcd3.{case}" if good else
                          f"FAIL kvstore_etcd3.{case}: {done.stderr.strip()[-300:]}", flush=True)
            finally:
                store.kill()


if __name__ == "__main__":
    main()
