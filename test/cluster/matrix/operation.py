"""What an operation of the matrix is."""

from __future__ import annotations

from typing import ClassVar

from testbedlib import CompletedCommand

from .world import World


class Operation:
    """One operation; the methods are called in the order in which they stand.

    `home` is where the guest runs before, `hit` the node that faults strike, `opcode` that of
    its job, if it is one, and `spread` within how many seconds after it was seen under way the
    fault comes.  `worker` are words of the process that copies, where it has one of its own.
    """

    name: ClassVar[str]
    home = "node2"
    hit = "node2"
    opcode: ClassVar[str] = ""
    spread = 2.0
    worker: ClassVar[tuple[str, ...]] = ()
    spoils = False
    nodes = 3

    def images(self, world: World) -> set[str]:
        """The images that there are before and after, but for what it makes or removes."""
        return {world.image}

    def prepare(self, world: World) -> None:
        """What has to be there before."""

    def argv(self, world: World) -> list[str]:
        raise NotImplementedError

    def under_way(self, world: World) -> bool:
        """Whether one sees that it has begun."""
        return any(job[1:] == (self.opcode, "running") for job in world.jobs())

    def let_go_on(self, world: World) -> None:
        """Have it end soon, once the fault is undone."""

    def succeeded(self, done: CompletedCommand) -> bool:
        """Whether the command says that it has done all."""
        return done.exit_code == 0

    def check_failed(self, world: World) -> None:
        """What is true where it has failed."""

    def tidy(self, world: World) -> None:
        """What the documentation has an administrator do before the command is given again."""

    def done_after_all(self, world: World) -> None:
        """Look at what stays where all was done, but the command failed."""

    def residue(self, world: World) -> set[str]:
        """The images that the documentation lets stay until the command is given again."""
        return set()

    def is_done(self, world: World) -> bool:
        """Whether all is as if it had succeeded, after all."""
        return False

    def check(self, world: World) -> set[str]:
        """What is true where it has succeeded; returns the images that there are."""
        return self.images(world)

    def undo(self, world: World) -> None:
        """Make room for the next one."""
