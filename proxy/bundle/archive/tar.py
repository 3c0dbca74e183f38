"""The tar format (POSIX ustar), as far as a bundle needs it: plain files with name and size.

A reader that knows what has to come needs no parser: it compares headers byte by byte, so no
link, device, owner, path or trick of the format can come in.
"""

from __future__ import annotations

import tarfile

BLOCK = 512
END = bytes(2 * BLOCK)
_OCTAL_LIMIT = 8**11
_KINDS = {
    tarfile.REGTYPE: "a file",
    tarfile.AREGTYPE: "a file",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.DIRTYPE: "a directory",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
}


def tar_header(name: str, size: int) -> bytes:
    """The block before a member; mode 644, owner and time 0. ``name``: up to 100 bytes of ASCII."""
    before = name.encode("ascii").ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2
    before += _size(size) + b"00000000000\0"
    after = b"0" + bytes(100) + b"ustar\0" + b"00" + bytes(247)
    checksum = sum(before) + 8 * ord(" ") + sum(after)
    return before + f"{checksum:06o}\0 ".encode() + after


def tar_padding(size: int) -> int:
    """How many zero bytes follow a member of that size."""
    return -size % BLOCK


def size_in(block: bytes) -> int:
    """The size that a header names. Raises ``ValueError``."""
    return int(block[124:135].decode("ascii"), 8)


def described(block: bytes) -> str:
    """What a header that was not expected announces, for people."""
    if not block.strip(b"\0"):
        return "the end of the archive"
    try:
        found = tarfile.TarInfo.frombuf(block, "utf-8", "replace")
    except tarfile.HeaderError:
        return "nothing of a tar archive"
    return f"{_KINDS.get(found.type, 'something')} {found.name!r} of {found.size} bytes"


def _size(size: int) -> bytes:
    """In octal; what does not fit, in the binary form that every tar of today reads."""
    if size < _OCTAL_LIMIT:
        return f"{size:011o}\0".encode()
    return b"\x80" + size.to_bytes(11, "big")
