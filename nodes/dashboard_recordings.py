# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Recorded episodes on the dashboard: their list, and any frame by time.

    GET /api/episodes                                     newest first, what became of each
    GET /api/episode?id=ID                                one: who drove when, curves, cameras
    GET /api/frame?id=ID&camera=NAME&t=S                  JPEG of the newest frame at or before t

Times are seconds since the episode began. Cameras are named as in the robot file. Files are read in a thread
of their own: neither the graph nor the live pictures wait for them.
"""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web
from apprentice_interfaces.msg import EpisodeState
from rclpy.node import Node
from std_msgs.msg import String

from apprentice.episodes.files import SUFFIX, EpisodeFileError
from apprentice.episodes.labels import iter_sealed, label_path
from apprentice.episodes.pictures import jpeg
from apprentice.episodes.playback import Playback
from apprentice.nodes import qos
from apprentice.nodes.dashboard_curves import points_of
from apprentice.nodes.dashboard_panels import Handler, Panel
from apprentice.nodes.dashboard_state import finite
from apprentice.nodes.recorded_files import FOREVER, RecordedFiles, number
from apprentice.nodes.recorded_topics import profile
from apprentice.robot.spec import RobotSpec

MAX_LISTED = 200
MAX_DETAILS = 16  # kept; some hundred kB each


class Recordings(Panel):
    """Serves the episodes of one folder.

    Args:
        folder: where the recorder puts sealed episodes; need not exist yet.
    """

    name = 'recordings'

    def __init__(self, node: Node, spec: RobotSpec, folder: Path):
        self._folder, self._files = folder, RecordedFiles([folder])
        self._topics = {camera.name: camera.topic.lstrip('/') for camera in spec.cameras}
        self._names = {topic: name for name, topic in self._topics.items()}
        self._revision = 0
        self._last = ('', 0)
        self._rows: dict[Path, tuple[Any, dict[str, Any]]] = {}
        self._known: OrderedDict[Path, dict[str, Any]] = OrderedDict()  # details; sealed files never change
        node.create_subscription(String, 'recorder/sealed', self._on_sealed, profile(True, True, 50))
        node.create_subscription(EpisodeState, 'episode/state', self._on_episode, qos.STATE)
        self.routes: Mapping[str, Handler] = {
            '/api/episodes': self._episodes,
            '/api/episode': self._episode,
            '/api/frame': self._frame,
        }

    def _on_sealed(self, message: String) -> None:
        self._revision += 1

    def _on_episode(self, message: EpisodeState) -> None:
        if message.phase == EpisodeState.ENDED and (message.episode_id, message.outcome) != self._last:
            self._last = (message.episode_id, message.outcome)
            self._revision += 1

    def report(self) -> dict[str, Any]:
        """``revision`` grows when the list may have changed."""
        return {'revision': self._revision}

    def close(self) -> None:
        self._files.close()

    # The routes, in the server's thread.

    async def _episodes(self, request: web.Request) -> web.Response:
        return _json({'folder': str(self._folder), 'episodes': await self._files.run(self._list)})

    async def _episode(self, request: web.Request) -> web.Response:
        return _json(await self._files.look(request.query, self._details))

    async def _frame(self, request: web.Request) -> web.Response:
        name, time_s = request.query.get('camera', ''), number(request.query, 't')
        topic = self._topics.get(name, name)
        picture = await self._files.look(request.query, lambda playback: jpeg(playback.frame(topic, time_s)))
        return web.Response(body=picture, content_type='image/jpeg', headers=FOREVER)

    # What follows runs in the reading thread.

    def _list(self) -> list[dict[str, Any]]:
        rows = []
        newest = sorted(iter_sealed(self._folder), key=lambda path: path.name, reverse=True)[:MAX_LISTED]
        for path in newest:
            try:
                label = label_path(path)
                version = (path.stat().st_mtime_ns, label.stat().st_mtime_ns if label.exists() else 0)
            except OSError:  # removed meanwhile
                continue
            known = self._rows.get(path)
            if known is None or known[0] != version:
                known = self._rows[path] = (version, self._row(path))
            rows.append(known[1])
        return rows

    def _row(self, path: Path) -> dict[str, Any]:
        row: dict[str, Any] = {'id': path.name.removesuffix(SUFFIX)}
        try:
            with Playback(path) as playback:
                summary = playback.summary()
        except EpisodeFileError as error:
            return {**row, 'error': str(error)}
        return {
            **row,
            'episode': summary.episode_id,
            'task': summary.task,
            'outcome': summary.outcome.name,
            'recorded': summary.recorded.name,
            'seconds': finite(summary.seconds, 1),
            'driven': finite(summary.driven, 3),
            'eval_only': summary.eval_only,
            'bytes': summary.size,
        }

    def _details(self, playback: Playback) -> dict[str, Any]:
        path = playback.path
        if path not in self._known:
            self._known[path] = self._read_details(playback)
            while len(self._known) > MAX_DETAILS:
                self._known.popitem(last=False)
        return self._known[path]

    def _read_details(self, playback: Playback) -> dict[str, Any]:
        series: dict[str, list[tuple[float, float]]] = {}
        for sample in playback.samples():
            time_s = playback.seconds(sample.t1)
            if sample.valid and time_s >= 0:
                for key, number in points_of(sample).items():
                    series.setdefault(key, []).append((round(time_s, 3), number))
        stamps = {camera: playback.stamps(camera) for camera in playback.cameras}
        length = playback.summary().seconds
        if not math.isfinite(length):
            length = max((float(times[-1]) for times in stamps.values() if len(times)), default=0.0)
        return {
            'seconds': round(length, 3),
            'spans': [[round(begin, 3), round(end, 3)] for begin, end in playback.spans()],
            'series': {key: sorted(points) for key, points in sorted(series.items())},
            'cameras': [
                {'name': self._names.get(topic, topic), 'frames': len(times)}
                for topic, times in stamps.items()
            ],
        }


def _json(data: Any) -> web.Response:
    return web.Response(text=json.dumps(data, allow_nan=False), content_type='application/json')
