#!/usr/bin/env python3
"""A server whose advertised address cannot be an endpoint serves all the same, and spoils nothing for the next one."""
import base64
import json
import sys
import time
import urllib.request

import apiserver_process

failed = False


def check(name, good, detail=""):
    global failed
    failed |= not good
    print(f"{'PASS' if good else 'FAIL'} advertise.{name} {'' if good else detail}", flush=True)


def put(server, key, value):
    body = {k: base64.b64encode(v.encode()).decode() for k, v in (("key", key), ("value", value))}
    urllib.request.urlopen(urllib.request.Request(server.store_url + "/v3/kv/put", json.dumps(body).encode())).read()


def endpoints(server):
    status, body = server.get("/api/v1/namespaces/default/endpoints/kubernetes")
    if status != 200:
        return status
    return [a["ip"] for s in json.loads(body)["subsets"] for a in s["addresses"]]


def restart(server, address):
    server.server.terminate()
    server.server.wait(10)
    server.start([f"--advertise-address={address}"])
    server.wait_ready()


def main():
    if not apiserver_process.store_program("kvstore"):
        print("SKIP advertise: the store is not built")
        return 0
    server = apiserver_process.ApiServer("kvstore", ["--advertise-address=127.0.0.1"])
    try:
        server.wait_ready()
        check("on_loopback_it_serves", server.get("/api/v1/namespaces/default/services/kubernetes")[0] == 200)
        check("and_has_no_endpoints", endpoints(server) == 404, endpoints(server))
        status, body = server.get("/readyz?verbose")
        check("hooks_are_done", status == 200 and "[+]poststarthook/bootstrap-controller ok" in body, body)
        # What a server of an older version on loopback left, and one on another impossible address.
        for address in ("127.0.0.1", "169.254.0.1", "nonsense"):
            put(server, f"/registry/masterleases/{address}", "x")
        put(server, "/registry/masterleases/192.0.2.99", "x")
        restart(server, "192.0.2.10")
        check("leases_of_others_that_are_none", endpoints(server) == ["192.0.2.10", "192.0.2.99"], endpoints(server))
        # The endpoints as they are now cannot be written: the server comes up and tries again.
        restart(server, "0.0.0.0")
        check("on_no_address_it_serves", server.get("/readyz")[0] == 200)
        time.sleep(0.1)
        check("and_lives", server.server.poll() is None)
    finally:
        server.stop()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
