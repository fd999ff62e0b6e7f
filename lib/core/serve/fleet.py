"""All servers of images on this node: what is done with each, one after the other.

`python3 -m ganeti_gluster.core.serve.fleet renew|leave|status`: for the package's scripts, and
for the master, which asks nodes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict

from ganeti_gluster.core.serve import control, files
from ganeti_gluster.errors import GanetiGlusterError

#: Seconds for a server to answer, and to be back after it has replaced itself.
_SECONDS = 60


def renew_all() -> list[str]:
    """Replace each server by the installed version; returns the errors by key.

    The next one begins when the previous one serves again, so that only few clients connect to the
    bricks at the same time.  Their clients notice a short pause.
    """
    return _each(_renew)


def leave_all() -> list[str]:
    """Let each end when it has no client any more, since nobody closes images from now on."""
    return _each(lambda key: control.ask(key, "leave", timeout=_SECONDS))


def _renew(key: str) -> None:
    control.ask(key, "renew", timeout=_SECONDS)
    control.status(key, timeout=_SECONDS)


def statuses() -> dict[str, dict[str, object]]:
    """What each says of itself, by key; `state` is "waiting" where one does not answer."""
    by_key: dict[str, dict[str, object]] = {}
    for key in files.served():
        try:
            status = control.status(key)
        except control.NoAnswer as err:
            by_key[key] = {"state": control.WAITING, "waiting": 0.0, "why": str(err)}
        else:
            if status is not None:
                by_key[key] = asdict(status)
    return by_key


def _each(action: Callable[[str], object]) -> list[str]:
    failures = []
    for key in files.served():
        try:
            action(key)
        except control.NoServer:
            continue
        except GanetiGlusterError as err:
            failures.append("%s: %s" % (key, err))
    return failures


def main(argv: Sequence[str]) -> int:
    """Do what is asked; the exit status is 1 where it failed for a server."""
    actions = {"renew": renew_all, "leave": leave_all}
    if argv[1:] == ["status"]:
        print(json.dumps(statuses()))
        return 0
    if len(argv) != 2 or argv[1] not in actions:
        sys.stderr.write("usage: fleet renew|leave|status\n")
        return 2
    failures = actions[argv[1]]()
    for failure in failures:
        sys.stderr.write("image server %s\n" % failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
