"""The C functions of libgfapi that this package calls, with their true types.

The gfapi package declares the argument lists of GlusterFS before 6 and narrows
offsets to 32 bits, so none of its prototypes is used.  A test compares each
line here with its headers; `struct stat` and `struct dirent` come from the package,
whose layouts are right on 64-bit Linux.  Nothing that only GlusterFS 11 has
(GFAPI_11.0, the *at family) is used, so one table serves every version from 6.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

CType = Any
Prototype = tuple[CType, tuple[CType, ...]]

INT = ctypes.c_int
UINT = ctypes.c_uint
SIZE = ctypes.c_size_t
SSIZE = ctypes.c_ssize_t
OFFSET = ctypes.c_int64
MODE = ctypes.c_uint32
ID = ctypes.c_uint32
STRING = ctypes.c_char_p
POINTER = ctypes.c_void_p

#: name -> (result, arguments)
PROTOTYPES: Mapping[str, Prototype] = {
    # the volume
    "glfs_new": (POINTER, (STRING,)),
    "glfs_set_volfile_server": (INT, (POINTER, STRING, STRING, INT)),
    "glfs_set_volfile": (INT, (POINTER, STRING)),
    "glfs_set_logging": (INT, (POINTER, STRING, INT)),
    "glfs_set_xlator_option": (INT, (POINTER, STRING, STRING, STRING)),
    "glfs_init": (INT, (POINTER,)),
    "glfs_fini": (INT, (POINTER,)),
    "glfs_get_volfile": (SSIZE, (POINTER, POINTER, SIZE)),
    "glfs_statvfs": (INT, (POINTER, STRING, POINTER)),
    # names
    "glfs_access": (INT, (POINTER, STRING, INT)),
    "glfs_stat": (INT, (POINTER, STRING, POINTER)),
    "glfs_lstat": (INT, (POINTER, STRING, POINTER)),
    "glfs_mkdir": (INT, (POINTER, STRING, MODE)),
    "glfs_rmdir": (INT, (POINTER, STRING)),
    "glfs_truncate": (INT, (POINTER, STRING, OFFSET)),
    "glfs_unlink": (INT, (POINTER, STRING)),
    "glfs_rename": (INT, (POINTER, STRING, STRING)),
    "glfs_link": (INT, (POINTER, STRING, STRING)),
    "glfs_chown": (INT, (POINTER, STRING, ID, ID)),
    "glfs_getxattr": (SSIZE, (POINTER, STRING, STRING, POINTER, SIZE)),
    "glfs_setxattr": (INT, (POINTER, STRING, STRING, POINTER, SIZE, INT)),
    "glfs_h_lookupat": (POINTER, (POINTER, POINTER, STRING, POINTER, INT)),
    "glfs_h_extract_handle": (SSIZE, (POINTER, POINTER, INT)),
    "glfs_h_close": (INT, (POINTER,)),
    # directories
    "glfs_opendir": (POINTER, (POINTER, STRING)),
    "glfs_readdirplus_r": (INT, (POINTER, POINTER, POINTER, POINTER)),
    "glfs_closedir": (INT, (POINTER,)),
    # open files
    "glfs_creat": (POINTER, (POINTER, STRING, INT, MODE)),
    "glfs_open": (POINTER, (POINTER, STRING, INT)),
    "glfs_close": (INT, (POINTER,)),
    "glfs_pread": (SSIZE, (POINTER, POINTER, SIZE, OFFSET, INT, POINTER)),
    "glfs_pwrite": (SSIZE, (POINTER, POINTER, SIZE, OFFSET, INT, POINTER, POINTER)),
    "glfs_lseek": (OFFSET, (POINTER, OFFSET, INT)),
    "glfs_ftruncate": (INT, (POINTER, OFFSET, POINTER, POINTER)),
    "glfs_fallocate": (INT, (POINTER, INT, OFFSET, SIZE)),
    "glfs_discard": (INT, (POINTER, OFFSET, SIZE)),
    "glfs_copy_file_range": (
        SSIZE,
        (POINTER, POINTER, POINTER, POINTER, SIZE, UINT, POINTER, POINTER, POINTER),
    ),
    "glfs_fsync": (INT, (POINTER, POINTER, POINTER)),
    "glfs_fstat": (INT, (POINTER, POINTER)),
    "glfs_fchown": (INT, (POINTER, ID, ID)),
    "glfs_fd_set_lkowner": (INT, (POINTER, POINTER, INT)),
    "glfs_posix_lock": (INT, (POINTER, INT, POINTER)),
}


class Flock(ctypes.Structure):
    """`struct flock` of 64-bit Linux, as `glfs_posix_lock` takes it."""

    _fields_ = [
        ("l_type", ctypes.c_short),
        ("l_whence", ctypes.c_short),
        ("l_start", ctypes.c_int64),
        ("l_len", ctypes.c_int64),
        ("l_pid", ctypes.c_int32),
    ]
