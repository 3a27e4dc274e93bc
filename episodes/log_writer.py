# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The episode log: an append-only MCAP file while recording, a compressed and indexed one when sealed.

While an episode is recorded its messages go, unchunked, to ``<episode_id>.mcap.part``: every record that
reached the file stays readable whatever happens to the process. :meth:`LogWriter.seal` (or
``sealing.recover``, after a crash) rewrites it as ``<episode_id>.mcap``. Sealed files are never changed.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
from pathlib import Path

from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import Channel, Header, McapRecord, Metadata, Schema
from mcap.writer import MCAP0_MAGIC

from apprentice.episodes.files import (
    LIBRARY,
    METADATA,
    PART_SUFFIX,
    SCHEMA_VERSION,
    SUFFIX,
    LogWriteError,
    file_stem,
    free_stem,
)
from apprentice.episodes.messages import definition
from apprentice.episodes.sealing import seal_file

_MESSAGE = struct.Struct('<BQHIQQ')  # opcode, length, channel, sequence, log time, publish time


def qos_text(reliability: str = 'reliable', durability: str = 'volatile', depth: int = 10) -> str:
    """``offered_qos_profiles`` of a channel, in full, as rosbag2 (metadata version 9) writes it."""
    infinite = '\n    sec: 9223372036\n    nsec: 854775807\n'
    return (
        f'- history: keep_last\n  depth: {depth}\n  reliability: {reliability}\n  durability: {durability}\n'
        f'  deadline:{infinite}  lifespan:{infinite}  liveliness: automatic\n'
        f'  liveliness_lease_duration:{infinite}  avoid_ros_namespace_conventions: false'
    )


class LogWriter:
    """Records one episode. Thread-safe: ``write`` only touches memory, ``flush`` the disk.

    Args:
        folder: where the episode goes; made when missing.
        metadata: stored in the file's metadata record, e.g. robot, robot_file, session_id.
        memory_limit: bytes kept in memory while the disk refuses them; beyond that new messages are
            counted in ``lost``.
    """

    def __init__(
        self,
        folder: str | Path,
        episode_id: str,
        metadata: dict[str, str] | None = None,
        memory_limit: int = 512 * 2**20,
    ):
        self.folder, self.episode_id = Path(folder), episode_id
        stem = free_stem(self.folder, file_stem(episode_id))
        self.part, self.sealed = self.folder / (stem + PART_SUFFIX), self.folder / (stem + SUFFIX)
        self.lost = 0
        self.counts: dict[str, int] = {}
        self._limit = memory_limit
        self._fd: int | None = None
        self._channels: dict[str, int] = {}
        self._schemas: dict[str, int] = {}
        self._pending: list[bytes] = [MCAP0_MAGIC, _record(Header('ros2', LIBRARY))]
        self._pending_bytes = 0
        self._memory, self._disk = threading.Lock(), threading.Lock()
        record = {'episode_id': episode_id, 'schema_version': str(SCHEMA_VERSION), **(metadata or {})}
        self._append(_record(Metadata(METADATA, record)))

    @property
    def pending_bytes(self) -> int:
        """Bytes accepted and not yet handed to the operating system."""
        return self._pending_bytes

    def add_topic(self, topic: str, type_name: str, name: str = '', qos: str = '') -> None:
        """Declare a topic once before its first message.

        ``topic`` is the absolute name on the graph; ``name`` what the robot file calls it (relative, before
        namespace and remapping), by which the reader finds it. Raises MessageError for unknown types.
        """
        text = definition(type_name).encode()
        with self._memory:
            if topic in self._channels:
                return
            if type_name not in self._schemas:
                self._schemas[type_name] = len(self._schemas) + 1
                self._append(_record(Schema(self._schemas[type_name], text, 'ros2msg', type_name)))
            self._channels[topic] = len(self._channels) + 1
            self.counts[topic] = 0
            metadata = {
                'offered_qos_profiles': qos or qos_text(),
                'apprentice_name': name or topic.lstrip('/'),
            }
            channel = Channel(self._channels[topic], topic, 'cdr', metadata, self._schemas[type_name])
            self._append(_record(channel))

    def write(self, topic: str, data: bytes, log_time: int, publish_time: int | None = None) -> None:
        """Take one serialised message (CDR). Times are nanoseconds. Never blocks on the disk."""
        with self._memory:
            if self._pending_bytes > self._limit:
                self.lost += 1
                return
            sequence = self.counts[topic]
            self.counts[topic] = sequence + 1
            publish_time = log_time if publish_time is None else publish_time
            head = _MESSAGE.pack(
                Opcode.MESSAGE, 22 + len(data), self._channels[topic], sequence, log_time, publish_time
            )
            self._append(head + data)

    def flush(self, sync: bool = True) -> None:
        """Hand everything taken so far to the operating system; with ``sync`` to the disk as well.

        Raises LogWriteError; nothing is lost then: what is not on disk stays in memory and the next flush
        tries again.
        """
        with self._disk:
            try:
                self._open()
                assert self._fd is not None
                while True:
                    with self._memory:
                        pending, self._pending = self._pending, []
                        self._pending_bytes = 0
                    if not pending:
                        break
                    self._write_all(b''.join(pending))
                if sync:
                    os.fsync(self._fd)
            except OSError as error:
                kept = f'{self._pending_bytes} bytes wait in memory and are written as soon as there is room'
                raise LogWriteError(self.part, error, kept) from error

    def seal(self) -> Path:
        """Flush, rewrite compressed and indexed, and return the path of the sealed file.

        Raises LogWriteError; the part file is intact then and ``seal`` can be called again.
        """
        self.flush()
        seal_file(self.part, self.sealed)
        self._release()
        return self.sealed

    def close(self) -> None:
        """Flush and let go of the part file without sealing it: ``sealing.recover`` can take it."""
        try:
            self.flush()
        finally:
            self._release()

    def _append(self, record: bytes) -> None:
        self._pending.append(record)
        self._pending_bytes += len(record)

    def _open(self) -> None:
        if self._fd is not None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        while self._fd is None:
            fd = os.open(self.part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o644)
            # a dead recorder's lock is gone, a living one's is not: that is how recover() tells them apart
            fcntl.flock(fd, fcntl.LOCK_EX)
            if os.fstat(fd).st_nlink == 0:  # a recover() that ran just now took the empty file for a dead one
                os.close(fd)
                continue
            self._fd = fd

    def _write_all(self, data: bytes) -> None:
        assert self._fd is not None
        view, done = memoryview(data), 0
        try:
            while done < len(view):
                done += os.write(self._fd, view[done:])
        finally:
            # also on an exception: the rest of a half-written record follows once the disk accepts it
            if done < len(view):
                with self._memory:
                    self._pending.insert(0, bytes(view[done:]))
                    self._pending_bytes += len(view) - done

    def _release(self) -> None:
        with self._disk:
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None


def _record(record: McapRecord) -> bytes:
    builder = RecordBuilder()
    record.write(builder)
    return builder.end()
