"""The end of a write-ahead log is found among blocks, parts of records and what an older log left."""

import tempfile
import unittest
from pathlib import Path

from wal import BLOCK_BYTES, newest, records


def record(type_, payload, number=None):
    header = bytes(4) + len(payload).to_bytes(2, "little") + bytes([type_])
    return header + (b"" if number is None else number.to_bytes(4, "little")) + payload


class Records(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def found(self, content, number=7):
        path = self.folder / f"{number:06}.log"
        path.write_bytes(content)
        return records(path)

    def test_it_ends_where_an_older_log_goes_on(self):
        found = self.found(record(5, b"abc", 7) + record(5, b"de", 7) + record(5, b"old", 5))
        self.assertEqual([(r.offset, r.end) for r in found], [(0, 14), (14, 27)])

    def test_it_ends_at_nothing(self):
        self.assertEqual(len(self.found(record(1, b"abc") + bytes(100))), 1)
        self.assertEqual(self.found(b""), [])

    def test_it_ends_at_a_record_that_is_cut(self):
        self.assertEqual(len(self.found(record(5, b"abc", 7) + record(5, b"cut", 7)[:-1])), 1)

    def test_a_block_is_filled_up(self):
        for left in (1, 6, 7, 10):
            first = record(5, bytes(BLOCK_BYTES - 11 - left), 7)
            found = self.found(first + bytes(left) + record(5, b"next", 7) + bytes(50))
            self.assertEqual([r.offset for r in found], [0, BLOCK_BYTES], f"{left} bytes left")

    def test_the_newest_is_the_one_of_the_highest_number(self):
        for name in ("000009.log", "000010.log", "000011.sst"):
            (self.folder / name).write_bytes(b"")
        self.assertEqual(newest(self.folder).name, "000010.log")


if __name__ == "__main__":
    unittest.main()
