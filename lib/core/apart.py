"""Questions about a volume that a process of its own answers, for callers that may fork later.

libgfapi's threads do not survive a fork.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ganeti_gluster.core.copy.program import PYTHON, spec_arguments
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools import command, decode


def ask(
    module: str,
    spec: VolumeSpec,
    arguments: Sequence[str] = (),
    *,
    seconds: float,
    run: command.Run = command.run,
) -> Any:
    """The JSON that a module of this package prints when it is run as a program.

    Raises `GanetiGlusterError` if it fails, takes longer, or prints something else.  libgfapi may
    end the process without an error, for example if the volume is stopped at that moment.
    """
    argv = [PYTHON, "-P", "-m", module, *spec_arguments(spec), *arguments]
    done = run(argv, timeout=seconds, check=False)
    silent = not done.stdout.strip()
    said = decode.printable(done.stderr.strip())
    # Ganeti's jobs ignore the end of their children, whose exit status is not known there.
    if done.exit_code != 0 or (silent and said):
        reason = said or "exit status %d" % done.exit_code
        raise GanetiGlusterError("volume %s: %s" % (spec.name, reason))
    if silent:
        raise GanetiGlusterError("volume %s gave no answer; is it stopped?" % spec.name)
    return decode.plain(done.stdout)
