"""The testbed: real Debian nodes with Ganeti and Gluster on one machine."""

from .asserting import assert_command, wait_for
from .command import CompletedCommand
from .errors import CommandFailed, CommandTimeout, TestbedError
from .testbed import Testbed

__all__ = [
    "CommandFailed",
    "CommandTimeout",
    "CompletedCommand",
    "Testbed",
    "TestbedError",
    "assert_command",
    "wait_for",
]
