# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Sealed episodes that pages look at: a few stay open, and they are read in a thread of their own."""

from __future__ import annotations

import asyncio
import math
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from aiohttp import web

from apprentice.episodes.files import SUFFIX, EpisodeFileError, file_stem
from apprentice.episodes.playback import Playback

OPEN_FILES = 6
FOREVER = {'Cache-Control': 'private, max-age=86400'}  # sealed files never change
T = TypeVar('T')


class RecordedFiles:
    """The sealed episodes of some folders, by name; the folders need not exist yet."""

    def __init__(self, folders: Sequence[Path]):
        self.folders = list(folders)
        self._open: OrderedDict[Path, Playback] = OrderedDict()
        self._thread = ThreadPoolExecutor(1, 'recordings')

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def look(self, query: Mapping[str, str], work: Callable[[Playback], T]) -> T:
        """What ``work`` makes of the episode that ``id`` of a request names.

        Raises HTTPBadRequest for a name that is none and HTTPNotFound for an episode that cannot be read.
        """
        name = query.get('id', '')
        if not re.fullmatch(r'\w[\w.-]{0,200}', name):
            raise web.HTTPBadRequest(text='pass id=<episode>')
        return await self.run(lambda: work(self._playback(file_stem(name))))

    async def run(self, work: Callable[[], T]) -> T:
        """Do something in the reading thread. Raises HTTPNotFound for EpisodeFileError."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except EpisodeFileError as error:
            raise web.HTTPNotFound(text=str(error)) from None

    def _playback(self, stem: str) -> Playback:
        for folder in self.folders:
            path = folder / (stem + SUFFIX)
            if path in self._open:
                self._open.move_to_end(path)
                return self._open[path]
            if path.is_file():
                playback = self._open[path] = Playback(path)
                while len(self._open) > OPEN_FILES:
                    self._open.popitem(last=False)[1].close()
                return playback
        raise EpisodeFileError(f'no episode {stem} in {", ".join(map(str, self.folders))}')


def number(query: Mapping[str, str], name: str) -> float:
    """A finite number of a request. Raises HTTPBadRequest."""
    try:
        value = float(query[name])
    except (KeyError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise web.HTTPBadRequest(text=f'pass {name}=<number>')
    return value
