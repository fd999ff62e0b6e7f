"""What `gnt-cluster verify` says of services, by the configuration."""

from __future__ import annotations

from ganeti_gluster.core.services import config, expected
from ganeti_gluster.core.services.model import (
    ClusterServices,
    ServerService,
    ServiceNode,
    ServiceStatus,
)

R, S, N, U = (
    ServiceStatus.RUNNING,
    ServiceStatus.STOPPED,
    ServiceStatus.NOT_INSTALLED,
    ServiceStatus.UNKNOWN,
)


def said(
    text: str,
    *services: tuple[str, str, ServiceStatus, str],
    failures: dict[str, str] | None = None,
    offline: tuple[str, ...] = (),
) -> list[str]:
    snapshot = ClusterServices(
        0,
        tuple(
            ServerService("GLUSTER_SWIFT", name, node, status, message)
            for node, name, status, message in services
        ),
        failures or {},
    )
    types = config.parse("[GLUSTER_SWIFT]\n" + text).types
    return [str(finding) for finding in expected.findings(snapshot, types, offline=offline)]


BROKEN = (
    ("node1", "object", R, ""),
    ("node1", "proxy", R, ""),
    ("node2", "account", N, "looked for swift-account"),
    ("node2", "object", R, ""),
    ("node2", "proxy", S, "masked"),
    ("node3", "proxy", U, "no connection within 5 s"),
    ("node4", "proxy", U, "marked offline in Ganeti"),
)


def test_off_by_default() -> None:
    assert said("nodes = all", *BROKEN) == []


def test_one_line_for_each_node_that_is_not_as_expected() -> None:
    found = said(
        "verify = on",
        *BROKEN,
        failures={"node3": "no connection within 5 s", "node4": "marked offline in Ganeti"},
        offline=("node4",),
    )
    remedy = "gnt-gluster services start --type=GLUSTER_SWIFT --node=%s"
    assert found == [
        "ERROR: SERVICES_DOWN: node2: Gluster Swift: account is not installed,"
        " proxy is down (masked); " + remedy % "node2",
        "WARNING: SERVICES_DOWN: node3: Gluster Swift: unknown (no connection within 5 s); "
        + remedy % "node3",
    ]


def test_where_all_runs_there_is_nothing_to_say() -> None:
    assert said("verify = on", *BROKEN[:2]) == []


def test_a_service_whose_unit_is_disabled_is_told_once_for_a_node() -> None:
    def service(
        name: str, node: str, enabled: bool | None, status: ServiceStatus = R
    ) -> ServerService:
        return ServerService(
            *("GLUSTER_SWIFT", name, node, status), enabled=enabled, unit="swift-" + name
        )

    snapshot = ClusterServices(
        0,
        (
            service("object", "node1", False),
            service("proxy", "node1", False),
            service("object", "node2", True),
            service("proxy", "node2", None),
            service("proxy", "node3", False, S),
            service("proxy", "node4", False),
        ),
    )
    types = config.parse("[GLUSTER_SWIFT]\nverify = on\n").types
    assert [str(each) for each in expected.disabled(snapshot, types, offline=["node4"])] == [
        "WARNING: SERVICES_DISABLED: node1: Gluster Swift: object, proxy will not start when the"
        " node boots; on node1: systemctl enable swift-object swift-proxy"
    ]
    assert list(expected.disabled(snapshot, config.BUILT_IN, offline=())) == []  # not verified


def test_a_node_that_is_mistyped_is_told() -> None:
    nodes = [ServiceNode("node1.example.com"), ServiceNode("node2.example.com")]
    types = config.parse("[GLUSTER_SWIFT]\nnodes = node1 ndoe2 node2.example.com\n").types
    assert [str(each) for each in expected.misnamed("node1", types, nodes)] == [
        "WARNING: SERVICES_NODE: node1: Gluster Swift is expected on ndoe2, which is no node of"
        " this cluster; correct the line 'nodes' of [GLUSTER_SWIFT] in"
        " /etc/ganeti/gluster-services.conf, and copy the file to all nodes"
    ]
    assert [node in types[0].nodes for node in nodes] == [True, True]
