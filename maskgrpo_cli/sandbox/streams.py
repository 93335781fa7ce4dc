"""What a program prints: the tail is kept, the rest counted and dropped; and what its exceptions say."""

from __future__ import annotations

import os

TAIL = 4096  # bytes of stdout and of stderr that a result carries
CHUNK = 1 << 16


def legible(text: str) -> str:
    """A text that can be written and shown: what would steer a terminal, or has no place in UTF-8, as escapes."""
    return "".join(char if char.isprintable() or char in "\n\t" else ascii(char)[1:-1] for char in text)


class Tail:
    """The reading end of a pipe, read whenever there is something, never waited for."""

    def __init__(self, fd: int):
        self.fd = fd
        self.kept = b""
        self.count = 0
        os.set_blocking(fd, False)

    def read(self) -> bool:
        """Take what is there, at most a few chunks; False at the end of the stream."""
        for _ in range(4):
            try:
                data = os.read(self.fd, CHUNK)
            except BlockingIOError:
                return True
            if not data:
                return False
            self.count += len(data)
            self.kept = (self.kept + data)[-TAIL:]
        return True

    def take(self) -> str:
        """The tail since the last call, as text."""
        self.read()
        text = self.kept.decode("utf-8", "replace")
        self.kept, self.count = b"", 0
        return text
