"""Actions of users: starts, stops and restarts of services, one at a time.

An action runs in its own thread and is identified by a number.  It ends by itself: the controller
that does the work has time limits.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from ganeti_gluster.core.services.config import GLUSTER_SWIFT
from ganeti_gluster.core.services.control import VERBS, Outcome
from ganeti_gluster.errors import GanetiGlusterError

#: Actions that are remembered.
MAX_ACTIONS = 50

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Order:
    """What is to be done; `services` empty means all of the type.

    `user` is who began it; see `Actions.begin`.
    """

    verb: str
    nodes: tuple[str, ...]
    services: tuple[str, ...] = ()
    user: str = ""
    type: str = GLUSTER_SWIFT


@dataclass
class Action:
    """An order that was accepted; `error` is the reason if it ended without outcomes."""

    id: int
    order: Order
    user: str
    started: float
    ended: float | None = None
    error: str = ""
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def running(self) -> bool:
        return self.ended is None

    @property
    def state(self) -> str:
        """`running`, `done`, `partly` or `failed`."""
        if self.running:
            return "running"
        done = [outcome.good for outcome in self.outcomes]
        if self.error or not any(done):
            return "failed"
        return "done" if all(done) else "partly"


#: Does the work and reports each outcome as it comes; raises GanetiGlusterError.
OrderRunner = Callable[[Order, Callable[[Outcome], None]], None]


class InvalidOrder(GanetiGlusterError):
    """An order for what is not there, or that is no order."""


class ActionInProgress(GanetiGlusterError):
    """Another action is running."""


class Actions:
    """Runs orders, one at a time; thread-safe.  `clock` is seconds since the epoch."""

    def __init__(
        self,
        controller: OrderRunner,
        *,
        clock: Callable[[], float] = time.time,
        on_end: Callable[[], None] = lambda: None,
        max_actions: int = MAX_ACTIONS,
    ) -> None:
        self._controller = controller
        self._clock = clock
        self._on_end = on_end
        self._max_actions = max_actions
        self._actions: OrderedDict[int, Action] = OrderedDict()
        self._last_id = 0
        self._lock = threading.Lock()

    def begin(self, order: Order, user: str) -> Action:
        """Start an order, return its action at once; `ActionInProgress` while another runs."""
        with self._lock:
            running = next((one for one in self._actions.values() if one.running), None)
            if running is not None:
                raise ActionInProgress(
                    "%s is already doing %s on %s"
                    % (running.user, running.order.verb, ", ".join(running.order.nodes)),
                    hint="wait until it has finished",
                )
            self._last_id += 1
            action = Action(self._last_id, replace(order, user=user), user, self._clock())
            self._actions[action.id] = action
            while len(self._actions) > self._max_actions:
                self._actions.popitem(last=False)
        log.info(
            "action %d: %s %s by %s on %s, %s",
            *(action.id, order.verb, order.type, user, ",".join(order.nodes)),
            ",".join(order.services) or "all services",
        )
        threading.Thread(
            target=self._run, args=(action,), name="action-%d" % action.id, daemon=True
        ).start()
        return action

    def find(self, number: int) -> Action | None:
        """The action of that number, None if there is none or it is forgotten."""
        with self._lock:
            return self._actions.get(number)

    def latest(self) -> list[Action]:
        """All actions that are remembered, the newest first."""
        with self._lock:
            return list(reversed(self._actions.values()))

    def _run(self, action: Action) -> None:
        try:
            self._controller(action.order, action.outcomes.append)
        except GanetiGlusterError as err:
            action.error = str(err)
        except Exception as err:  # the thread's edge: whatever it is, the user is told
            log.exception("action %d", action.id)
            action.error = "unexpected: %s" % (str(err) or type(err).__name__)
        action.ended = self._clock()
        log.info("action %d: %s %s", action.id, action.state, action.error)
        self._on_end()


def make_order(
    verb: str,
    nodes: Iterable[str],
    services: Iterable[str],
    *,
    known_nodes: Sequence[str],
    known_services: Sequence[str],
    type: str = GLUSTER_SWIFT,
) -> Order:
    """An order from names that somebody sent; raises InvalidOrder on any that is not known.

    `type` is that of the known services.  What is kept are the known names, in their order, never
    what was sent.
    """
    if verb not in VERBS:
        raise InvalidOrder("not an action: %.40s" % verb, hint="one of %s" % ", ".join(VERBS))
    wanted = _known("node", nodes, known_nodes)
    if not wanted:
        raise InvalidOrder("no node is selected", hint="select at least one")
    chosen = _known("service", services, known_services)
    return Order(VERBS[VERBS.index(verb)], wanted, chosen, type=type)


def _known(what: str, sent: Iterable[str], known: Sequence[str]) -> tuple[str, ...]:
    names = set(sent)
    strange = sorted(names.difference(known))
    if strange:
        raise InvalidOrder("no such %s here: %.80s" % (what, strange[0]))
    return tuple(name for name in known if name in names)
