"""Our disk parameters in Ganeti's tables and on their way to the device."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest

from ganeti_gluster import objects_ext
from ganeti_gluster.errors import PatchRefused

DEFAULTS = {"host": "127.0.0.1", "port": 24007, "volume": "gv0", "access": "kernelspace"}


def constants_module(**changes: Any) -> SimpleNamespace:
    values = {
        "DT_GLUSTER": "gluster",
        "VTYPE_STRING": "string",
        "DISK_DT_DEFAULTS": {"gluster": dict(DEFAULTS), "plain": {"stripes": 1}},
        "DISK_DT_TYPES": {"host": "string"},
        "DISK_LD_DEFAULTS": {"gluster": dict(DEFAULTS)},
        "DTS_SNAPSHOT_CAPABLE": frozenset(["drbd", "ext", "plain"]),
        "DTS_MAY_ADOPT": frozenset(["plain"]),
    }
    return SimpleNamespace(**{**values, **changes})


def objects_module() -> SimpleNamespace:
    constants = constants_module()

    class Disk:
        @staticmethod
        def ComputeLDParams(template: str, params: dict[str, Any]) -> list[dict[str, Any]]:
            return [
                {name: params[template][name] for name in constants.DISK_LD_DEFAULTS[template]}
            ]

    return SimpleNamespace(constants=constants, Disk=Disk)


def test_the_parameters_are_known_and_have_defaults() -> None:
    module = constants_module()
    objects_ext.extend_constants(module)
    assert module.DISK_DT_DEFAULTS["gluster"] == {
        **DEFAULTS,
        "preallocation": "off",
        "locking": "on",
        "patience": "900",
    }
    for name in ("preallocation", "locking", "patience"):
        assert module.DISK_DT_TYPES[name] == "string"


def test_ganeti_asks_for_snapshots_of_the_template_and_adopts() -> None:
    module = constants_module()
    objects_ext.extend_constants(module)
    assert frozenset(["drbd", "ext", "plain", "gluster"]) == module.DTS_SNAPSHOT_CAPABLE
    assert frozenset(["plain", "gluster"]) == module.DTS_MAY_ADOPT


def test_no_device_is_made_to_require_it() -> None:
    module = constants_module()
    objects_ext.extend_constants(module)
    assert module.DISK_LD_DEFAULTS["gluster"] == DEFAULTS


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"DISK_DT_DEFAULTS": {}}, "the tables of disk parameters are not as expected"),
        (
            {"DTS_SNAPSHOT_CAPABLE": None},
            "the set of templates DTS_SNAPSHOT_CAPABLE is not as expected",
        ),
        ({"DISK_DT_TYPES": ()}, "the tables of disk parameters are not as expected"),
        (
            {"DISK_DT_DEFAULTS": {"gluster": {"host": "", "port": 1, "access": ""}}},
            "the gluster template lacks the parameter volume",
        ),
        (
            {"DISK_DT_TYPES": {"preallocation": "bool"}},
            "the disk parameter preallocation has another type here",
        ),
    ],
)
def test_unexpected_tables_are_refused_and_stay(changes: dict[str, Any], reason: str) -> None:
    module = constants_module(**changes)
    before = copy.deepcopy(vars(module))
    with pytest.raises(PatchRefused, match="^%s$" % reason):
        objects_ext.extend_constants(module)
    assert vars(module) == before


def test_the_device_gets_the_parameter() -> None:
    module = objects_module()
    objects_ext.extend_objects(module)
    params = {"gluster": {**DEFAULTS, "preallocation": "full"}}
    assert module.Disk.ComputeLDParams("gluster", params) == [params["gluster"]]


def test_the_word_for_the_default_is_none_of_its_values() -> None:
    module = objects_module()
    objects_ext.extend_objects(module)
    names = ("preallocation", "locking", "patience")
    params = {"gluster": {**DEFAULTS, **dict.fromkeys(names, "default")}}
    (found,) = module.Disk.ComputeLDParams("gluster", params)
    assert [found[name] for name in names] == ["off", "on", "900"]


def test_a_configuration_without_it_stays_usable() -> None:
    module = objects_module()
    objects_ext.extend_objects(module)
    assert module.Disk.ComputeLDParams("gluster", {"gluster": DEFAULTS}) == [DEFAULTS]


def test_an_unexpected_disk_is_refused() -> None:
    module = objects_module()
    module.Disk.ComputeLDParams = staticmethod(lambda template, params: [])
    with pytest.raises(PatchRefused, match="ComputeLDParams"):
        objects_ext.extend_objects(module)
