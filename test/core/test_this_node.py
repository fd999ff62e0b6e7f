"""What Ganeti's files tell a node of itself."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ganeti_gluster.core import this_node


@pytest.mark.parametrize(
    ("host", "nodes", "name"),
    [
        ("node1", "node1\nnode2\n", "node1"),
        ("node1", "node1.example.com\nnode10.example.com\n", "node1.example.com"),
        ("node1.example.com", "node1.example.com\n", "node1.example.com"),
        ("node1", "node1.a\nnode1.b\n", "whole.name"),
        ("node3", "node1\n", "whole.name"),
    ],
)
def test_its_name_is_that_of_the_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, nodes: str, name: str
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    monkeypatch.setattr(socket, "getfqdn", lambda: "whole.name")
    (tmp_path / "ssconf_node_list").write_text(nodes)
    assert this_node.name(str(tmp_path)) == name
    (tmp_path / "ssconf_master_node").write_text(name + "\n")
    assert this_node.is_master(str(tmp_path))
    (tmp_path / "ssconf_master_node").write_text("other\n")
    assert not this_node.is_master(str(tmp_path))


def test_without_files_it_is_in_no_cluster(tmp_path: Path) -> None:
    assert not this_node.in_cluster(str(tmp_path))
    assert this_node.lines("offline_nodes", str(tmp_path)) == []
    (tmp_path / "ssconf_master_node").write_text("node1\n")
    assert this_node.in_cluster(str(tmp_path))
