"""The master list of services: what is built in, and what the administrator says.

/etc/ganeti/gluster-services.conf, the same on all nodes, has a section for each
type; a section of a type that is built in says only what is to be different::

    [GLUSTER_SWIFT]
    nodes = tag:swift
    verify = on

    [NFS]
    title = NFS on Gluster
    nodes = node1 node2
    service.rpcbind = rpcbind
    service.ganesha = nfs-ganesha ganesha.nfsd

    [settings]
    history = 10000

The services start in the order in which they stand there.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ganeti_gluster import constants
from ganeti_gluster.core.services.model import NodeChoice, Service, ServiceType
from ganeti_gluster.tools import ini
from ganeti_gluster.tools.ini import InvalidConfiguration, Within, match, number, switch

GLUSTER_SWIFT = "GLUSTER_SWIFT"
GLUSTER = "GLUSTER"

BUILT_IN = (
    ServiceType(
        GLUSTER_SWIFT,
        "Gluster Swift",
        tuple(
            Service(
                name,
                tuple(
                    form % name for form in ("gluster-swift-%s", "openstack-swift-%s", "swift-%s")
                ),
            )
            # Requests come in at the proxy, which needs the others.
            for name in ("account", "container", "object", "proxy")
        ),
    ),
    ServiceType(
        GLUSTER,
        "GlusterFS",
        (
            Service("glusterd", ("glusterd", "glusterfs-server")),
            Service("glustereventsd", ("glustereventsd",)),
        ),
    ),
)

SETTINGS = "settings"
# Events that are kept, and the seconds that a hook of the administrator's may take.
HISTORY, HISTORY_RANGE = 10000, (100, 1000000)
HOOK_SECONDS, HOOK_SECONDS_RANGE = 20, (1, 60)
# Seconds from the beginning of one look at the nodes to that of the next.
INTERVAL, INTERVAL_RANGE = 60, (60, 86400)

MAX_TYPES = 16
MAX_SERVICES = 32

_TYPE = re.compile(r"[A-Z][A-Z0-9_]{0,31}")
_SERVICE = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
# A unit's name without its suffix, safe as a file name and as an argument.
_UNIT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9:_.@-]{0,127}")
_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,254}")
_TAG = re.compile(r"[A-Za-z0-9_+*/:@.-]{1,128}")  # Ganeti's own rule


@dataclass(frozen=True)
class ServicesConfig:
    """All service types, in their order, and the settings."""

    types: tuple[ServiceType, ...] = BUILT_IN
    history: int = HISTORY
    hook_seconds: int = HOOK_SECONDS
    interval: int = INTERVAL

    def type(self, name: str) -> ServiceType:
        """The type called `name`, in any case; raises `InvalidConfiguration`."""
        for each in self.types:
            if each.name == name.upper():
                return each
        raise InvalidConfiguration(
            "there is no service type %r" % name,
            hint="the known types are %s" % ", ".join(each.name for each in self.types),
        )


def digest(type: ServiceType) -> str:
    """What two nodes with the same list of a type's services have in common."""
    text = repr([(service.name, service.units) for service in type.services])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def load(path: str | None = None) -> ServicesConfig:
    """The configuration of this node; the built-in one if there is no file.

    Raises `InvalidConfiguration`.
    """
    path = path or constants.SERVICES_CONF
    text = ini.read(path)
    return ServicesConfig() if text is None else parse(text, path)


def parse(text: str, path: str = constants.SERVICES_CONF) -> ServicesConfig:
    """The configuration in `text`; `path` is for messages.

    Raises `InvalidConfiguration`.
    """
    parser = ini.parse(text, path)
    types = {each.name: each for each in BUILT_IN}
    settings: Mapping[str, str] = {}
    for name in parser.sections():
        if name == SETTINGS:
            settings = parser[name]
            continue
        with Within(path, name):
            types[name] = _type(name, parser[name], types.get(name))
    if len(types) > MAX_TYPES:
        raise InvalidConfiguration("%s: more than %d types" % (path, MAX_TYPES))
    with Within(path, SETTINGS):
        return ServicesConfig(tuple(types.values()), **_settings(settings))


def _type(name: str, section: Mapping[str, str], base: ServiceType | None) -> ServiceType:
    match(_TYPE, name, "type name (capital letters, digits and _)")
    type = base or ServiceType(name, name, ())
    services = []
    for key, value in section.items():
        if key.startswith("service."):
            services.append(_service(key[len("service.") :], value))
        elif key == "title":
            type = replace(type, title=_title(value))
        elif key == "nodes":
            type = replace(type, nodes=node_choice(value))
        elif key == "verify":
            type = replace(type, verify=switch(key, value))
        else:
            raise ValueError("unknown line %r" % key)
    if services:
        type = replace(type, services=tuple(services))
    if not type.services:
        raise ValueError("a type needs at least one line 'service.NAME = UNIT ...'")
    if len(type.services) > MAX_SERVICES:
        raise ValueError("more than %d services" % MAX_SERVICES)
    units = [unit for service in type.services for unit in service.units]
    twice = sorted({unit for unit in units if units.count(unit) > 1})
    if twice:
        raise ValueError("unit %s is named twice" % ", ".join(twice))
    return type


def _service(name: str, value: str) -> Service:
    match(_SERVICE, name, "service name (small letters, digits, _ and -)")
    units = tuple(unit.removesuffix(".service") for unit in value.split())
    if not units:
        raise ValueError("service %s has no unit" % name)
    for unit in units:
        match(_UNIT, unit, "unit name")
    return Service(name, units)


def node_choice(value: str) -> NodeChoice:
    """`all`, `none`, `tag:TAG`, or names of nodes; raises ValueError."""
    if value == "all":
        return NodeChoice()
    if value == "none":
        return NodeChoice("names")
    if value.startswith("tag:"):
        return NodeChoice("tag", tag=match(_TAG, value[len("tag:") :], "tag"))
    names = value.replace(",", " ").split()
    if not names:
        raise ValueError("'nodes' is empty; use all, none, tag:TAG or node names")
    return NodeChoice("names", names=frozenset(match(_NODE, name, "node name") for name in names))


def _title(value: str) -> str:
    if not value or len(value) > 64 or not value.isprintable():
        raise ValueError("the title must be one line of at most 64 characters")
    return value


def _settings(section: Mapping[str, str]) -> dict[str, int]:
    settings: dict[str, int] = {}
    for key, value in section.items():
        if key == "history":
            settings["history"] = number(key, value, HISTORY_RANGE)
        elif key == "hook_seconds":
            settings["hook_seconds"] = number(key, value, HOOK_SECONDS_RANGE)
        elif key == "interval":
            settings["interval"] = number(key, value, INTERVAL_RANGE)
        else:
            raise ValueError("unknown line %r" % key)
    return settings
