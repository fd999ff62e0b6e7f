"""A volume from Ganeti's parameters."""

from __future__ import annotations

import pytest

from ganeti_gluster.core.volume import VolfileServer, VolumeSpec
from ganeti_gluster.errors import InvalidParameter


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
    assert spec.servers == (
        VolfileServer("a", 24010),
        VolfileServer("b", 1),
        VolfileServer("c", 24010),
    )
    assert VolumeSpec.from_params({"host": "a", "volume": "v"}).servers == (
        VolfileServer("a", 24007),
    )


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
        {"host": "/run/glusterd.socket"},
        {"port": 0},
        {"port": None},
        {"volume": "-v"},
        {"volume": None},
    ],
)
def test_odd_parameters_are_refused(params):
    with pytest.raises(InvalidParameter):
        from_params(**params)


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"host": "node1, node2:24008"}, "node1:24007,node2:24008"),
        ({"host": "[2001:db8::1]"}, "[2001:db8::1]:24007"),
    ],
)
def test_the_servers_as_text_are_the_same_servers(params, text):
    spec = from_params(**params)
    assert spec.text_of_servers() == text
    assert from_params(**{**params, "host": text}) == spec
