# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Disk work of a recorder, off its message thread: flushing once a second, sealing, recovering, retrying."""

from __future__ import annotations

import logging
import queue
import shutil
import threading
import time
from collections import deque
from pathlib import Path
from typing import NamedTuple

from apprentice.episodes.files import EpisodeFileError, LogWriteError
from apprentice.episodes.log_writer import LogWriter
from apprentice.episodes.sealing import recover

FLUSH_S = 0.5  # half of what may be lost, so that a slow disk does not lose more
RETRY_S = 5.0
_log = logging.getLogger(__name__)


class Sealed(NamedTuple):
    """A file that was just sealed; ``recovered`` when a dead recorder had left it."""

    path: Path
    episode_id: str
    messages: int
    recovered: bool


class BackgroundWriter:
    """Owns the log writers of one folder and their disk work.

    Attributes:
        errors: what is wrong with the disk now, by subject; empty when all is well.
        sealed: files sealed since somebody last took them out (``popleft``).
    """

    def __init__(self, folder: Path, min_free_mb: float = 0.0):
        self.folder, self.min_free_mb = folder, min_free_mb
        self.errors: dict[str, str] = {}
        self.sealed: deque[Sealed] = deque()
        self._writers: list[LogWriter] = []
        self._jobs: queue.Queue[LogWriter | None] = queue.Queue()
        self._stop = threading.Event()
        self._flusher = threading.Thread(target=self._flush_loop, name='log-flush', daemon=True)
        self._sealer = threading.Thread(target=self._seal_loop, name='log-seal', daemon=True)
        self._flusher.start()
        self._sealer.start()

    @property
    def pending_bytes(self) -> int:
        """Bytes that wait in memory for the disk."""
        return sum(writer.pending_bytes for writer in list(self._writers))

    @property
    def lost(self) -> int:
        """Messages given up because the disk refused them until memory was full."""
        return sum(writer.lost for writer in list(self._writers))

    @property
    def sealing(self) -> int:
        """Episodes waiting to be sealed."""
        return self._jobs.qsize()

    def open(self, episode_id: str, metadata: dict[str, str]) -> LogWriter:
        """A new writer whose data reaches the disk at least once a second."""
        writer = LogWriter(self.folder, episode_id, metadata)
        self._writers.append(writer)
        return writer

    def finish(self, writer: LogWriter) -> None:
        """Seal the writer's episode in the background; retried until the disk accepts it."""
        self._jobs.put(writer)

    def flush(self) -> None:
        """Flush and synchronise now. Raises LogWriteError."""
        for writer in list(self._writers):
            writer.flush(sync=True)

    def free_mb(self) -> float:
        """Free space of the disk that holds the folder [MB]."""
        folder = self.folder
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        return shutil.disk_usage(folder).free / 1e6

    def close(self) -> list[str]:
        """Seal everything that is open and stop; returns the errors that kept something unsealed."""
        self._stop.set()
        self._flusher.join()
        self._jobs.put(None)
        self._sealer.join()
        errors = []
        for writer in list(self._writers):
            try:
                self._seal(writer)
            except (LogWriteError, EpisodeFileError) as error:
                errors.append(str(error))
        return errors

    def _flush_loop(self) -> None:
        synced = 0.0
        while not self._stop.wait(FLUSH_S):
            sync = time.monotonic() - synced >= 1.0
            if sync:
                synced = time.monotonic()
            problem = ''
            for writer in list(self._writers):
                try:
                    writer.flush(sync)
                except LogWriteError as error:
                    problem = str(error)
            self._report('write', problem)
            try:
                free = self.free_mb()
            except OSError as error:  # the folder or its disk went away; writing says so too
                self._report('space', f'{self.folder}: {error}')
                continue
            low = f'only {free:.0f} MB free for {self.folder}: free some space, recording goes on'
            self._report('space', low if free < self.min_free_mb else '')

    def _seal_loop(self) -> None:
        try:
            for path in recover(self.folder):
                self.sealed.append(Sealed(path, '', 0, True))
        except OSError as error:
            self._report('recover', f'{self.folder} cannot be searched for unfinished episodes: {error}')
        while True:
            writer = self._jobs.get()
            if writer is None:
                return
            try:
                self._seal(writer)
                self._report('seal', '')
            except LogWriteError as error:
                self._report('seal', str(error))
                if self._stop.wait(RETRY_S):
                    continue  # close() tries a last time
                self._jobs.put(writer)
            except EpisodeFileError as error:
                # somebody changed the part file under us; what is left of it stays for a person to see
                self._report('seal', str(error))
                self._writers.remove(writer)

    def _seal(self, writer: LogWriter) -> None:
        path = writer.seal()
        self._writers.remove(writer)
        self.sealed.append(Sealed(path, writer.episode_id, sum(writer.counts.values()), False))

    def _report(self, subject: str, problem: str) -> None:
        if problem and self.errors.get(subject) != problem:
            _log.error('%s', problem)
        if problem:
            self.errors[subject] = problem
        else:
            self.errors.pop(subject, None)
