"""`GlusterStorage`: Ganeti's block device interface on libgfapi.

The class translates between Ganeti's terms and those of the modules that do
the work: MiB and bytes, its parameters, its exceptions.  An image lies at the
same path of the volume as stock Ganeti's, in the same format.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from ganeti import constants as ganeti_constants
from ganeti import errors, objects
from ganeti.storage import base

from ganeti_gluster import constants
from ganeti_gluster.constants import MIB
from ganeti_gluster.core import image
from ganeti_gluster.core.volume import VolumeSpec, connect
from ganeti_gluster.errors import GanetiGlusterError, InvalidParameter, PatchRefused
from ganeti_gluster.storage import operations
from ganeti_gluster.tools import names

if TYPE_CHECKING:  # each Ganeti process imports this module, few connect, export or open
    from ganeti_gluster.core.in_use import ImageInUse
    from ganeti_gluster.tools.gfapi import Volume

# What libgfapi logs when it logs: its "info".
LOG_LEVEL = 7


class _Request(threading.local):
    """What holds for the request that this thread serves.

    `created`: the devices that were made since `removing_what_is_created` was entered;
    `paths` ends those that were made for `kernel_paths`; `keeping`: an image that is open is
    left as it is when it is assembled and opened.
    """

    created: list[GlusterStorage] | None = None
    paths: contextlib.ExitStack | None = None
    keeping = False


_request = _Request()


@contextlib.contextmanager
def _during_request(**values: Any) -> Iterator[None]:
    """Have these values hold in the block."""
    outer = {name: getattr(_request, name) for name in values}
    try:
        for name, value in values.items():
            setattr(_request, name, value)
        yield
    finally:
        for name, value in outer.items():
            setattr(_request, name, value)


@contextlib.contextmanager
def removing_what_is_created() -> Iterator[None]:
    """Remove the images that were created in the block, if it fails.

    Ganeti undoes the creation of a device only if all that follows it in the
    node daemon succeeded; else it knows nothing of the image, whose path then
    is in the way of the next try.
    """
    created: list[GlusterStorage] = []
    with _during_request(created=created):
        try:
            yield
        except BaseException:
            for device in created:
                try:
                    device.Remove()
                except errors.BlockDeviceError as err:  # the first error counts
                    logging.error("Image %s is left behind: %s", device.unique_id, err)
            raise


def keeping_paths() -> contextlib.AbstractContextManager[None]:
    """Leave images that are open as they are in the block.

    For Ganeti assembles and opens all disks of an instance to begin the import or export of
    each, while scripts work on the paths of others, which nobody may have for himself.
    """
    return _during_request(keeping=True)


@contextlib.contextmanager
def kernel_paths() -> Iterator[None]:
    """Give every disk that is asked for its `dev_path` one, until the end of the block.

    A disk that has a path already keeps it afterwards.
    """
    stack = contextlib.ExitStack()
    with _during_request(paths=stack), _translated("remove the path of a disk"), stack:
        yield


def _fail(err: Exception, what: str) -> NoReturn:
    """Raise Ganeti's exception for one of ours; `what` was being done."""
    raise errors.BlockDeviceError("Cannot %s: %s" % (what, err)) from err


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    """Turn what the core raises into Ganeti's `BlockDeviceError`."""
    try:
        yield
    except errors.BlockDeviceError:
        raise
    except (GanetiGlusterError, OSError) as err:
        logging.debug("Gluster disk", exc_info=True)
        _fail(err, what)


def _connect(spec: VolumeSpec) -> Volume:
    """Connect; where Ganeti logs for debugging, libgfapi writes to the same log."""
    root = logging.getLogger()
    if root.isEnabledFor(logging.DEBUG):
        for handler in root.handlers:
            if isinstance(handler, logging.FileHandler):
                return connect(spec, log_file=handler.baseFilename, log_level=LOG_LEVEL)
    return connect(spec)


class GlusterStorage(base.BlockDev):
    """An image on a Gluster volume.

    The unique id is Ganeti's: a pair of a driver's name, which has no meaning
    here, and the image's path on the volume.
    """

    def __init__(
        self,
        unique_id: Any,
        children: Any,
        size: int,
        params: dict[str, Any],
        dyn_params: dict[str, Any],
        **kwargs: Any,
    ) -> None:
        """Store the values; nothing is checked or connected before it is needed."""
        super().__init__(unique_id, children, size, params, dyn_params, **kwargs)
        self._uuid: str | None = kwargs.get("uuid")
        self._attached: bool | None = None
        self._new = False

    # -- what Ganeti reads ---------------------------------------------------

    @property
    def attached(self) -> bool:
        """Whether the image exists, looked up when first used.

        Also true if that cannot be found out: Ganeti takes a device that is not attached for
        one that does not exist, and would forget an image when its instance is removed while
        the volume is unreachable.  The next operation on the device reports the error.
        """
        if self._attached is None:
            try:
                self.Attach()
            except errors.BlockDeviceError as err:
                logging.warning("%s", err)
                return True
        return bool(self._attached)

    @attached.setter
    def attached(self, value: bool) -> None:
        self._attached = value

    @property
    def dev_path(self) -> str | None:
        """The image's block device on this node, or None if there is none.

        With access=kernelspace there is one while the device is assembled; with
        access=userspace within `kernel_paths`.
        """
        if self.unique_id is None:  # the base class is initialising
            return None
        in_use = self._in_use()
        device = in_use.export.device()
        if device is None and _request.paths is not None:
            from ganeti_gluster.storage import one_writer

            with _translated("give image %s a path" % self._path):
                device = _request.paths.enter_context(
                    in_use.with_device(
                        one_writer.own_number(), locking=one_writer.enabled(self.params)
                    )
                )
        return device

    @dev_path.setter
    def dev_path(self, value: str | None) -> None:
        if value is not None:
            raise errors.ProgrammerError("The path of a gluster disk cannot be set")

    # -- finding the image ---------------------------------------------------

    @property
    def _path(self) -> str:
        """The image's path on the volume, checked."""
        return _path_of(self.unique_id)

    @property
    def _spec(self) -> VolumeSpec:
        """The volume, from the disk's parameters, checked."""
        return _spec_of(self.params)

    def _in_use(self) -> ImageInUse:
        from ganeti_gluster.core.in_use import ImageInUse

        with _translated("use the parameters of the gluster template"):
            patience = names.patience(self.params.get(constants.PARAM_PATIENCE, names.PATIENCE))
        return ImageInUse(self._spec, self._path, patience)

    @property
    def _kernelspace(self) -> bool:
        return bool(
            self.params.get(constants.PARAM_ACCESS, ganeti_constants.DISK_KERNELSPACE)
            == ganeti_constants.DISK_KERNELSPACE
        )

    @contextlib.contextmanager
    def _volume(self, what: str) -> Iterator[tuple[Volume, str]]:
        """The open volume and the image's path; failures become Ganeti's."""
        path, spec = self._path, self._spec
        with (
            _translated("%s image %s of volume %s" % (what, path, spec.name)),
            _connect(spec) as volume,
        ):
            yield volume, path

    def Attach(self, **kwargs: Any) -> bool:
        """Look the image up; nothing changes.

        Raises `BlockDeviceError` if the volume does not answer.
        """
        self._attached = self._find_size() is not None
        return self._attached

    def _find_size(self) -> int | None:
        """The image's size in bytes, None if there is none; its server knows it best."""
        with _translated("find image %s" % self._path):
            size = self._in_use().size()
        if size is not None:
            return size
        with self._volume("find") as (volume, path):
            try:
                return image.stat(volume, path).size
            except FileNotFoundError:
                return None

    def _assert_found(self) -> None:
        size = self._find_size()
        self._attached = size is not None
        if size is None:
            raise errors.BlockDeviceError(
                "Image %s of volume %s does not exist" % (self._path, self._spec.name)
            )

    # -- life cycle ----------------------------------------------------------

    @classmethod
    def Create(
        cls,
        unique_id: Any,
        children: Any,
        size: int,
        spindles: int | None,
        params: dict[str, Any],
        excl_stor: bool,
        dyn_params: dict[str, Any],
        **kwargs: Any,
    ) -> GlusterStorage:
        """Create an image of `size` MiB, which must not exist yet.

        All of it is there afterwards, on disk, or nothing is.
        """
        if excl_stor:
            raise errors.ProgrammerError(
                "Gluster device requested with exclusive_storage, which only LVM supports"
            )
        path, spec = _path_of(unique_id), _spec_of(params)
        _check_parameters(params)
        with _translated("create image %s of volume %s" % (path, spec.name)):
            names.size_mib(size)
            with _connect(spec) as volume:
                image.create(
                    volume,
                    path,
                    int(size) * MIB,
                    preallocation=params.get(
                        constants.PARAM_PREALLOCATION, names.PREALLOCATION_OFF
                    ),
                )
        device = cls(unique_id, children, size, params, dyn_params, **kwargs)
        device.attached = True
        device._new = True
        if _request.created is not None:
            _request.created.append(device)
        return device

    def Remove(self) -> bool:
        """Remove the image; one that is gone already is no error.

        Refused where another node has it open.
        """
        from ganeti_gluster.storage import one_writer

        with _translated("end the use of image %s" % self._path):
            self._in_use().end()
        with (
            self._volume("remove") as (volume, path),
            one_writer.holding(self.params, volume, path),
        ):
            image.remove(volume, path)
        self._attached = False
        return True

    def Rename(self, new_id: Any) -> None:
        """Give the image another path on the same volume, which must be free.

        Refused where another node has it open.
        """
        new_path = _path_of(new_id)
        from ganeti_gluster.storage import one_writer

        with _translated("end the use of image %s" % self._path):
            self._in_use().end()
        with (
            self._volume("rename") as (volume, path),
            one_writer.holding(self.params, volume, path),
        ):
            image.rename(volume, path, new_path)
        self.unique_id = new_id

    def Assemble(self) -> None:
        """Make sure that the image is there; what makes it usable is `Open`.

        For until then another node may have it, as the source of a migration.
        """
        self._assert_found()
        if not self._kernelspace and _request.paths is None and not _request.keeping:
            with _translated("assemble image %s" % self._path):
                self._in_use().export.stop()  # one that a script left which was killed

    def Open(self, force: bool = False, exclusive: bool = True) -> None:
        """Have the image served on this node, and give it its path where it has one.

        `exclusive` is for the one node that may write, else both ends of a migration
        have it.  An image that was only just made is nobody's, and is opened when it is
        used.
        """
        from ganeti_gluster.storage import one_writer

        if self._new and force:
            return
        if not (_request.keeping and self._in_use().status() is not None):
            one_writer.open_image(self.params, self._path, exclusive=exclusive)
        self._attached = True
        if self._kernelspace:
            with _translated("give image %s a path" % self._path):
                self._in_use().show_device()

    def Close(self) -> None:
        """End the image's use on this node; idempotent."""
        self.Shutdown()

    def Shutdown(self) -> None:
        """Undo `Open`; idempotent, and needs no volume where nothing is in use."""
        with _translated("shut image %s down" % self._path):
            self._in_use().end()
        self._attached = False

    # -- size, state and information -----------------------------------------

    def Grow(self, amount: int, dryrun: bool, backingstore: bool, excl_stor: bool) -> None:
        """Grow the image by `amount` MiB beyond the size that Ganeti knows.

        The target is absolute, so that growing again after a failure half-way
        comes to the same end.  Only the call for the backing store does it.
        """
        if not backingstore:
            return
        from ganeti_gluster.core import in_use

        with _translated("grow image %s" % self._path):
            names.size_mib(amount)
            target = names.size_mib(self.size + amount) * MIB
        preallocation = self.params.get(constants.PARAM_PREALLOCATION, names.PREALLOCATION_OFF)

        def on_volume() -> None:
            with self._volume("grow") as (volume, path):
                image.grow(volume, path, target, preallocation=preallocation, dry_run=dryrun)

        with _translated("grow image %s" % self._path):
            in_use.grow(
                self._in_use(),
                target,
                preallocated=preallocation != names.PREALLOCATION_OFF,
                on_volume=on_volume,
                tell=self._tell_size,
                dry_run=dryrun,
            )

    def _tell_size(self, size: int) -> None:
        # Late, since only this one operation needs Ganeti's KVM code.
        from ganeti_gluster.storage import running_disk

        if self._uuid is not None:
            running_disk.show_size(self._uuid, size)

    def Snapshot(self, snap_name: str | None = None, snap_size: int | None = None) -> Any:
        """Take a snapshot and return its logical id, by which it is a disk of its own.

        Without a name it is Ganeti's own for a backup, and replaces one that an
        earlier backup left.  The size is the disk's, whatever is asked for.
        """
        # Late, since only this one operation needs it.
        from ganeti_gluster.storage import snapshot

        with self._volume("take a snapshot of") as (volume, path):
            self._in_use().flush()
            try:
                target = snapshot.take(
                    volume, self._spec, path, disk_uuid=self._uuid, name=snap_name
                )
            except errors.HypervisorError as err:
                raise GanetiGlusterError(str(err)) from err
        return (self.unique_id[0], target)

    def Import(self) -> list[str]:
        """The command that writes its standard input over the image.

        For the import of a backup.  A conversion has no command: `storage.convert`
        has the reason.
        """
        from ganeti_gluster.core.copy import program
        from ganeti_gluster.storage import node_names

        self._assert_found()
        return program.argv(program.IMPORT, self._spec, self._path, node=node_names.own())

    def Export(self) -> list[str]:
        """The command that writes the image to its standard output."""
        from ganeti_gluster.core.copy import program
        from ganeti_gluster.storage import node_names

        self._assert_found()
        return program.argv(program.EXPORT, self._spec, self._path, node=node_names.own())

    @property
    def place(self) -> tuple[VolumeSpec, str]:
        """The volume and the image's path on it, for those who copy it."""
        return self._spec, self._path

    def GetActualSize(self) -> int:
        """The size of the image in bytes."""
        with _translated("measure image %s" % self._path):
            size = self._in_use().size()
        if size is not None:
            return size
        with self._volume("measure") as (volume, path):
            return image.stat(volume, path).size

    def GetActualSpindles(self) -> None:
        """None: a volume has no spindles of an image's own."""

    def SetInfo(self, text: str) -> None:
        """Keep `text` with the image; `gnt-gluster disk info` shows it."""
        with self._volume("describe") as (volume, path):
            image.set_info(volume, path, text)

    def GetSyncStatus(self) -> Any:
        """The image's state on its volume, as seen from this node.

        An image is degraded if a copy is missing or needs a heal; it can be used all the same.
        The local disk is faulty if the image cannot be used (split-brain), and unknown if the
        volume does not answer.
        """
        degraded, ldisk = self._state()
        device = self.dev_path
        number = os.stat(device).st_rdev if device else None
        return objects.BlockDevStatus(
            # `gnt-instance info` shows it: without a path, where the image is.
            dev_path=device or self._spec.where(self._path),
            major=None if number is None else os.major(number),
            minor=None if number is None else os.minor(number),
            sync_percent=None,
            estimated_time=None,
            is_degraded=degraded,
            ldisk_status=ldisk,
        )

    def GetUserspaceAccessUri(self, hypervisor: str) -> str:
        """The URI at which QEMU reaches the image's server."""
        if hypervisor != ganeti_constants.HT_KVM:
            raise errors.BlockDeviceError(
                "Hypervisor %s cannot reach Gluster in userspace; set the disk parameter"
                " gluster:access=kernelspace" % hypervisor
            )
        with _translated("find the server of image %s" % self._path):
            return self._in_use().uri

    def _state(self) -> tuple[bool, Any]:
        """Whether the image is degraded, and the state of the local disk.

        The server of an open image knows which bricks it has; else the volume is asked.
        """
        try:
            with _translated("ask for image %s" % self._path):
                status = self._in_use().status()
            if status is not None and status.size:
                if status.state != "serving":
                    logging.warning("Image %s waits: %s", self._path, status.why)
                    return True, ganeti_constants.LDS_UNKNOWN
                return status.connected < status.bricks, ganeti_constants.LDS_OKAY
            # Late, since only this one operation needs the volume's graph.
            from ganeti_gluster.core import health

            with self._volume("check") as (volume, path):
                image.stat(volume, path)  # raises where too few bricks answer
                state = health.check(volume, path)
        except errors.BlockDeviceError as err:
            logging.warning("%s", err)
            return True, ganeti_constants.LDS_UNKNOWN
        if state.split_brain:
            return True, ganeti_constants.LDS_FAULTY
        return bool(state.degraded), ganeti_constants.LDS_OKAY


def _path_of(unique_id: Any) -> str:
    """The image's path in Ganeti's unique id, checked."""
    if not isinstance(unique_id, (tuple, list)) or len(unique_id) != 2:
        raise errors.BlockDeviceError(
            "Invalid id %r of a gluster disk; expected a driver and a path" % (unique_id,)
        )
    with _translated("use the gluster disk %r" % (unique_id,)):
        path: str = names.image_path(unique_id[1])
        return path


def _spec_of(params: dict[str, Any]) -> VolumeSpec:
    """The volume in a disk's parameters, checked."""
    with _translated("use the parameters of the gluster template"):
        return VolumeSpec.from_params(params)


def _check_parameters(params: dict[str, Any]) -> None:
    """Refuse parameters that this class would ignore, and invalid values of others."""
    with _translated("use the parameters of the gluster template"):
        unknown = sorted(set(params).difference(constants.TEMPLATE_PARAMETERS))
        if unknown:
            raise InvalidParameter("unknown disk parameter %s" % ", ".join(unknown))
        names.access(params.get(constants.PARAM_ACCESS, ganeti_constants.DISK_KERNELSPACE))
        names.preallocation(params.get(constants.PARAM_PREALLOCATION, names.PREALLOCATION_OFF))
        names.locking(params.get(constants.PARAM_LOCKING, names.LOCKING_ON))
        names.patience(params.get(constants.PARAM_PATIENCE, names.PATIENCE))


def register(module: Any) -> None:
    """Put `GlusterStorage` in the place of stock Ganeti's class.

    `module` is `ganeti.storage.bdev`, whose functions look classes up in
    `DEV_MAP` at call time.
    """
    template = ganeti_constants.DT_GLUSTER
    stock = module.DEV_MAP.get(template)
    if stock is None or not issubclass(stock, base.BlockDev):
        raise PatchRefused("bdev.DEV_MAP has no class for the gluster template")
    missing = [
        name
        for name in ("Create", "Attach", "Assemble", "Open", "Close", "Shutdown", "Grow")
        if not callable(getattr(base.BlockDev, name, None))
    ]
    if missing:
        raise PatchRefused("Ganeti's BlockDev lacks %s" % ", ".join(missing))
    operations.count_methods(GlusterStorage)
    module.DEV_MAP[template] = GlusterStorage
