"""Results of earlier checks of a node, kept as long as nothing shows that they have changed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")

#: Seconds for which an answer is kept whose stamp would not show everything, and one whose
#: stamp does.
SHORT = 300.0
LONG = 3600.0


@dataclass
class Keep:
    """What was found, by a name of ours: the stamp, the time and the value.

    A stamp is whatever can be had for next to nothing and is another one when the value is,
    such as the times of files.  A look without a `Keep` asks everything again.
    """

    found: dict[str, tuple[object, float, Any]] = field(default_factory=dict)
    clock: Callable[[], float] = time.monotonic

    def get(
        self,
        name: str,
        stamp: object,
        work: Callable[[], T],
        *,
        seconds: float,
        keep: Callable[[T], bool] = lambda value: True,
    ) -> T:
        """The value that is kept, else what `work` finds, which is kept if `keep` says so.

        What `work` raises is raised, and nothing is kept.
        """
        old = self.found.get(name)
        if old is not None and old[0] == stamp and 0 <= self.clock() - old[1] < seconds:
            value: T = old[2]
            return value
        self.found.pop(name, None)
        value = work()
        if keep(value):
            self.found[name] = (stamp, self.clock(), value)
        return value

    def value(self, name: str) -> Any:
        """What is kept now, None if nothing is."""
        found = self.found.get(name)
        return None if found is None else found[2]
