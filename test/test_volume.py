"""A volume from Ganeti's parameters, and in QEMU's words."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from ganeti_gluster.errors import InvalidParameter, VolumeUnreachable
from ganeti_gluster.volume import Server, VolumeSpec, live_server, reachable_by_qemu


def from_params(**params):
    return VolumeSpec.from_params({"host": "node1", "port": 24007, "volume": "gv0", **params})


@pytest.mark.parametrize(
    ("host", "servers"),
    [
        ("node1", [("node1", 24007)]),
        ("node1,node2:24008", [("node1", 24007), ("node2", 24008)]),
        (" node1 , node2 ", [("node1", 24007), ("node2", 24007)]),
        ("node1,node1", [("node1", 24007)]),
        ("2001:db8::1", [("2001:db8::1", 24007)]),
        ("[2001:db8::1]", [("2001:db8::1", 24007)]),
        ("192.0.2.1,[2001:db8::1]:24009", [("192.0.2.1", 24007), ("2001:db8::1", 24009)]),
    ],
)
def test_servers_of_the_host_parameter(host, servers):
    assert from_params(host=host).servers == tuple(servers)


def test_the_port_parameter_is_the_default_for_all():
    spec = from_params(host="a,b:1,c", port="24010")
    assert spec.servers == (Server("a", 24010), Server("b", 1), Server("c", 24010))
    assert VolumeSpec.from_params({"host": "a", "volume": "v"}).servers == (Server("a", 24007),)


def test_other_parameters_are_left_alone():
    assert from_params(access="userspace", anything=1) == from_params()


def test_equal_parameters_make_equal_keys():
    assert len({from_params(), from_params(port="24007"), from_params(host=" node1")}) == 1


@pytest.mark.parametrize(
    "params",
    [
        {"host": ""},
        {"host": ","},
        {"host": "a,,b"},
        {"host": None},
        {"host": "a:"},
        {"host": "a:0"},
        {"host": "a:x"},
        {"host": "[::1"},
        {"host": "[::1]:"},
        {"host": "[::1]x"},
        {"host": "[::1]:70000"},
        {"host": "a?b"},
        {"port": 0},
        {"port": None},
        {"volume": "-v"},
        {"volume": None},
        {"transport": "rdma"},
        {"transport": "unix"},
    ],
)
def test_odd_parameters_are_refused(params):
    with pytest.raises(InvalidParameter):
        from_params(**params)


@pytest.mark.parametrize(
    ("host", "path", "uri"),
    [
        ("node1", "ganeti/a.0", "gluster://node1:24007/gv0/ganeti/a.0"),
        ("node1:1", "a", "gluster://node1:1/gv0/a"),
        ("2001:db8::1", "a", "gluster://[2001:db8::1]:24007/gv0/a"),
        ("node1", "a b?c#d%e", "gluster://node1:24007/gv0/a%20b%3Fc%23d%25e"),
        ("node1", "ü", "gluster://node1:24007/gv0/%C3%BC"),
    ],
)
def test_the_uri(host, path, uri):
    spec = from_params(host=host)
    assert spec.qemu_uri(path, spec.servers[0]) == uri


def test_the_blockdev_has_every_server_and_text_ports():
    assert from_params(host="node1,[::1]:24008").qemu_blockdev("ganeti/a b") == {
        "driver": "gluster",
        "volume": "gv0",
        "path": "ganeti/a b",
        "server": [
            {"type": "inet", "host": "node1", "port": "24007"},
            {"type": "inet", "host": "::1", "port": "24008"},
        ],
    }


def test_a_unix_socket():
    spec = from_params(host="/run/glusterd.socket", transport="unix")
    server = {"type": "unix", "path": "/run/glusterd.socket"}
    assert spec.qemu_blockdev("a")["server"] == [server]
    assert spec.qemu_uri("a", spec.servers[0]) == (
        "gluster+unix:///gv0/a?socket=/run/glusterd.socket"
    )


@pytest.mark.parametrize("path", ["/a", "../a", ""])
def test_an_odd_path_gets_no_uri(path):
    spec = from_params()
    for make in (lambda: spec.qemu_uri(path, spec.servers[0]), lambda: spec.qemu_blockdev(path)):
        with pytest.raises(InvalidParameter):
            make()


@contextlib.contextmanager
def serving(host):
    """A server that answers each connection, by ending it."""

    def serve(listener):
        with contextlib.suppress(OSError):
            while True:
                listener.accept()[0].close()

    with socket.create_server((host, 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield Server(host, listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)


def test_the_first_live_server_of_the_list_is_chosen():
    dead = Server("127.0.0.1", 1)
    with serving("127.0.0.1") as one, serving("127.0.0.2") as other:
        assert live_server(VolumeSpec("gv0", (dead, one, other))) == one
        assert live_server(VolumeSpec("gv0", (dead, other, one))) == other


def test_a_server_that_only_its_kernel_answers_for_is_not_live():
    with socket.create_server(("127.0.0.1", 0)) as listener, serving("127.0.0.2") as live:
        frozen = Server("127.0.0.1", listener.getsockname()[1])
        assert live_server(VolumeSpec("gv0", (frozen, live)), timeout=5) == live
        with pytest.raises(VolumeUnreachable, match="accepts, but does not answer"):
            live_server(VolumeSpec("gv0", (frozen,)), timeout=2)


def test_no_live_server_is_an_error_that_names_all():
    spec = VolumeSpec("gv0", (Server("127.0.0.1", 1), Server("::1", 2)))
    with pytest.raises(VolumeUnreachable) as caught:
        live_server(spec)
    assert str(caught.value).startswith(
        "no server of volume gv0 answers: 127.0.0.1:1: Connection refused, [::1]:2: "
    )
    assert caught.value.volume == "gv0"
    assert len(caught.value.servers) == 2


def test_qemu_with_glusterfs_11_is_not_given_an_ipv6_address():
    both = from_params(host="[2001:db8::1],node2")
    assert reachable_by_qemu(both, glusterfs_11=True) == from_params(host="node2")
    assert reachable_by_qemu(both, glusterfs_11=False) == both
    with pytest.raises(InvalidParameter) as caught:
        reachable_by_qemu(from_params(host="[2001:db8::1]"), glusterfs_11=True)
    assert str(caught.value) == (
        "QEMU with GlusterFS 11 cannot reach a server by IPv6 address ([2001:db8::1]:24007);"
        " name a server that has an IPv4 address, too"
    )
