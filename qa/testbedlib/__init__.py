"""The testbed: real Debian nodes with Ganeti and Gluster on one machine."""

from .asserting import assert_command, wait_for
from .command import CompletedCommand
from .errors import CommandTimeout, TestbedError, UnexpectedExit
from .testbed import Testbed

__all__ = [
    "CommandTimeout",
    "CompletedCommand",
    "Testbed",
    "TestbedError",
    "UnexpectedExit",
    "assert_command",
    "wait_for",
]
