"""What /proc tells of processes."""

from __future__ import annotations

import os

from ganeti_gluster.tools import processes


def test_a_process_has_a_user_as_long_as_it_is_there() -> None:
    assert processes.user_of(os.getpid()) == os.geteuid()
    assert processes.user_of(1 << 30) is None
