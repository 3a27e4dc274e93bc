# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Embeddings on disk: append-only files of float16 records with an index, of which nothing is trusted.

A folder belongs to one encoder and holds segments. ``N.data`` has a header and one float16 [D] a record;
``N.index`` has a header and for each record its key, the checksum of its numbers and a checksum of the entry
itself. A record is written before its entry, so what a killed process leaves is a record without an entry,
which the next writer cuts off. One process writes (a lock), any number read. A full folder loses its oldest
segment.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import struct
import threading
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from apprentice.reward_models.base import RewardModelError

KEY = 16  # bytes of a key
SEGMENTS = 8  # a full folder loses about an eighth
REFRESH_S = 1.0  # how often a reader looks for what others wrote
_MAGIC = b'APEMB1\n\0'
_HEADER = struct.Struct('<8s32sII')  # magic, encoder, D, checksum of what is before
_ENTRY = struct.Struct(f'<{KEY}sII')  # key, checksum of the record, checksum of what is before

log = logging.getLogger(__name__)


@dataclass
class StoreCounts:
    """Since opening: damaged entries and records that were passed over, segments removed to make room."""

    corrupt: int = 0
    removed: int = 0


@dataclass
class _Segment:
    name: str
    data: int  # file descriptors
    index: int
    entries: int = 0

    def close(self) -> None:
        os.close(self.data)
        os.close(self.index)


class EmbeddingStore:
    """Key (16 bytes) to embedding [D], on disk. Thread-safe.

    Args:
        folder: is made.
        encoder: what made the embeddings; files of another encoder are not read.
        dim: D.
        limit: bytes on disk, at least 1 MB.

    Attributes:
        writes: whether this process is the one that may write.
    """

    def __init__(self, folder: Path, encoder: str, dim: int, limit: int = 1 << 30):
        if limit < 1 << 20:
            raise RewardModelError(f'a store of embeddings needs at least 1 MB, got {limit} bytes')
        self.folder, self.dim, self.limit, self.counts = Path(folder), dim, limit, StoreCounts()
        self._record = 2 * dim
        named = struct.pack('<8s32sI', _MAGIC, encoder.encode()[:32], dim)
        self._header = named + struct.pack('<I', zlib.crc32(named))
        room = limit // SEGMENTS - 2 * _HEADER.size
        self._per_segment = max(1, room // (self._record + _ENTRY.size))
        self._known: dict[bytes, tuple[_Segment, int, int]] = {}  # segment, record, checksum
        self._segments: dict[str, _Segment] = {}
        self._current: _Segment | None = None
        self._lock = threading.Lock()
        self._looked = float('-inf')
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock_file = os.open(self.folder / 'lock', os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise RewardModelError(f'the cache folder {folder} cannot be used: {error}') from None
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.writes = True
        except OSError:
            self.writes = False
        self._refresh()
        if self.writes:
            self._tidy()

    def __len__(self) -> int:
        return len(self._known)

    @property
    def used_bytes(self) -> int:
        """On disk."""
        with self._lock:
            return sum(
                os.fstat(segment.data).st_size + os.fstat(segment.index).st_size
                for segment in self._segments.values()
            )

    def get(self, key: bytes) -> np.ndarray | None:
        """float16 [D], or None. A record whose checksum is wrong is forgotten, so that it is made again."""
        with self._lock:
            if key not in self._known and not self.writes and time.monotonic() > self._looked + REFRESH_S:
                self._refresh()
            found = self._known.get(key)
            if found is None:
                return None
            segment, number, checksum = found
            data = b''
            with contextlib.suppress(OSError):
                data = os.pread(segment.data, self._record, _HEADER.size + number * self._record)
            if len(data) != self._record or zlib.crc32(data) != checksum:
                self.counts.corrupt += 1
                del self._known[key]
                return None
        return np.frombuffer(data, np.float16)

    def add(self, embeddings: Mapping[bytes, np.ndarray]) -> None:
        """Append float16 [D] by their keys; nothing where another process writes. A full disk only warns."""
        with self._lock:
            new = [(k, e) for k, e in embeddings.items() if k not in self._known] if self.writes else []
            try:
                while new:
                    segment = self._writable()
                    part = new[: self._per_segment - segment.entries]
                    new = new[len(part) :]
                    self._append(segment, part)
            except OSError as error:
                log.warning('%s: %s; embeddings are no longer written', self.folder, error)
                self._stop_writing()

    def close(self) -> None:
        """Release the files and the right to write."""
        with self._lock:
            for segment in self._segments.values():
                segment.close()
            self._segments.clear()
            self._known.clear()
            self._current = None
            if self._lock_file >= 0:
                os.close(self._lock_file)
            self._lock_file, self.writes = -1, False

    def _append(self, segment: _Segment, part: list[tuple[bytes, np.ndarray]]) -> None:
        records, entries = [], []
        for key, embedding in part:
            if len(key) != KEY or embedding.shape != (self.dim,) or embedding.dtype != np.float16:
                raise RewardModelError(
                    f'a record is float16 [{self.dim}] under {KEY} bytes, got {embedding.dtype} '
                    f'{embedding.shape} under {len(key)}'
                )
            record = embedding.tobytes()
            checksum = zlib.crc32(record)
            entry = struct.pack(f'<{KEY}sI', key, checksum)
            records.append(record)
            entries.append(entry + struct.pack('<I', zlib.crc32(entry)))
            self._known[key] = (segment, segment.entries + len(entries) - 1, checksum)
        _write_all(segment.data, b''.join(records))
        _write_all(segment.index, b''.join(entries))
        segment.entries += len(part)

    def _writable(self) -> _Segment:
        if self._current is not None and self._current.entries < self._per_segment:
            return self._current
        names = sorted(self._segments)
        coming = 2 * _HEADER.size + self._per_segment * (self._record + _ENTRY.size)
        while names and self._size(names) + coming > self.limit:
            self._remove(names.pop(0))
            self.counts.removed += 1
        name = f'{int(names[-1]) + 1 if names else 0:08d}'
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
        # the index last: a reader that sees it finds its data
        data = os.open(self.folder / f'{name}.data', flags, 0o644)
        _write_all(data, self._header)
        index = os.open(self.folder / f'{name}.index', flags, 0o644)
        _write_all(index, self._header)
        self._current = self._segments[name] = _Segment(name, data, index)
        return self._current

    def _remove(self, name: str) -> None:
        for suffix in ('index', 'data'):
            with contextlib.suppress(OSError):
                (self.folder / f'{name}.{suffix}').unlink()
        segment = self._segments.pop(name, None)
        if segment is not None:
            self._forget(segment)

    def _forget(self, segment: _Segment) -> None:
        self._known = {k: v for k, v in self._known.items() if v[0] is not segment}
        if self._current is segment:
            self._current = None
        segment.close()

    def _stop_writing(self) -> None:
        """What was announced but not written is forgotten; the next writer cuts a half record off."""
        self.writes, segment = False, self._current
        if segment is not None:
            written = segment.entries
            self._known = {k: v for k, v in self._known.items() if v[0] is not segment or v[1] < written}
        self._current = None
        os.close(self._lock_file)
        self._lock_file = -1

    def _refresh(self) -> None:
        """Read what others have appended since the last look, and let go what they removed."""
        self._looked = time.monotonic()
        names = {path.stem for path in self.folder.glob('*.index') if path.stem.isdigit()}
        for name in set(self._segments) - names:
            self._forget(self._segments.pop(name))
        for name in sorted(names - set(self._segments)):
            segment = self._open(name)
            if segment is not None:
                self._segments[name] = segment
        for segment in self._segments.values():
            self._read_index(segment)

    def _open(self, name: str) -> _Segment | None:
        """A segment of this encoder; None for a damaged or foreign one, which a writer removes."""
        flags = (os.O_RDWR | os.O_APPEND) if self.writes else os.O_RDONLY
        opened: list[int] = []
        try:
            for suffix in ('data', 'index'):
                opened.append(os.open(self.folder / f'{name}.{suffix}', flags))
            if all(os.pread(file, _HEADER.size, 0) == self._header for file in opened):
                return _Segment(name, *opened)
        except OSError:
            pass
        for file in opened:
            os.close(file)
        if self.writes:
            log.warning('%s/%s is damaged or of another encoder; it is made again', self.folder, name)
            self.counts.corrupt += 1
            self._remove(name)
        return None

    def _read_index(self, segment: _Segment) -> None:
        size = _ENTRY.size
        whole = (os.fstat(segment.index).st_size - _HEADER.size) // size
        records = (os.fstat(segment.data).st_size - _HEADER.size) // self._record
        count = min(whole, records) - segment.entries
        if count <= 0:
            return
        data = os.pread(segment.index, count * size, _HEADER.size + segment.entries * size)
        for i in range(len(data) // size):
            key, checksum, own = _ENTRY.unpack_from(data, i * size)
            if zlib.crc32(data[i * size : (i + 1) * size - 4]) != own:
                self.counts.corrupt += 1
                continue
            self._known[key] = (segment, segment.entries + i, checksum)
        segment.entries += len(data) // size

    def _tidy(self) -> None:
        """Cut off what a killed writer left half done, and what exceeds the limit; go on in the last."""
        for path in self.folder.glob('*.data'):  # died between the two files
            if path.stem.isdigit() and path.stem not in self._segments:
                path.unlink(missing_ok=True)
        for segment in self._segments.values():
            os.ftruncate(segment.data, _HEADER.size + segment.entries * self._record)
            os.ftruncate(segment.index, _HEADER.size + segment.entries * _ENTRY.size)
        names = sorted(self._segments)
        while names and self._size(names) > self.limit:
            self._remove(names.pop(0))
            self.counts.removed += 1
        self._current = self._segments[names[-1]] if names else None

    def _size(self, names: list[str]) -> int:
        return sum(2 * _HEADER.size + self._segments[n].entries * (self._record + _ENTRY.size) for n in names)


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def stored_dim(folder: Path) -> int | None:
    """D of the embeddings in a folder, as its first file with a whole header says; None: there is none."""
    for path in sorted(Path(folder).glob('*.data')):
        with contextlib.suppress(OSError, struct.error):
            with path.open('rb') as file:
                header = file.read(_HEADER.size)
            magic, _, dim, checksum = _HEADER.unpack(header)
            if magic == _MAGIC and zlib.crc32(header[:-4]) == checksum:
                return int(dim)
    return None
