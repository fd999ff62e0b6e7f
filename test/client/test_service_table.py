"""How the services of the nodes look on a terminal."""

from __future__ import annotations

from ganeti_gluster.client.service_table import overview
from ganeti_gluster.core.services.model import ClusterServices, ServerService, ServiceStatus


def service(node: str, name: str, status: ServiceStatus, message: str = "") -> ServerService:
    return ServerService("GLUSTER_SWIFT", name, node, status, message)


SNAPSHOT = ClusterServices(
    0,
    (
        service("node1", "object", ServiceStatus.RUNNING),
        service("node1", "proxy", ServiceStatus.STOPPED, "masked"),
        service(
            "node2.example.org", "object", ServiceStatus.NOT_INSTALLED, "looked for swift-object"
        ),
        service("node2.example.org", "proxy", ServiceStatus.RUNNING),
        service("node3", "object", ServiceStatus.UNKNOWN, "no answer"),
        service("node3", "proxy", ServiceStatus.UNKNOWN, "no answer"),
    ),
    {"node3": "no answer"},
)


def lines(snapshot: ClusterServices, *, colour: bool = False) -> list[str]:
    return overview(snapshot, "GLUSTER_SWIFT", "Gluster Swift", colour=colour)


def test_the_cluster_then_a_table_then_the_reasons() -> None:
    assert lines(SNAPSHOT) == [
        "Gluster Swift: Partially up",
        "",
        "Node               object         proxy      Together",
        "node1              Up             Down       Partially up",
        "node2.example.org  Not installed  Up         Partially up",
        "node3              Unknown ?      Unknown ?  Unknown ?",
        "",
        "node1 proxy: masked",
        "node3: no answer",
    ]


def test_colours_change_neither_words_nor_columns() -> None:
    coloured = lines(SNAPSHOT, colour=True)
    assert coloured[0] == "Gluster Swift: \033[33mPartially up\033[0m"
    plain = "\n".join(coloured)
    for code in ("32", "31", "33", "90"):
        assert "\033[%sm" % code in plain
        plain = plain.replace("\033[%sm" % code, "")
    assert plain.replace("\033[0m", "").splitlines() == lines(SNAPSHOT)


def test_a_type_that_is_expected_nowhere() -> None:
    assert lines(ClusterServices(0, ())) == ["Gluster Swift is not expected on any node"]
