"""The schedules of backups, as the administrator gives them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ganeti_gluster.core.backup import own_names, schedule
from ganeti_gluster.core.backup.retention import KeepRules
from ganeti_gluster.core.backup.schedule import BackupConfig, Member
from ganeti_gluster.errors import InvalidParameter
from ganeti_gluster.tools.ini import InvalidConfiguration

HEAD = "[repository nas]\nplace = /mnt/backups\n"
GOOD = HEAD + "[schedule nightly]\ninstances = all\nto = nas\ntimes = 02:30\n"


def times(expression: str) -> None:
    if expression == "nonsense":
        raise InvalidParameter("no")


def parse(text: str) -> BackupConfig:
    return schedule.parse(text, "/etc/x.conf", check_times=times)


def test_the_example_of_the_documentation() -> None:
    example = "\n".join(
        line.removeprefix("    ") for line in (schedule.__doc__ or "").splitlines()[4:]
    )
    found = parse(example)
    assert (found.at_once, found.stagger) == (2, 30)
    nightly, hourly = found.schedules
    assert nightly.place == "sftp://backup@nas.example.org/srv/backups"
    assert nightly.keep == KeepRules(daily=7, monthly=12)
    assert (nightly.bandwidth, nightly.times) == (100 << 20, ("02:30",))
    assert (hourly.to, hourly.place, hourly.keep) == ("snapshots", "", KeepRules(last=5))
    assert hourly.times == ("Mon..Fri 8..18:00", "Sat 12:00")
    tagged, grouped = Member("a", frozenset(["backed-up"])), Member("b", group="default")
    named, scratch = Member("web1"), Member("scratch1", group="default")
    assert [nightly.instances.has(e) for e in (tagged, grouped, named)] == [True, True, True]
    assert not nightly.instances.has(scratch) and not nightly.instances.has(Member("c"))
    assert hourly.instances.has(Member("c"))


def test_without_a_file_there_is_no_schedule(tmp_path: Path) -> None:
    assert schedule.load(str(tmp_path / "none")) == BackupConfig()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[settings]\nat-once = 0\n", "line 2, section [settings]: at-once must be a number from"),
        ("[settings]\ncolour = 1\n", "line 2, section [settings]: unknown line 'colour'"),
        ("[other]\n", "line 1, section [other]: expected [settings], [repository NAME] or"),
        ("[repository NAS]\nplace = /x\n", "line 1, section [repository NAS]: 'NAS' is not a"),
        ("[repository nas]\nplace = x\n", "line 2, section [repository nas]: repository 'x': "),
        ("[repository nas]\n", "line 1, section [repository nas]: the line 'place = ...' is"),
        ("[repository snapshots]\nplace = /x\n", "the name snapshots is not possible"),
        (GOOD + GOOD[GOOD.index("[sch"):].replace("[schedule ", "[schedule  "),
         "there is another section [schedule nightly]"),
        (GOOD + "[repository  nas]\nplace = /x\n", "there is another section [repository nas]"),
        (GOOD + "keep-daily = x\n", "line 7, section [schedule nightly]: keep-daily must be"),
        (GOOD + "keep-all = 1\n", "line 7, section [schedule nightly]: unknown line 'keep-all'"),
        (GOOD + "except = a/b\n", "line 7, section [schedule nightly]: host 'a/b'"),
        (GOOD.replace("= nas", "= nass"), "line 5, section [schedule nightly]: there is no section"
         " [repository nass]"),
        (GOOD.replace("02:30", "nonsense"), "line 6, section [schedule nightly]: 'nonsense' is not"
         " a calendar expression"),
        (GOOD.replace("= all", "="), "line 4, section [schedule nightly]: 'instances' is empty"),
        (GOOD.replace("= all", "= tag:a|b"), "line 4, section [schedule nightly]: 'a|b' is not"),
        (GOOD.replace("times = 02:30\n", ""), "line 3, section [schedule nightly]: the line"
         " 'times = ...' is missing"),
        (GOOD + "no line\n", "/etc/x.conf: Source contains parsing errors"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_by_its_line(text: str, said: str) -> None:
    with pytest.raises(InvalidConfiguration) as err:
        parse(text)
    assert str(err.value).startswith("/etc/x.conf") and said in str(err.value)


def test_the_schedules_names_are_its_own() -> None:
    name = own_names.make("nightly-a", 1e9)
    assert name == "scheduled-nightly-a-20010909-014640"
    assert own_names.moment(name, "nightly-a") == 1e9
    for other in ("nightly", "nightly-a-20010909"):
        assert own_names.moment(name, other) is None
    assert own_names.moment("scheduled-nightly-20011309-014640", "nightly") is None
    assert own_names.moment("20010909-014640", "nightly") is None
    with pytest.raises(InvalidParameter, match="names that begin with scheduled- are"):
        own_names.refuse(name)
