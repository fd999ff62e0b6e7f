"""The gluster commands of a pool, and their answers."""

from __future__ import annotations

from xml.etree import ElementTree

from testbedlib import pool

STATUS = """<cliOutput><opRet>0</opRet><volStatus><volumes><volume><volName>gv0</volName>
<node><hostname>node1</hostname><path>/srv/gluster/brick1/gv0</path><status>1</status></node>
<node><hostname>node2</hostname><path>/srv/gluster/brick1/gv0</path><status>0</status></node>
<node><hostname>Self-heal Daemon</hostname><path>localhost</path><status>0</status></node>
</volume></volumes></volStatus></cliOutput>"""
PEERS = """<cliOutput><opRet>0</opRet><peerStatus>
<peer><uuid>a</uuid><hostname>node2</hostname><connected>1</connected></peer>
<peer><uuid>b</uuid><hostname>node3</hostname><connected>0</connected></peer>
<peer><uuid>c</uuid><hostname>localhost</hostname><connected>1</connected></peer>
</peerStatus></cliOutput>"""
GROUP = "performance.quick-read=off\ncluster.eager-lock=enable\nfeatures.shard=on\n\n"


def test_a_replicated_volume_has_a_brick_on_each_server() -> None:
    assert pool.create_arguments("gv0", 3, ["node1", "node2", "node3"]) == [
        "volume", "create", "gv0", "replica", "3",
        "node1:/srv/gluster/brick1/gv0", "node2:/srv/gluster/brick1/gv0",
        "node3:/srv/gluster/brick1/gv0",
    ]  # fmt: skip


def test_one_copy_is_no_replica_and_two_are_forced() -> None:
    assert "replica" not in pool.create_arguments("v", 1, ["node1"])
    assert pool.create_arguments("v", 2, ["node1", "node2"])[-1] == "force"


def test_a_volume_without_copies_gets_no_option_of_copies() -> None:
    assert not set(pool.REPLICA_OPTIONS) & set(pool.volume_options(1))
    assert set(pool.REPLICA_OPTIONS) < set(pool.volume_options(3))
    assert pool.unreplicated_options(GROUP) == {
        "performance.quick-read": "off",
        "features.shard": "on",
    }


def test_a_brick_without_process_is_offline_and_a_daemon_is_no_brick() -> None:
    assert pool.offline_bricks(ElementTree.fromstring(STATUS)) == ["node2:/srv/gluster/brick1/gv0"]


def test_only_connected_peers_count() -> None:
    assert pool.connected_peers(ElementTree.fromstring(PEERS)) == {"node2", "localhost"}
