"""How a node's container is started and entered."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbedlib import cluster, launch, network, node


def test_a_container_gets_fuse_loop_and_tun_but_no_kvm() -> None:
    argv = node.container_argv("node2", Path("/s/node2"))
    binds = [word for word in argv if word.startswith("--bind")]
    assert "--bind=/dev/fuse" in binds
    assert "--bind=/dev/loop-control" in binds
    assert "--bind=/dev/net/tun" in binds
    assert not any("kvm" in word for word in argv)
    assert "--network-veth-extra=vnode2:eth0" in argv
    assert "--directory=/s/node2/root" in argv


def test_the_source_is_read_only_in_a_node() -> None:
    argv = node.container_argv("node1", Path("/s"))
    assert next(word for word in argv if word.endswith(":/src")).startswith("--bind-ro=")


def test_a_command_is_entered_as_it_is() -> None:
    argv = node.enter_argv(42, ["echo", "a b", "$HOME"])
    assert argv[argv.index("--") + 1 :] == ["echo", "a b", "$HOME"]
    assert "--target=42" in argv


@pytest.mark.parametrize(
    ("status", "first"),
    [
        ("Name:\tsystemd\nNSpid:\t3596\t1\n", True),
        ("Name:\tsystemd\nNSpid:\t9\t3596\t1\n", True),
        ("Name:\tsshd\nNSpid:\t3737\t61\n", False),
        ("Name:\tinit\nNSpid:\t1\n", False),  # this machine's own
        ("", False),
    ],
)
def test_the_first_process_of_a_container_is_known(status: str, first: bool) -> None:
    assert node.is_first_process(status) is first


def test_the_overlay_puts_the_nodes_files_over_the_tree() -> None:
    assert launch.overlay_options("/t", "/n") == "lowerdir=/t,upperdir=/n/upper,workdir=/n/work"


def test_a_cut_node_is_plugged_in_without_signal() -> None:
    assert network.connect_argvs("ns", "node1", True)[-1][-1] == "down"
    assert network.connect_argvs("ns", "node1", False)[-1][-1] == "up"


def test_the_network_has_no_way_out() -> None:
    words = [word for argv in network.create_argvs("ns") for word in argv]
    assert "route" not in words and "default" not in words


def test_the_cluster_starts_without_gluster_and_without_kvm() -> None:
    argv = cluster.init_argv()
    assert "--enabled-disk-templates=diskless,ext" in argv
    parameters = next(word for word in argv if word.startswith("--hypervisor-parameters="))
    assert "kvm_path=/usr/bin/qemu-system-x86_64" in parameters
    assert "vhost_net=false" in parameters
