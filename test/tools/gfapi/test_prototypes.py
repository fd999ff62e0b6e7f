"""Every declared prototype against the C headers of the installed GlusterFS."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import pytest

from ganeti_gluster.tools.gfapi.prototypes import PROTOTYPES, Flock

HEADERS = [Path("/usr/include/glusterfs/api", name) for name in ("glfs.h", "glfs-handles.h")]

#: What each C type is on 64-bit Linux: (kind, bytes), signed or unsigned or pointer.
KINDS = {
    "int": ("signed", 4),
    "ssize_t": ("signed", 8),
    "off_t": ("signed", 8),
    "long": ("signed", 8),
    "unsigned int": ("unsigned", 4),
    "size_t": ("unsigned", 8),
    "mode_t": ("unsigned", 4),
    "uid_t": ("unsigned", 4),
    "gid_t": ("unsigned", 4),
}


def declarations(header):
    """name -> (result, arguments), as C types without the arguments' names."""
    text = re.sub(r"/\*.*?\*/|//[^\n]*", "", header, flags=re.S)
    text = re.sub(r"^[ \t]*#.*?(?<!\\)$", "", text, flags=re.M | re.S)
    found = {}
    pattern = r"([a-z_0-9]+(?:\s+[a-z_0-9]+)*[\s*]+)(glfs_\w+)\s*\(([^()]*)\)\s*__THROW"
    for result, name, arguments in re.findall(pattern, text):
        found[name] = (c_type(result + " x"), [c_type(a) for a in arguments.split(",")])
    return found


def c_type(declaration):
    if "*" in declaration or "[" in declaration:
        return ("pointer", 8)
    words = [word for word in declaration.split() if word not in ("const", "enum", "struct")]
    return KINDS.get(" ".join(words[:-1]), ("unknown", 0))


def ctypes_type(declared):
    if declared in (ctypes.c_void_p, ctypes.c_char_p):
        return ("pointer", 8)
    smallest = declared(-1).value
    return ("signed" if smallest < 0 else "unsigned", ctypes.sizeof(declared))


def difference(name, header):
    """What is wrong with a declared prototype, None if nothing is."""
    if name not in header:
        return "not in the header"
    result, arguments = header[name]
    declared_result, declared_arguments = PROTOTYPES[name]
    if ctypes_type(declared_result) != result:
        return "the result is %s" % (result,)
    if [ctypes_type(a) for a in declared_arguments] != arguments:
        return "the arguments are %s" % (arguments,)
    return None


@pytest.fixture(scope="module")
def header():
    if not HEADERS[0].exists():
        pytest.skip("%s is missing: install libglusterfs-dev" % HEADERS[0])
    return declarations("".join(header.read_text() for header in HEADERS))


@pytest.mark.parametrize("name", PROTOTYPES)
def test_a_prototype_is_that_of_the_header(header, name):
    assert difference(name, header) is None


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        # as the gfapi package has them
        ("glfs_ftruncate", "int glfs_ftruncate(glfs_fd_t *fd, int length)"),
        ("glfs_fsync", "int glfs_fsync(glfs_fd_t *fd)"),
        ("glfs_lseek", "int glfs_lseek(glfs_fd_t *fd, int offset, int whence)"),
        ("glfs_discard", "int glfs_discard(glfs_fd_t *fd, int offset, size_t len)"),
        ("glfs_init", "int glfs_other(glfs_t *fs)"),
    ],
)
def test_a_prototype_that_differs_is_noticed(name, wrong):
    assert difference(name, declarations(wrong + " __THROW;"))


def test_the_header_is_read_with_comments_and_line_breaks():
    text = """
    /* int glfs_comment(int x) __THROW; */
    #define X(a) \\
        int glfs_macro(int x) __THROW
    glfs_fd_t *
    glfs_open(glfs_t *fs, const char *path, // where
              int flags) __THROW GFAPI_PUBLIC(glfs_open, 3.4.0);
    """
    assert declarations(text) == {
        "glfs_open": (("pointer", 8), [("pointer", 8), ("pointer", 8), ("signed", 4)])
    }


def test_flock_has_the_layout_of_the_c_library():
    # struct flock: two shorts, padding, two 64-bit offsets, a pid
    offsets = [getattr(Flock, name).offset for name, _ in Flock._fields_]
    assert offsets == [0, 2, 8, 16, 24]
    assert ctypes.sizeof(Flock) == 32
