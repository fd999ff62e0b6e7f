"""The services' facts, from the store that their sync keeps."""

from __future__ import annotations

from ganeti_gluster.core.services import config, store
from ganeti_gluster.core.services.model import ServiceType
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.web import facts

#: Events that are shown.
MAX_EVENTS = 300


def service_types() -> tuple[ServiceType, ...]:
    """The types of services that the page manages, as configured."""
    return config.load().types


def service_type(name: str) -> ServiceType:
    """One of them; raises GanetiGlusterError if there is none of this name."""
    return config.load().type(name)


def services_facts() -> facts.Part:
    """What the last sync of the services found, as it is kept; see `facts.Board`."""
    with store.connect() as state:
        kept = state.kept()
    if kept is None:
        raise GanetiGlusterError("the services have not been queried yet")
    return facts.Part(kept, kept["time"])


def silent_nodes() -> dict[str, str]:
    """The nodes that did not answer the last syncs, with the reason; none before the first."""
    try:
        with store.connect() as state:
            snapshot = state.snapshot()
    except GanetiGlusterError:
        return {}
    return dict(snapshot.failures) if snapshot else {}


def events_facts() -> facts.EventsFacts:
    """The latest events, of all types."""
    titles = {type.name: type.title for type in config.load().types}
    with store.connect() as state:
        events = state.events(limit=MAX_EVENTS)
    return facts.EventsFacts(
        tuple(
            facts.ShownEvent(
                **vars(event),
                at=event.time,
                title=titles.get(event.type, event.type),
                text=event.line(),
            )
            for event in reversed(events)
        )
    )
