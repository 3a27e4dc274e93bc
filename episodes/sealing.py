# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Sealing: an unfinished log rewritten compressed and indexed, also after its recorder died."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from mcap.writer import CompressionType, Writer

from apprentice.episodes.files import (
    LIBRARY,
    METADATA,
    PART_SUFFIX,
    SUFFIX,
    EpisodeFileError,
    LogWriteError,
    sync_folder,
)
from apprentice.episodes.log_reader import LogReader

_log = logging.getLogger(__name__)


class SealedFile:
    """Writes one sealed file: to a temporary name, synchronised, renamed. Leaves nothing when it fails."""

    def __init__(self, path: Path, metadata: dict[str, str]):
        self.path, self.messages = path, 0
        self._temporary = path.with_name(path.name + '.tmp')
        self._stream = open(self._temporary, 'wb')  # noqa: SIM115 - closed by commit or discard
        self._writer = Writer(self._stream, compression=CompressionType.ZSTD)
        self._channels: dict[str, int] = {}
        self._schemas: dict[str, int] = {}
        try:
            self._writer.start('ros2', LIBRARY)
            self._writer.add_metadata(METADATA, metadata)
        except BaseException:
            self.discard()
            raise

    def add_topic(self, topic: str, type_name: str, text: bytes, metadata: dict[str, str]) -> None:
        """Declare a topic with the text of its definition; a second time does nothing."""
        if topic in self._channels:
            return
        if type_name not in self._schemas:
            self._schemas[type_name] = self._writer.register_schema(type_name, 'ros2msg', text)
        self._channels[topic] = self._writer.register_channel(
            topic, 'cdr', self._schemas[type_name], metadata
        )

    def write(self, topic: str, data: bytes, log_time: int, publish_time: int, sequence: int = 0) -> None:
        """Append one serialised message; times in nanoseconds."""
        self.messages += 1
        self._writer.add_message(self._channels[topic], log_time, data, publish_time, sequence)

    def commit(self) -> None:
        """Finish the file and give it its name."""
        self._writer.finish()
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        os.rename(self._temporary, self.path)
        sync_folder(self.path.parent)

    def discard(self) -> None:
        """Remove the unfinished file."""
        with contextlib.suppress(OSError):
            self._stream.close()  # flushes, which fails again on a full disk
        self._temporary.unlink(missing_ok=True)


def seal_file(part: Path, sealed: Path) -> int:
    """Rewrite ``part`` as ``sealed`` (zstd, chunked, indexed), then remove it; returns the messages written.

    A cut-off tail is dropped. Raises LogWriteError (``part`` intact) or EpisodeFileError (not MCAP).
    """
    try:
        # a file with this name is complete: a crash came between its rename and the removal of the part
        if not sealed.exists():
            reader = LogReader(part, salvage=True)
            output = SealedFile(sealed, reader.metadata)
            try:
                for message in reader.messages():
                    output.add_topic(message.topic, message.type, message.schema, message.channel_metadata)
                    times = (message.log_time, message.publish_time)
                    output.write(message.topic, message.data, *times, message.sequence)
                messages = output.messages
                output.commit()
            except BaseException:
                output.discard()
                raise
        else:
            messages = 0
        part.unlink()
        sync_folder(part.parent)
    except EpisodeFileError:
        raise
    except OSError as error:
        raise LogWriteError(sealed, error, f'the recording is safe in {part}') from error
    return messages


def recover(folder: str | Path) -> list[Path]:
    """Seal what dead recorders left behind in ``folder``; returns the sealed files.

    Part files of living recorders are left alone. An episode without its end reads as aborted. Files that
    cannot be read are kept and reported as a warning.
    """
    recovered = []
    for part in sorted(Path(folder).glob('*' + PART_SUFFIX)):
        with _locked(part) as alone:
            if not alone:
                continue
            sealed = part.with_name(part.name[: -len(PART_SUFFIX)] + SUFFIX)
            try:
                if part.stat().st_size == 0:
                    part.unlink()  # killed between creating the file and its first flush
                    continue
                seal_file(part, sealed)
            except (EpisodeFileError, OSError) as error:
                _log.warning('cannot recover %s: %s', part, error)
                continue
            recovered.append(sealed)
    return recovered


@contextlib.contextmanager
def _locked(part: Path) -> Iterator[bool]:
    """Whether this process is the only one holding ``part``, for the time of the context."""
    try:
        fd = os.open(part, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True
    finally:
        os.close(fd)
