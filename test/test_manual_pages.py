"""The manual pages describe the commands' tables: all of them, once, and nothing else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ganeti_gluster

pytestmark = pytest.mark.allow_process

ROOT = Path(__file__).resolve().parents[1]
MAN = ROOT / "doc" / "man8"
OVERVIEW = "gnt-gluster"
FILES = sorted(MAN.glob("*.8"))
#: The pages by name, without those that only lead to another one.
PAGES = {path.stem: path.read_text() for path in FILES if ".TH" in path.read_text()}
LEADING = {path.stem: path.read_text() for path in FILES if path.stem not in PAGES}

_OPTION = r"(?<![\w-])--[a-z][a-z-]*"


# In a process of its own, since the tables are made with other modules in the place of Ganeti's.
TABLES = """
import importlib.machinery, importlib.util, json, sys

loader = importlib.machinery.SourceFileLoader("completion", sys.argv[1])
module = importlib.util.module_from_spec(importlib.util.spec_from_loader("completion", loader))
loader.exec_module(module)
print(json.dumps({
    name: [word for option in options for word in (*option._short_opts, *option._long_opts)]
    for name, (_, _, options, _, _) in module.tables().items()
}))
"""


@pytest.fixture(scope="module")
def tables() -> dict[str, set[str]]:
    """The long and short options of each command, from the tables."""
    argv = [sys.executable, "-c", TABLES, str(ROOT / ".ci" / "completion")]
    made = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    return {name: set(options) for name, options in json.loads(made).items()}


def plain(text: str) -> str:
    """The words of a page, each paragraph's heading (.TP) marked by a tab."""
    lines = []
    for line in text.splitlines():
        macro, _, rest = line.partition(" ")
        words = [a or b for a, b in re.findall(r'"([^"]*)"|(\S+)', rest)]
        if macro in (".B", ".I", ".SS"):
            line = " ".join(words)
        elif re.fullmatch(r"\.[BRI]{2}", macro):
            line = "".join(words)
        elif macro == ".TP":
            line = "\t"
        elif line.startswith("."):
            line = ""
        lines.append(re.sub(r"\\f.", "", line).replace("\\-", "-"))
    return "\n".join(lines).replace("\t\n", "\t")


def section(page: str, name: str) -> str:
    found = re.search(r"^\.SH %s\n(.*?)(?=^\.SH |\Z)" % name, PAGES[page], re.M | re.S)
    return found.group(1) if found else ""


def named(text: str) -> list[str]:
    """The commands of a heading: "swift start, stop" and "swift start|stop" are two."""
    group, _, verbs = text.partition(" ")
    if not verbs:
        return [text]
    return ["%s %s" % (group, verb.split()[-1]) for verb in re.split(r", |\|", verbs)]


def described(page: str) -> Iterator[tuple[str, str]]:
    """Each command that a page describes, with the text."""
    for part in re.split(r"^\.SS ", section(page, "COMMANDS"), flags=re.M)[1:]:
        heading, _, text = plain(".SS " + part).partition("\n")
        for name in named(heading):
            yield name, text


def headed(text: str) -> list[str]:
    """The options that have a paragraph of their own."""
    lines = re.findall(r"^\t(.*)$", text, re.M)
    return [word for line in lines for word in re.findall(r"(?<![\w-])--?[a-z][a-z-]*", line)]


def headings(page: str) -> list[str]:
    """Those in the section OPTIONS."""
    return headed(plain(section(page, "OPTIONS")))


def synopses(page: str) -> Iterator[tuple[str, str]]:
    for part in section(page, "SYNOPSIS").split("\n.br\n"):
        words = " ".join(plain(part).split())
        found = re.match(r"gnt-gluster ([a-z|]+(?: [a-z|-]+)?)(?= |$)(.*)", words)
        assert found is not None, words
        for name in named(found.group(1)):
            yield name, found.group(2)


def of_groups() -> list[str]:
    return [page for page in PAGES if page != OVERVIEW]


def test_each_command_is_described_once(tables: dict[str, set[str]]) -> None:
    assert sorted(name for page in of_groups() for name, _ in described(page)) == sorted(tables)


def test_each_command_is_in_the_synopsis_of_its_page(tables: dict[str, set[str]]) -> None:
    for page in of_groups():
        assert {name for name, _ in synopses(page)} == {name for name, _ in described(page)}


def test_each_option_is_described(tables: dict[str, set[str]]) -> None:
    common = set(headings(OVERVIEW))
    for page in of_groups():
        for name, text in described(page):
            there = {*re.findall(_OPTION, text), *headings(page), *common}
            missing = {word for word in tables[name] if word.startswith("--")} - there
            assert not missing, "%s(8), %s: %s" % (page, name, missing)


def test_each_option_of_a_command_is_in_its_synopsis(tables: dict[str, set[str]]) -> None:
    """Those that many commands have may be left out, and so may all for the word "option"."""
    common = set(headings(OVERVIEW))
    for page in of_groups():
        shown: dict[str, str] = {}
        for name, text in synopses(page):
            shown[name] = shown.get(name, "") + text
        for name, text in shown.items():
            there = set(re.findall(_OPTION, text))
            assert there <= tables[name], "%s(8), %s: %s" % (page, name, there - tables[name])
            missing = {word for word in tables[name] if word.startswith("--")} - there - common
            assert "option" in text or not missing, "%s(8), %s: %s" % (page, name, missing)


def test_no_option_is_described_that_there_is_not(tables: dict[str, set[str]]) -> None:
    for page in of_groups():
        texts: dict[str, set[str]] = {}
        for name, text in described(page):
            texts.setdefault(text, set()).update(tables[name])
        for text, options in texts.items():
            # Ganeti's own commands are named in full, with their options.
            ours = re.sub(r"\bgnt-(?!gluster).*", "", text)
            assert set(re.findall(_OPTION, ours)) <= options, "%s(8): %s" % (page, text)
        options = set().union(*texts.values())
        assert set(headings(page)) <= options, page
        assert set(re.findall(_OPTION, plain(section(page, "OPTIONS")))) <= options, page
    assert set(headings(OVERVIEW)) <= set().union(*tables.values())


def test_no_option_has_two_descriptions() -> None:
    for page in of_groups():
        for name, text in described(page):
            found = [*headings(OVERVIEW), *headings(page), *headed(text)]
            assert len(set(found)) == len(found), "%s(8), %s" % (page, name)


def test_each_first_word_has_a_page(tables: dict[str, set[str]]) -> None:
    """As `gnt-gluster pool --help` says, there is gnt-gluster-pool(8)."""
    groups = {name.split(" ")[0] for name in tables}
    assert {path.stem for path in FILES} == {OVERVIEW} | {"gnt-gluster-" + name for name in groups}
    for name, text in LEADING.items():
        assert text.startswith(".so man8/") and (MAN.parent / text.split()[1]).exists(), name
    for page in PAGES:
        group_pages = {"gnt-gluster-" + name.split(" ")[0] for name, _ in described(page)}
        names = plain(section(page, "NAME")).split(" - ")[0].split(", ")
        assert set(names) == (group_pages or {OVERVIEW})
        for other in group_pages - {page}:
            assert LEADING[other] == ".so man8/%s.8\n" % page


def test_each_page_leads_to_the_others() -> None:
    for page in PAGES:
        seen = re.findall(r"(gnt-gluster[a-z-]*)\(8\)", plain(section(page, "SEE ALSO")))
        assert set(seen) <= set(PAGES) - {page}
        assert set(seen) == set(of_groups()) if page == OVERVIEW else OVERVIEW in seen


@pytest.mark.parametrize("page", PAGES)
def test_the_title_has_the_name_and_the_version(page: str) -> None:
    title = re.match(r'\.TH (\S+) 8 "[\d-]{10}" "ganeti-gluster (\S+)" "Ganeti"\n', PAGES[page])
    assert title is not None
    assert title.groups() == (page.upper(), ganeti_gluster.__version__)


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_groff_has_no_warning() -> None:
    done = subprocess.run(
        ["groff", "-ww", "-mandoc", "-z", *(str(path.relative_to(MAN.parent)) for path in FILES)],
        cwd=MAN.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
