"""The end of a write-ahead log of RocksDB, found as RocksDB's own recovery finds it.

A file is blocks of 32 KiB with records in them: a CRC-32C (4 bytes), the length (2), a type (1), and
in a file that may be written over an older one the low half of the file's number (4). Numbers are
little-endian. What is left of a block and too small for a header is filled up. The log ends where
the next record is of another file, or none: behind it stands what the older file held.

Source: RocksDB's wiki, "Write Ahead Log File Format", and its db/log_format.h.
"""

import dataclasses

BLOCK_BYTES = 32 * 1024
HEADER_BYTES = 7
RECYCLED_HEADER_BYTES = 11
# Full, first, middle and last parts; and since version 8.9 the size of times in keys.
RECYCLED_TYPES = frozenset([5, 6, 7, 8, 11, 131])
FILLING = 0
TYPES = frozenset([1, 2, 3, 4, 9, 10, 130]) | RECYCLED_TYPES


@dataclasses.dataclass(frozen=True)
class Record:
    """Where a record, or a part of one, stands in the file."""

    offset: int
    header_bytes: int
    payload_bytes: int

    @property
    def end(self):
        return self.offset + self.header_bytes + self.payload_bytes


def newest(folder):
    """The log that is written now, of an instance's folder."""
    return max(folder.glob("*.log"), key=lambda path: int(path.stem))


def records(path):
    """The records of a log, in order."""
    content, number = path.read_bytes(), int(path.stem) & 0xFFFF_FFFF
    found, offset = [], 0
    while offset + HEADER_BYTES <= len(content):
        left = BLOCK_BYTES - offset % BLOCK_BYTES
        length = int.from_bytes(content[offset + 4 : offset + 6], "little")
        type_ = content[offset + 6]
        header = RECYCLED_HEADER_BYTES if type_ in RECYCLED_TYPES else HEADER_BYTES
        if left < HEADER_BYTES or (left < RECYCLED_HEADER_BYTES and type_ == FILLING):
            offset += left
            continue
        record = Record(offset, header, length)
        if type_ not in TYPES or header + length > left or record.end > len(content):
            break
        is_ours = int.from_bytes(content[offset + 7 : offset + 11], "little") == number
        if header == RECYCLED_HEADER_BYTES and not is_ours:
            break
        found.append(record)
        offset = record.end
    return found
