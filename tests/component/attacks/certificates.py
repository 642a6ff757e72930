"""Certificates are judged for every request, by the authorities of now; a bad one is nobody, not anybody."""
import http.client
import pathlib
import ssl
import time

from .target import ADMIN, DO

RELOAD_SECONDS = 2.5


def connection(target, certificate=None):
    context = ssl.create_default_context(cafile=target.server.pki.file("ca.crt"))
    if certificate:
        context.load_cert_chain(*certificate)
    return http.client.HTTPSConnection("127.0.0.1", target.server.port, timeout=20, context=context)


def code(c, path="/api/v1/namespaces/kube-system", headers=None):
    c.request("GET", path, headers=headers or {})
    r = c.getresponse()
    r.read()
    return r.status


def issue(target, name, subject, authority, *validity):
    """A client certificate by `authority` (a file without its ending) of the tests' folder."""
    f, run = target.server.pki.file, target.server.pki.run
    pathlib.Path(f(f"{name}.ext")).write_text("extendedKeyUsage=clientAuth\n")
    run("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)
    run("x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.crt", "-CAkey", f"{authority}.key", "-CAcreateserial",
        "-out", f"{name}.crt", "-extfile", f"{name}.ext", *(validity or ("-days", "2")))
    return f(f"{name}.crt"), f(f"{name}.key")


def other_authority(target):
    target.server.pki.run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "other.key", "-out", "other.crt",
                          "-days", "2", "-subj", "/CN=test-ca")


def attack_bad_certificates_are_nobody(target):
    other_authority(target)
    strange = issue(target, "strange", "/O=system:masters/CN=admin", "other")
    ended = issue(target, "ended", "/O=system:masters/CN=admin", "ca", "-days", "0")
    time.sleep(1.1)
    for name, certificate in (("of another authority", strange), ("that has ended", ended)):
        c = connection(target, certificate)
        assert code(c) == 401, f"a certificate {name}"
        assert code(c, "/version") == 401, f"a certificate {name} is not anonymous"
        assert code(c, "/version", {"Authorization": "Bearer tok-alice"}) == 200, "a token beside it counts"
        assert code(c, headers={"Authorization": "Bearer tok-alice"}) == 403, "as alice"
        c.close()
    # Nor does a header make anybody of who is no proxy.
    alice = issue(target, "alice", "/CN=alice", "ca")
    c = connection(target, alice)
    assert code(c, headers={"X-Remote-User": "admin", "X-Remote-Group": "system:masters"}) == 403
    c.close()


def attack_a_connection_outlives_its_authority(target):
    import grpc
    other_authority(target)
    f = target.server.pki.file
    authority = pathlib.Path(f("ca.crt"))
    good = authority.read_text()
    c = connection(target, (f("admin.crt"), f("admin.key")))
    request = target.wire.Request(verb="get", version="v1", resource="namespaces", name="kube-system",
                                  accept="application/json").SerializeToString()
    with target.channel(ADMIN) as channel:
        do = channel.unary_unary(DO)
        assert code(c) == 200
        do(request, timeout=20)
        try:
            authority.write_text(pathlib.Path(f("other.crt")).read_text())
            time.sleep(RELOAD_SECONDS)
            assert code(c) == 401, "REST on a connection from before"
            try:
                do(request, timeout=20)
                raise AssertionError("gRPC on a connection from before")
            except grpc.RpcError as e:
                assert e.code() == grpc.StatusCode.UNAUTHENTICATED, e
            authority.write_text("no certificate at all")
            time.sleep(RELOAD_SECONDS)
            assert code(c) == 401, "a broken file changes nothing"
        finally:
            authority.write_text(good)
            time.sleep(RELOAD_SECONDS)
        assert code(c) == 200
        do(request, timeout=20)
    c.close()
