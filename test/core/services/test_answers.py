"""What nodes answer, and what the master makes of answers that it does not get."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ganeti_gluster.core.services import answers, config, control
from ganeti_gluster.core.services import node as on_node
from ganeti_gluster.core.services.answers import NodeAnswer
from ganeti_gluster.core.services.config import ServicesConfig
from ganeti_gluster.core.services.model import ServiceStatus
from ganeti_gluster.core.services.systemd import UnitState
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools.decode import as_data

SWIFT = config.BUILT_IN[0]


class Running:
    """A manager of a node on which everything runs under its last name."""

    def read(self, units: list[str]) -> dict[str, UnitState]:
        return {
            unit: UnitState(unit, unit.startswith("swift"), ServiceStatus.RUNNING, pid=7)
            for unit in units
        }


def status_answer(configuration: ServicesConfig = ServicesConfig()) -> NodeAnswer:  # noqa: B008
    return NodeAnswer(json.dumps(on_node.status(configuration, Running())))  # type: ignore[arg-type]


def test_a_node_tells_all_that_the_master_wants_to_know() -> None:
    found = answers.parse_status(status_answer(), "node1", [SWIFT])[SWIFT.name]
    assert [(s.node, s.name, s.unit, s.status, s.pid) for s in found] == [
        ("node1", name, "swift-%s" % name, ServiceStatus.RUNNING, 7)
        for name in ("account", "container", "object", "proxy")
    ]


def test_a_service_manager_that_does_not_answer_is_unknown_with_the_reason() -> None:
    class Silent:
        def read(self, units: list[str]) -> dict[str, UnitState]:
            raise GanetiGlusterError("systemctl show: did not end within 4 s")

    answer = NodeAnswer(json.dumps(on_node.status(ServicesConfig(), Silent())))  # type: ignore[arg-type]
    found = answers.parse_status(answer, "node1", [SWIFT])[SWIFT.name]
    assert {(s.status, s.message) for s in found} == {
        (ServiceStatus.UNKNOWN, "systemctl show: did not end within 4 s")
    }


def test_a_node_tells_which_one_it_takes_for_the_master() -> None:
    told = on_node.status(ServicesConfig(), Running(), master="node2")  # type: ignore[arg-type]
    assert answers.master(NodeAnswer(json.dumps(told))) == "node2"
    del told["master"]
    assert answers.master(NodeAnswer(json.dumps(told))) == ""


SO_DEEP = "[" * 10000 + "]" * 10000


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"types": []}, "types: not an object"),
        ({"types": {"GLUSTER_SWIFT": []}}, r"types\[0\]: not an object"),
        ({"services": {}}, "services: not a list"),
        ({"services": ["x"]}, r"services\[0\]: not an object"),
        ({"services": []}, "not the requested services of GLUSTER_SWIFT"),
        ({"name": ["x"]}, "name: not a string"),
        ({"name": "proxy"}, "a state that GLUSTER_SWIFT proxy cannot have"),
        ({"name": "sshd"}, "a service that does not belong to GLUSTER_SWIFT"),
        ({"type": "GLUSTER"}, "a service that does not belong to GLUSTER_SWIFT"),
        ({"type": 1}, "type: not a string"),
        ({"status": "GREAT"}, "status: not one of the permitted words"),
        ({"status": {}}, "status: not one of the permitted words"),
        ({"status": "PARTIALLY_UP"}, "a state that GLUSTER_SWIFT account cannot have"),
        ({"message": "a\0b"}, "message: a string that cannot be printed"),
        ({"message": "\ud800"}, "message: a string that cannot be printed"),
        ({"message": "\x1b]0;owned\x07"}, "message: a string that cannot be printed"),
        ({"message": "\x9b2J"}, "message: a string that cannot be printed"),
        ({"message": None}, "message: not a string"),
        ({"message": "x" * 5000}, "message: a string of more than 4096 characters"),
        ({"since": "x"}, "since: not a number"),
        ({"since": 1e300}, "since: a number that is out of range"),
        ({"since": -1}, "since: a number that is out of range"),
        ({"unit": "sshd"}, "a state that GLUSTER_SWIFT account cannot have"),
        ({"enabled": "yes"}, "enabled: not true or false"),
        ({"pid": 1.5}, "pid: not a number"),
        ({"pid": 0}, "pid: a number that is out of range"),
        ({"transition": []}, "transition: not a string"),
    ],
)
def test_what_does_not_fit_is_not_understood(change: dict[str, Any], where: str) -> None:
    told = json.loads(status_answer().output)
    own = told["types"][SWIFT.name]
    for place in (told, own, own["services"][0]):
        place.update({name: value for name, value in change.items() if name in place})
    with pytest.raises(GanetiGlusterError, match="^its answer is not understood: .*%s" % where):
        answers.parse_status(NodeAnswer(json.dumps(told)), "node1", [SWIFT])


@pytest.mark.parametrize("name", ["types", "master", "error", "format", "else"])
def test_an_answer_that_is_nested_deeply_is_not_understood(name: str) -> None:
    told = {**json.loads(status_answer().output), name: None}
    output = json.dumps(told).replace(": null", ": " + SO_DEEP, 1)
    with pytest.raises(GanetiGlusterError, match=r"^its answer is not understood: "):
        answers.parse_status(NodeAnswer(output), "node1", [SWIFT])


@pytest.mark.parametrize("master", [["x"], 1, "\0", "x" * 300])
def test_a_vote_that_does_not_fit_is_not_understood(master: object) -> None:
    told = {**json.loads(status_answer().output), "master": master}
    with pytest.raises(GanetiGlusterError, match=r"^its answer is not understood: master: "):
        answers.master(NodeAnswer(json.dumps(told)))


@pytest.mark.parametrize(
    "outcomes",
    [
        {},
        ["x"],
        [],
        [{"type": "GLUSTER"}],
        [{"service": "sshd"}],
        [{"result": "great"}],
        [{"message": "\x1b[2J"}],
        [{"status": None}],
    ],
)
def test_outcomes_that_do_not_fit_are_failures(outcomes: Any) -> None:
    usual = as_data(control.Outcome("", SWIFT.name, "account", "done", ServiceStatus.RUNNING))
    if outcomes and isinstance(outcomes[0], dict):
        outcomes = [{**usual, **outcomes[0]}]
    answer = NodeAnswer(json.dumps({"format": 1, "outcomes": outcomes}))
    (found,) = answers.parse_outcomes(answer, SWIFT, SWIFT.services[:1], "node1")
    assert (found.node, found.service, found.result) == ("node1", "account", control.FAILED)
    assert found.message.startswith("its answer is not understood: outcomes")


@pytest.mark.parametrize("types", [[], "x", {"GLUSTER_SWIFT": ["x"]}, {"\0": "x"}])
def test_digests_that_do_not_fit_are_not_understood(types: object) -> None:
    with pytest.raises(GanetiGlusterError, match=r"^its answer is not understood: types"):
        answers.digests(NodeAnswer(json.dumps({"format": 1, "types": types})))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xff", "it is not UTF-8"),
        (b"<html>", "it is not JSON: <html>"),
        (SO_DEEP.encode(), "it is nested too deeply"),
        (b"[true, %s]" % SO_DEEP.encode(), "it is nested too deeply"),
        (b'{"osparams_private_cluster": "x"}', "it is not an outcome and a string"),
        (b"[true]", "it is not an outcome and a string"),
        (b"[true, []]", "it is not an outcome and a string"),
    ],
)
def test_what_ganetis_rpc_could_not_read_is_not_understood(data: bytes, said: str) -> None:
    body = answers.Body(100000)
    assert body.take(data) == len(data)
    with pytest.raises(GanetiGlusterError, match="^its answer is not understood: %s" % said):
        body.text()


def test_a_node_daemon_is_read_no_further_than_it_may_say() -> None:
    body = answers.Body(10)
    # As libcurl has it: another number than that of the bytes ends the transfer.
    assert [body.take(b"12345") for _ in range(3)] == [5, 5, 0]
    message = "Error 23: Failure writing output to destination"
    assert answers.explain(message, 8) == "its answer is not understood: it is too long"


def test_a_node_with_another_master_list_is_unknown() -> None:
    other = config.parse("[GLUSTER_SWIFT]\nservice.proxy = swift-proxy\n")
    found = answers.parse_status(status_answer(other), "node1", [SWIFT])[SWIFT.name]
    assert [s.status for s in found] == [ServiceStatus.UNKNOWN] * 4
    assert found[0].message == answers.OTHER_CONFIGURATION


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (NodeAnswer(reason="no connection within 5 s"), "no connection within 5 s"),
        (NodeAnswer("Traceback"), "its answer is not understood: it is not JSON: Traceback"),
        (NodeAnswer('{"format": 99}'), "it has a different version of ganeti-gluster"),
        (NodeAnswer('{"format": 1, "error": "no such file"}'), "no such file"),
    ],
)
def test_no_answer_is_a_reason(answer: NodeAnswer, reason: str) -> None:
    with pytest.raises(GanetiGlusterError, match="^%s$" % reason):
        answers.parse_status(answer, "node1", [SWIFT])
    outcomes = answers.parse_outcomes(answer, SWIFT, SWIFT.services, "node1")
    assert [(o.result, o.status, o.message) for o in outcomes] == [
        (control.FAILED, ServiceStatus.UNKNOWN, reason)
    ] * 4


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        # as Ganeti's RPC said them
        ("Error 28: Connection timed out after 5095 milliseconds", "no connection within 5 s"),
        (
            "Error 28: Operation timed out after 8117 milliseconds with 0 bytes received",
            "no answer within 8 s; is ganeti-gluster installed there?",
        ),
        (
            "Error 7: Failed to connect to 192.0.2.13 port 1811 after 2034 ms:"
            " Could not connect to server",
            "no connection; is the node up, and is ganeti-noded running there?",
        ),
        (
            "Executing command 'gluster-services-status' failed",
            "its node daemon refuses; is ganeti-gluster installed there?",
        ),
        (
            "Error 60: SSL certificate problem",
            "no TLS connection; does it have this cluster's certificate?",
        ),
        ("Error 56: Recv failure: reset", "Recv failure: reset"),
        ("Restricted command 'x' failed: exited with exit code 1; output: ", None),
        ("Error 22: \x1b[2J\n\0", "�[2J �"),
        ("Error %s: x" % ("9" * 5000), "Error %s…" % ("9" * 993)),
    ],
)
def test_the_reason_has_no_milliseconds(message: str, reason: str | None) -> None:
    assert answers.explain(message, 8) == (reason or message.strip())


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("Error 28: Operation timed out after 8117 milliseconds", "no answer within 8 s"),
        ("Executing command 'gluster-services-status' failed", "its node daemon refuses"),
    ],
)
def test_a_node_that_has_answered_before_has_the_package(message: str, reason: str) -> None:
    assert answers.explain(message, 8, known=True) == reason


def test_a_short_limit_counts_for_the_connection_too() -> None:
    message = "Error 28: Connection timed out after 4032 milliseconds"
    assert answers.explain(message, 4) == "no connection within 4 s"


def test_control_commands_are_named_without_doubt() -> None:
    names = on_node.commands(config.parse("[A]\nservice.b = b\n[A_B]\nservice.b-c = c\n"))
    assert "gluster-services-start-GLUSTER_SWIFT" in names
    assert "gluster-services-stop-GLUSTER_SWIFT-proxy" in names
    assert names["gluster-services-restart-A_B-b-c"][0] == "restart"
    assert len(names) == 3 * (5 + 3 + 2 + 2)
    # Ganeti's rule for restricted commands
    assert all(name.replace("-", "").replace("_", "").isalnum() for name in names)


def test_the_commands_are_links_that_follow_the_configuration(tmp_path: Any) -> None:
    script = "/usr/share/ganeti-gluster/x"
    own = tmp_path / "gluster-services-start-NFS"
    own.write_text("the administrator's own")
    (tmp_path / "gluster-services-status").symlink_to(script)
    nfs = config.parse("[NFS]\nservice.a = a\n")
    for configuration in (nfs, nfs, ServicesConfig()):
        names = on_node.make_commands(configuration, directory=str(tmp_path), script=script)
        links = {path.name for path in tmp_path.iterdir() if path.is_symlink()}
        assert links == {*names, "gluster-services-status"} - {own.name}
        assert own.read_text() == "the administrator's own"


def test_an_unknown_command_is_refused() -> None:
    with pytest.raises(
        GanetiGlusterError, match="is not a command in the configuration of this node"
    ):
        on_node.control("gluster-services-start-NFS", ServicesConfig(), Running())  # type: ignore[arg-type]
