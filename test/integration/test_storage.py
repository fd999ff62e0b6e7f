"""`GlusterStorage` as Ganeti's node daemon uses it, through `ganeti.storage.bdev`."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import stat
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ganeti_gluster.core import image
from ganeti_gluster.core.volume import VolumeSpec, connect
from ganeti_gluster.tools.gfapi import Volume

sys.path.insert(0, "/usr/share/ganeti/default")

ganeti_errors = pytest.importorskip("ganeti.errors")

from ganeti import backend, constants, errors, objects, pathutils, ssconf  # noqa: E402
from ganeti.storage import bdev  # noqa: E402
from ganeti.storage import gluster as stock  # noqa: E402

from ganeti_gluster.cmdlib import orphans  # noqa: E402
from ganeti_gluster.core.export import Export  # noqa: E402
from ganeti_gluster.core.serve import opening  # noqa: E402
from ganeti_gluster.core.serve.holder import LockHolder, holder_of, node_number  # noqa: E402
from ganeti_gluster.core.serve.server import ImageServer  # noqa: E402
from ganeti_gluster.storage.gluster import GlusterStorage, kernel_paths  # noqa: E402

from .conftest import ANOTHER_NODE, HOST, VOLUME  # noqa: E402

MIB = 1 << 20
# Nothing answers at an address of this machine's own on this port.
DEAD = "127.0.0.1:9"


def params(**changes: Any) -> dict[str, Any]:
    return {
        "host": HOST,
        "port": 24007,
        "volume": VOLUME,
        "access": constants.DISK_USERSPACE,
        **changes,
    }


@pytest.fixture
def disk(directory: str) -> Iterator[Callable[..., Any]]:
    """Make Ganeti's object of a disk: `disk(name, size, **params)`; nothing exists yet."""
    made = []

    def make(name: str = "x.0", size: int = 64, **changes: Any) -> Any:
        new = objects.Disk(
            dev_type=constants.DT_GLUSTER,
            logical_id=(constants.FD_LOOP, "%s/%s" % (directory, name)),
            size=size,
            params=params(**changes),
            dynamic_params={},
            name=None,
            uuid=str(uuid.uuid4()),
        )
        made.append(new)
        return new

    yield make
    for used in made:
        with contextlib.suppress(errors.BlockDeviceError):  # of a disk that cannot be
            device(used).Shutdown()


def device(disk: Any) -> Any:
    """The device of a disk, as `bdev` makes it."""
    return bdev.DEV_MAP[constants.DT_GLUSTER](
        disk.logical_id, [], disk.size, disk.params, {}, name=disk.name, uuid=disk.uuid
    )


def create(disk: Any) -> Any:
    return bdev.Create(disk, [], False)


def found(disk: Any) -> Any:
    return bdev.FindDevice(disk, [])


def test_the_template_is_ours() -> None:
    assert bdev.DEV_MAP[constants.DT_GLUSTER] is GlusterStorage


def test_a_disk_lives_and_ends(disk: Callable[..., Any], volume: Volume) -> None:
    new = disk(size=64)
    assert found(new) is None
    created = create(new)
    assert created.attached and created.unique_id == new.logical_id
    device = found(new)
    device.Assemble()
    device.Open()
    assert device.dev_path is None
    assert device.GetActualDimensions() == (64 * MIB, None)
    assert image.stat(volume, new.logical_id[1]).mode & 0o777 == 0o600
    device.Close()
    device.Shutdown()
    assert found(new).Remove() is True
    assert found(new) is None


def test_an_image_that_another_node_has_open_is_refused_with_its_name(
    disk: Callable[..., Any],
    start_program: Callable[..., Any],
    volume: Volume,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(opening, "RETURN_SECONDS", 1)
    new = disk()
    created = create(new)
    path = new.logical_id[1]
    created.Open(force=True)  # as Ganeti does after a creation: nobody else has it
    assert holder_of(volume, path) is None
    other = start_program(ANOTHER_NODE, VOLUME, path, str(node_number("node2")), "exclusive")
    assert other.stdout.readline() == "locked\n"
    for exclusive in (True, False):
        with pytest.raises(errors.BlockDeviceError) as caught:
            device(new).Open(exclusive=exclusive)
        assert str(caught.value) == (
            "Image %s is open on node node2 (exclusive): stop the instance there; if that node"
            " is dead or cannot be reached, mark it offline (gnt-node modify --offline=yes) and"
            " fail the instance over, or take the image from it (gnt-gluster disk evict)" % path
        )
    unlocked = device(disk(locking="off"))  # the administrator's switch
    unlocked.Open()
    unlocked.Close()
    other.communicate()
    found(new).Open()  # of whom the image was is gone, without a word
    own = node_number(socket.gethostname())
    assert holder_of(volume, path) == LockHolder(own, "exclusive")
    found(new).Close()
    assert holder_of(volume, path) is None


def test_force_takes_nothing_from_another_node(
    disk: Callable[..., Any], start_program: Callable[..., Any]
) -> None:
    new = disk()
    create(new)
    other = start_program(ANOTHER_NODE, VOLUME, new.logical_id[1], "1", "exclusive")
    assert other.stdout.readline() == "locked\n"
    for force in (False, True):
        with pytest.raises(errors.BlockDeviceError, match="is open on an unknown node"):
            found(new).Open(force=force)
    other.communicate()


def test_what_is_locked_from_before_a_reboot_of_this_node_is_waited_for(
    disk: Callable[..., Any],
    start_program: Callable[..., Any],
    volume: Volume,
) -> None:
    new = disk()
    create(new)
    path, own = new.logical_id[1], node_number(socket.gethostname())
    other = start_program(ANOTHER_NODE, VOLUME, path, str(own), "exclusive")
    assert other.stdout.readline() == "locked\n"
    with ThreadPoolExecutor() as pool:
        opening = pool.submit(found(new).Open)
        time.sleep(3)
        assert not opening.done()
        other.communicate()
        opening.result(60)
    assert holder_of(volume, path) == LockHolder(own, "exclusive")


def test_it_mounts_nothing(disk: Callable[..., Any]) -> None:
    new = disk()
    create(new).Assemble()
    assert "fuse.glusterfs" not in Path("/proc/mounts").read_text()


def test_removing_twice_is_no_error(disk: Callable[..., Any]) -> None:
    new = disk()
    create(new)
    both = found(new), found(new)
    assert [device.Remove() for device in both] == [True, True]


def test_an_image_that_is_there_is_never_overwritten(
    disk: Callable[..., Any], volume: Volume
) -> None:
    create(disk(size=64))
    with pytest.raises(errors.BlockDeviceError, match=r"Cannot create image .*: .*File exists"):
        create(disk(size=32))
    assert image.stat(volume, disk().logical_id[1]).size == 64 * MIB


BAD = [
    ({"logical_id": ("loop",)}, "Invalid id .* of a gluster disk"),
    ({"logical_id": "ganeti/x.0"}, "Invalid id 'ganeti/x.0' of a gluster disk"),
    ({"logical_id": ("loop", "ganeti/../../x")}, "it has an empty, '.' or '..' component"),
    ({"logical_id": ("loop", "/ganeti/x")}, "it must be relative to the volume's root"),
    ({"logical_id": ("loop", "ganeti/x\0y")}, "it has control characters"),
    ({"logical_id": ("loop", "ganeti/x\ny")}, "it has control characters"),
    ({"logical_id": ("loop", "")}, "it is empty"),
    ({"logical_id": ("loop", "ganeti/" + 256 * "x")}, "a component is longer than 255 bytes"),
    ({"logical_id": ("loop", 7)}, "it is not text"),
    ({"size": 0}, "size in MiB 0: it is not between 1 and"),
    ({"size": -5}, "size in MiB -5: it is not between 1 and"),
    ({"size": 1 << 60}, "it is not between 1 and"),
    ({"volume": "gv0/../x"}, "volume name 'gv0/../x': only letters"),
    ({"volume": "-x"}, "volume name '-x': only letters"),
    ({"volume": "no_such_volume"}, "there is no volume no_such_volume"),
    ({"host": "node;reboot"}, "it is neither a host name nor an address"),
    ({"port": 70000}, "port 70000: it is not between 1 and 65535"),
    ({"access": "sometimes"}, "access 'sometimes': it is not one of userspace, kernelspace"),
    ({"preallocation": "most"}, "preallocation 'most': it is not one of off, falloc, full"),
    ({"speed": "high"}, "unknown disk parameter speed"),
]


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_bad_input_is_refused_and_makes_nothing(
    disk: Callable[..., Any], volume: Volume, changes: dict[str, Any], message: str
) -> None:
    before = sorted(entry.name for entry in volume.scandir("/"))
    new = disk()
    for name, value in changes.items():
        if name in ("logical_id", "size"):
            setattr(new, name, value)
        else:
            new.params[name] = value
    with pytest.raises(errors.BlockDeviceError, match=message):
        create(new)
    assert sorted(entry.name for entry in volume.scandir("/")) == before


def test_exclusive_storage_is_ganetis_error(disk: Callable[..., Any]) -> None:
    with pytest.raises(errors.ProgrammerError, match="exclusive_storage"):
        bdev.Create(disk(), [], True)


def test_the_constructor_asks_nobody(disk: Callable[..., Any]) -> None:
    made = device(disk(host="no.such.host.invalid", volume="-"))
    assert made.unique_id == disk().logical_id


def test_a_volume_that_cannot_be_reached_is_no_missing_disk(disk: Callable[..., Any]) -> None:
    new = disk(host=DEAD)
    device = found(new)
    assert device is not None, "Ganeti would forget the image of a removed instance"
    for operation in (device.Attach, device.Assemble, device.Remove, device.GetActualSize):
        with pytest.raises(errors.BlockDeviceError, match=r"127\.0\.0\.1:9: Connection refused"):
            operation()
    status = device.GetSyncStatus()
    assert status.is_degraded and status.ldisk_status == constants.LDS_UNKNOWN
    device.Shutdown()


def test_growing_is_absolute(disk: Callable[..., Any]) -> None:
    new = disk(size=64)
    create(new)
    for _ in range(2):  # the second time as after a failure between node and master
        found(new).Grow(32, False, True, False)
        assert found(new).GetActualSize() == 96 * MIB


def test_a_dry_run_and_the_logical_half_grow_nothing(disk: Callable[..., Any]) -> None:
    new = disk(size=64)
    create(new)
    found(new).Grow(32, True, True, False)
    found(new).Grow(32, False, False, False)
    assert found(new).GetActualSize() == 64 * MIB


@pytest.mark.parametrize("amount", [0, -32, 1 << 60])
def test_growing_by_nonsense_is_refused(disk: Callable[..., Any], amount: int) -> None:
    new = disk(size=64)
    create(new)
    with pytest.raises(errors.BlockDeviceError, match="size in MiB"):
        found(new).Grow(amount, False, True, False)
    assert found(new).GetActualSize() == 64 * MIB


def test_growing_beyond_the_free_space_is_refused_with_numbers(disk: Callable[..., Any]) -> None:
    new = disk(size=64, preallocation="falloc")
    create(new)
    for dryrun in (True, False):
        with pytest.raises(errors.BlockDeviceError, match=r"has \d+ MiB free, but \d+ MiB"):
            found(new).Grow(1 << 30, dryrun, True, False)
    assert found(new).GetActualSize() == 64 * MIB


@pytest.mark.parametrize("mode", ["falloc", "full"])
def test_preallocated_space_is_taken(
    disk: Callable[..., Any], volume: Volume, wait: Callable[..., Any], mode: str
) -> None:
    new = disk(size=16, preallocation=mode)
    create(new)
    found(new).Grow(16, False, True, False)

    def allocated() -> bool:
        return image.stat(volume, new.logical_id[1]).allocated >= 32 * MIB

    # The client remembers what it knew for a second.
    wait("all of it is allocated", allocated, seconds=10)


def test_renaming_never_overwrites(disk: Callable[..., Any]) -> None:
    one, other = disk("a.0", 64), disk("b.0", 32)
    create(one)
    create(other)
    with pytest.raises(errors.BlockDeviceError, match="File exists"):
        found(one).Rename(other.logical_id)
    assert found(other).GetActualSize() == 32 * MIB
    free = disk("c.0", 64)
    found(one).Rename(free.logical_id)
    assert found(one) is None
    assert found(free).GetActualSize() == 64 * MIB


def test_information_is_kept_with_the_image(disk: Callable[..., Any], volume: Volume) -> None:
    new = disk()
    create(new).SetInfo("originstname+vm1.example.com")
    assert image.get_info(volume, new.logical_id[1]) == "originstname+vm1.example.com"


def test_a_healthy_image_is_not_degraded(disk: Callable[..., Any]) -> None:
    new = disk()
    create(new)
    status = found(new).GetSyncStatus()
    assert (status.is_degraded, status.ldisk_status) == (False, constants.LDS_OKAY)


@pytest.mark.parametrize("host", [HOST, "%s,%s" % (DEAD, HOST)])
def test_the_uri_names_the_socket_of_the_images_server(
    disk: Callable[..., Any], host: str
) -> None:
    nbd = pytest.importorskip("nbd")
    new = disk(size=64, host=host)
    create(new)
    made = found(new)
    uri = made.GetUserspaceAccessUri(constants.HT_KVM)
    assert uri.startswith("nbd+unix:///?socket=/run/ganeti-gluster-nbd/")
    assert uri.endswith(".nbd,file.reconnect-delay=960")
    made.Open()
    client = nbd.NBD()
    client.connect_unix(uri.partition("=")[2].partition(",")[0])
    assert client.get_size() == 64 * MIB
    with pytest.raises(errors.BlockDeviceError, match=r"image .* is still in use; by process \d+"):
        made.Shutdown()
    assert made.GetActualSize() == 64 * MIB
    client.shutdown()
    made.Shutdown()


def test_an_image_is_not_opened_when_no_server_answers(disk: Callable[..., Any]) -> None:
    create(disk())
    with pytest.raises(errors.BlockDeviceError, match=r"no server of volume .* answers"):
        device(disk(host=DEAD)).Open()


def test_only_kvm_reaches_gluster_in_userspace(disk: Callable[..., Any]) -> None:
    with pytest.raises(errors.BlockDeviceError, match="set the disk parameter gluster:access"):
        device(disk()).GetUserspaceAccessUri(constants.HT_XEN_PVM)


def test_libgfapi_writes_to_ganetis_log_when_that_is_for_debugging(
    disk: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "node-daemon.log"
    handler = logging.FileHandler(log)
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [handler])
    found(disk())
    assert "glfs" not in log.read_text()
    before = root.level
    root.setLevel(logging.DEBUG)
    try:
        found(disk())
    finally:
        root.setLevel(before)
        handler.close()
    assert "glfs" in log.read_text()


def exports() -> list[str]:
    """The units of exports on this node."""
    done = subprocess.run(
        ["systemctl", "list-units", "--all", "--plain", "--no-legend", "ganeti-gluster-export-*"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return [line.split()[0] for line in done.stdout.splitlines()]


def test_kernelspace_gives_a_block_device_from_open_to_shutdown(
    disk: Callable[..., Any], volume: Volume
) -> None:
    new = disk(size=64, access=constants.DISK_KERNELSPACE)
    create(new)
    device = found(new)
    assert device.dev_path is None
    device.Assemble()
    assert device.dev_path is None, "another node may have it still"
    device.Open()
    device.Assemble()  # safe on a device in use
    device.Open()
    path = device.dev_path
    number = os.stat(path)
    assert stat.S_ISBLK(number.st_mode)
    assert found(new).dev_path == path, "found again, as after a restart of the node daemon"
    status = found(new).GetSyncStatus()
    assert (status.dev_path, status.major, status.minor) == (
        *(path, os.major(number.st_rdev), os.minor(number.st_rdev)),
    )
    with open(path, "r+b") as file:
        assert file.seek(0, os.SEEK_END) == 64 * MIB
        file.seek(5 * MIB)
        file.write(b"written through the kernel")
    device.Shutdown()
    device.Shutdown()
    assert device.dev_path is None and exports() == []
    with volume.open(new.logical_id[1]) as opened:
        assert opened.pread(26, 5 * MIB) == b"written through the kernel"


def test_hypervisors_take_the_device_for_what_it_is(disk: Callable[..., Any]) -> None:
    from ganeti.hypervisor import hv_kvm, hv_xen

    new = disk(size=64, access=constants.DISK_KERNELSPACE)
    new.mode = constants.DISK_RDWR
    device = create(new)
    device.Open()
    path = device.dev_path
    assert hv_xen._GetConfigFileDiskData([(new, path, None)], "xvd") == ["'phy:%s,xvda,w'" % path]
    if hasattr(hv_kvm.KVMHypervisor, "_GenerateKVMBlockDevice"):  # from Ganeti 3.1 on
        defaults = constants.HVC_DEFAULTS[constants.HT_KVM]
        made = hv_kvm.KVMHypervisor._GenerateKVMBlockDevice(path, new, defaults, "disk-1")
        assert (made["file"]["driver"], made["file"]["filename"]) == ("host_device", path)
    device.Shutdown()


def test_an_image_that_is_open_grows(disk: Callable[..., Any]) -> None:
    new = disk(size=64, access=constants.DISK_KERNELSPACE)
    create(new).Open()
    device = found(new)
    device.Grow(32, False, True, False)
    assert device.GetActualSize() == 96 * MIB
    with open(device.dev_path, "rb") as file:
        assert file.seek(0, os.SEEK_END) == 96 * MIB
    device.Shutdown()


def test_a_snapshot_has_what_was_written_to_the_device(
    disk: Callable[..., Any], volume: Volume
) -> None:
    new = disk(size=64, access=constants.DISK_KERNELSPACE)
    create(new).Open()
    with open(found(new).dev_path, "r+b") as file:
        file.write(b"not flushed yet")
        file.flush()
        with pytest.raises(errors.BlockDeviceError, match="in use on this node"):
            found(new).Snapshot()  # what writes to it may go on to
    _, snapshot = found(new).Snapshot()
    with volume.open(snapshot) as opened:
        assert opened.pread(15, 0) == b"not flushed yet"
    image.remove(volume, snapshot)
    found(new).Shutdown()


def test_an_image_that_was_grown_without_its_device_shows_it_when_opened_again(
    disk: Callable[..., Any],
) -> None:
    new = disk(size=64, access=constants.DISK_KERNELSPACE)
    create(new).Open()
    assert ImageServer(VolumeSpec.from_params(new.params), new.logical_id[1]).grow(80 * MIB)
    found(new).Open()
    with open(found(new).dev_path, "rb") as file:
        assert file.seek(0, os.SEEK_END) == 80 * MIB
    found(new).Close()
    assert exports() == []


def test_a_missing_image_cannot_be_assembled(disk: Callable[..., Any]) -> None:
    with pytest.raises(errors.BlockDeviceError, match="does not exist"):
        bdev.Assemble(disk(), [])


def test_a_disk_in_userspace_has_a_device_while_a_path_is_wanted(
    disk: Callable[..., Any], volume: Volume
) -> None:
    new = disk(size=64)
    create(new)
    device = found(new)
    with kernel_paths():
        path = device.dev_path
        assert stat.S_ISBLK(os.stat(path).st_mode)
        with open(path, "r+b") as file:
            file.write(b"an OS script was here")
        assert found(new).dev_path == path
    assert device.dev_path is None and exports() == []
    with volume.open(new.logical_id[1]) as opened:
        assert opened.pread(21, 0) == b"an OS script was here"


def test_the_device_goes_as_well_when_the_script_fails(disk: Callable[..., Any]) -> None:
    new = disk(size=64)
    create(new)
    with pytest.raises(KeyError, match="the script's own error"), kernel_paths():
        assert found(new).dev_path
        raise KeyError("the script's own error")
    assert found(new).dev_path is None and exports() == []


def test_an_export_whose_exporter_died_is_noticed_and_replaced(disk: Callable[..., Any]) -> None:
    new = disk(size=64, access=constants.DISK_KERNELSPACE)
    create(new).Open()
    kill = ["systemctl", "kill", "--signal=SIGKILL"]
    subprocess.run([*kill, *exports()], check=True, timeout=30)
    with pytest.raises(errors.BlockDeviceError, match="has died; the data written last"):
        found(new).Shutdown()
    assert exports() == [] and found(new).dev_path is None
    found(new).Shutdown()
    found(new).Open()
    subprocess.run([*kill, *exports()], check=True, timeout=30)
    found(new).Open()
    with open(found(new).dev_path, "rb") as file:
        assert len(file.read(MIB)) == MIB
    found(new).Shutdown()


def test_a_device_that_a_killed_script_left_goes_with_the_next_use(
    disk: Callable[..., Any],
) -> None:
    new = disk(size=64)
    create(new).Open()
    Export(VolumeSpec.from_params(new.params), new.logical_id[1]).start()
    assert found(new).dev_path
    found(new).Assemble()
    assert found(new).dev_path is None and exports() == []


def test_what_fails_after_an_image_was_created_takes_it_back(
    disk: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any, text: str) -> None:
        raise errors.BlockDeviceError("the volume lost its quorum")

    new = disk()
    monkeypatch.setattr(GlusterStorage, "SetInfo", fail)
    with pytest.raises(errors.BlockDeviceError, match="lost its quorum"):
        backend.BlockdevCreate(new, new.size, "vm", True, "info", False)
    assert found(new) is None
    # What was there before is not its business.
    create(new)
    with pytest.raises(backend.RPCFail, match="File exists"):
        backend.BlockdevCreate(new, new.size, "vm", True, "info", False)
    assert found(new).GetActualSize() == 64 * MIB


@pytest.fixture
def stock_device() -> Iterator[Callable[..., Any]]:
    """Stock Ganeti's class, with what it demands of the node, all of it taken away afterwards."""
    allowed = Path(pathutils.FILE_STORAGE_PATHS_FILE)
    before = allowed.read_text() if allowed.exists() else None
    allowed.write_text("%s\n" % ssconf.SimpleStore().GetGlusterStorageDir())
    yield stock.GlusterStorage
    subprocess.run(["umount", "--all", "--types", "fuse.glusterfs"], check=True, timeout=60)
    if before is None:
        allowed.unlink()
    else:
        allowed.write_text(before)


def test_a_disk_that_stock_ganeti_made_is_taken_over(
    disk: Callable[..., Any], stock_device: Any
) -> None:
    new = disk(size=64)
    theirs = stock_device.Create(
        new.logical_id, None, new.size, None, new.params, False, {}, name=None, uuid=new.uuid
    )
    with open(theirs.dev_path, "r+b") as file:
        file.write(b"made by stock")
        os.fsync(file.fileno())
    ours = found(new)
    ours.Assemble()
    assert ours.GetActualSize() == 64 * MIB
    with connect(VolumeSpec.from_params(new.params)) as volume:
        assert volume.open(new.logical_id[1]).pread(13, 0) == b"made by stock"
    ours.Grow(32, False, True, False)
    assert ours.Remove() is True


def test_our_disk_is_of_use_to_stock_ganeti(
    disk: Callable[..., Any], stock_device: Any, volume: Volume, wait: Callable[..., Any]
) -> None:
    new = disk(size=64)
    create(new)
    with volume.open(new.logical_id[1], write=True) as opened:
        opened.pwrite(b"made by us", 0)
        opened.fsync()
    theirs = stock_device(new.logical_id, None, new.size, new.params, {}, name=None, uuid=new.uuid)
    assert theirs.attached and theirs.GetActualSize() == 64 * MIB
    with open(theirs.dev_path, "rb") as file:
        assert file.read(10) == b"made by us"
    theirs.Grow(32, False, True, False)
    assert theirs.GetActualSize() == 96 * MIB
    assert theirs.Remove() is True
    wait("it is gone for us as well", lambda: found(new) is None, seconds=10)


def test_an_orphan_that_a_node_has_open_is_not_removed(
    volume: Volume, directory: str, spec: VolumeSpec
) -> None:
    path = directory + "/x.0"
    candidate = orphans.Candidate(
        spec, image.create(volume, path, 1 << 20), leftover=False, origin=""
    )
    server = ImageServer(spec, path)
    server.open(number=1001)
    try:
        assert not orphans.remove(candidate)
    finally:
        server.close()
    assert orphans.remove(candidate)
    assert not volume.access(path)
