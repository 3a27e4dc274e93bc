# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Short clips for pages: the frames of a stretch below each other in one JPEG, so that two can run in step.

    GET /api/strip?id=ID&camera=NAME&begin=S&end=S&count=N

Times are seconds since the episode began; the frames are spread evenly and the last one is at ``end``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from aiohttp import web
from PIL import Image as Picture

from apprentice.episodes.pictures import jpeg
from apprentice.episodes.playback import Playback
from apprentice.nodes.recorded_files import FOREVER, RecordedFiles, number
from apprentice.robot.spec import RobotSpec

HEIGHT = 240  # pixels of a frame at most
MAX_FRAMES = 48


class ClipStrips:
    """Serves strips of the sealed episodes in ``folders``."""

    def __init__(self, spec: RobotSpec, folders: list[Path]):
        self._topics = {camera.name: camera.topic.lstrip('/') for camera in spec.cameras}
        self._files = RecordedFiles(folders)

    def close(self) -> None:
        self._files.close()

    async def answer(self, request: web.Request) -> web.Response:
        """The route."""
        query = request.query
        topic = self._topics.get(query.get('camera', ''))
        if topic is None:
            raise web.HTTPBadRequest(text=f'pass camera=, one of {list(self._topics)}')
        begin, end, count = (number(query, key) for key in ('begin', 'end', 'count'))
        if not (0 <= begin < end <= begin + 600 and 1 <= count <= MAX_FRAMES):
            raise web.HTTPBadRequest(text=f'pass 0 <= begin < end, and a count of 1 to {MAX_FRAMES}')
        body = await self._files.look(query, lambda play: _strip(play, topic, begin, end, int(count)))
        return web.Response(body=body, content_type='image/jpeg', headers=FOREVER)


def _strip(playback: Playback, topic: str, begin: float, end: float, count: int) -> bytes:
    frames = playback.frames(topic, begin, end, count)
    height, width = frames.shape[1:3]
    if height > HEIGHT:
        size = (max(1, round(width * HEIGHT / height)), HEIGHT)
        small = [Picture.fromarray(frame).resize(size, Picture.Resampling.BOX) for frame in frames]
        frames = np.stack([np.asarray(picture) for picture in small])
    return jpeg(frames.reshape(-1, *frames.shape[2:]))
