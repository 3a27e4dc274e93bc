# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Looking at one recorded episode: what became of it, who drove, and any frame by time.

Nothing is read that is not looked at: a sealed file has an index, so that one frame costs one chunk.
Times are seconds since the episode began, on the robot's clock.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.reader import make_reader
from mcap.records import Channel, Chunk, MessageIndex, Schema
from mcap.stream_reader import get_chunk_data_stream
from mcap_ros2.decoder import DecoderFactory
from PIL import Image as Picture

from apprentice.episodes.ending import FinalState, final_state
from apprentice.episodes.files import METADATA, EpisodeFileError
from apprentice.episodes.labels import read_label
from apprentice.episodes.messages import MessageError, decode_image, nanoseconds
from apprentice.robot.types import Outcome, Source

STATE = 'episode/state'
IMAGE, COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
_MESSAGE_HEAD = 9 + 22  # opcode and length of the record; channel, sequence, log and publish time
_CHUNKS_KEPT = 4


@dataclass(frozen=True)
class Summary:
    """What a list of episodes shows.

    Attributes:
        outcome: as labelled last.
        recorded: as recorded, before any later label.
        seconds: length; NaN where the file lacks the end.
        driven: share of the control steps driven by a person.
    """

    episode_id: str
    task: str
    outcome: Outcome
    recorded: Outcome
    seconds: float
    driven: float
    eval_only: bool
    cameras: tuple[str, ...]
    size: int


class Playback:
    """Random access to one sealed episode. Not thread-safe.

    Raises EpisodeFileError for files that are missing, damaged, without an index or without an episode.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        try:
            self._stream = open(self.path, 'rb')  # noqa: SIM115 - closed by close()
        except OSError as error:
            raise EpisodeFileError(f'{self.path} cannot be opened: {error.strerror}') from None
        self._factory = DecoderFactory()
        self._chunk = lru_cache(_CHUNKS_KEPT)(self._read_chunk)
        try:
            reader = make_reader(self._stream)
            summary = reader.get_summary()
            if summary is None or not summary.chunk_indexes:
                raise EpisodeFileError(f'{self.path} has no index; let a recorder with this run_dir seal it')
            self._schemas: dict[int, Schema] = summary.schemas
            self._channels: dict[str, Channel] = {
                channel.metadata.get('apprentice_name', channel.topic.lstrip('/')): channel
                for channel in summary.channels.values()
            }
            self._chunks = summary.chunk_indexes
            described = (record.metadata for record in reader.iter_metadata() if record.name == METADATA)
            self._final = self._final_state(next(described, {}).get('episode_id', ''))
        except (McapError, OSError, MessageError) as error:
            self.close()
            raise EpisodeFileError(f'{self.path} cannot be played: {error}; the file is damaged') from error
        except EpisodeFileError:
            self.close()
            raise
        self._last = self._final.state
        self._start = self._final.started_ns

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> Playback:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def cameras(self) -> tuple[str, ...]:
        """Topics of the cameras by which :meth:`frame` finds them, as the robot file names them."""
        kinds = {name: self._schemas[channel.schema_id].name for name, channel in self._channels.items()}
        return tuple(sorted(name for name, kind in kinds.items() if kind in (IMAGE, COMPRESSED)))

    def summary(self) -> Summary:
        """What became of the episode; reads its last part only."""
        state, label, recorded = self._last, read_label(self.path), self._final.outcome
        length = (nanoseconds(state.ended) - self._start) * 1e-9 if nanoseconds(state.ended) else float('nan')
        return Summary(
            episode_id=state.episode_id,
            task=state.task,
            outcome=recorded if label is None else label,
            recorded=recorded,
            seconds=length,
            driven=float(state.intervention_ratio),
            eval_only=bool(state.eval_only),
            cameras=self.cameras,
            size=self.path.stat().st_size,
        )

    def stamps(self, camera: str) -> np.ndarray:
        """Capture times of all frames of a camera, sorted, float64 [N]."""
        return np.array([(stamp - self._start) * 1e-9 for stamp, _, _ in self._index(camera)])

    def frame(self, camera: str, time_s: float) -> np.ndarray:
        """The newest frame at or before a time, the first one where there is none; uint8 [H, W, 3] RGB."""
        entries = self._index(camera)
        stamps = np.array([stamp for stamp, _, _ in entries])
        wanted = self._start + round(time_s * 1e9) + 1000
        chosen = max(0, int(np.searchsorted(stamps, wanted, side='right')) - 1)
        return self._image(camera, entries[chosen])

    def frames(self, camera: str, begin_s: float, end_s: float, count: int) -> np.ndarray:
        """``count`` frames spread evenly from ``begin_s`` to ``end_s``; uint8 [count, H, W, 3]."""
        times = np.linspace(begin_s, end_s, max(1, count))
        return np.stack([self.frame(camera, float(time_s)) for time_s in times])

    def spans(self) -> list[tuple[float, float]]:
        """From when to when a person drove, by the commands that were executed."""
        commands = self._decoded('gate/executed')
        times = np.array([self.seconds(command.header.stamp) for command in commands])
        human = np.array([command.source == Source.HUMAN for command in commands], bool)
        if len(times) < 2 or not human.any():
            return []
        order = np.argsort(times, kind='stable')
        times, human = times[order], human[order]
        edges = np.flatnonzero(np.diff(np.concatenate(([False], human, [False])).astype(int)))
        ends = np.append(times, times[-1] + np.median(np.diff(times)))  # the last one lasts a period too
        return [
            (max(0.0, float(ends[a])), float(ends[b])) for a, b in zip(edges[::2], edges[1::2]) if ends[b] > 0
        ]

    def samples(self) -> list[Any]:
        """The reward samples of this episode in the order of the file, decoded; the simulator's truth too."""
        samples = [*self._decoded('reward/sample'), *self._decoded('sim/truth')]
        return [sample for sample in samples if sample.episode_id in ('', self._last.episode_id)]

    def seconds(self, stamp: Any) -> float:
        """A builtin_interfaces/Time of the log as seconds since the episode began."""
        return (nanoseconds(stamp) - self._start) * 1e-9

    # The index: which message of which topic lies where.

    def _entries(self, name: str) -> list[tuple[int, int, int]]:
        """(log time [ns], number of the chunk, offset in it) of every message of a topic."""
        channel = self._channels.get(name)
        found: list[tuple[int, int, int]] = []
        for number, chunk in enumerate(self._chunks):
            offset = chunk.message_index_offsets.get(channel.id) if channel else None
            if offset is None:
                continue
            self._stream.seek(offset + 9)  # past opcode and length of the record
            index = MessageIndex.read(ReadDataStream(self._stream))
            found += [(time, number, place) for time, place in index.records]
        return found

    def _index(self, camera: str) -> list[tuple[int, int, int]]:
        if camera not in self.cameras:
            raise EpisodeFileError(f'{self.path} has no camera {camera!r}; there are {list(self.cameras)}')
        entries = sorted(self._entries(camera))
        if not entries:
            raise EpisodeFileError(f'{self.path} has no frames of {camera!r}')
        return entries

    def _read_chunk(self, number: int) -> bytes:
        self._stream.seek(self._chunks[number].chunk_start_offset + 9)
        stream, size = get_chunk_data_stream(Chunk.read(ReadDataStream(self._stream)), validate_crc=False)
        return stream.read(size)

    def _data(self, number: int, place: int) -> bytes:
        chunk = self._chunk(number)
        length = int.from_bytes(chunk[place + 1 : place + 9], 'little')
        return chunk[place + _MESSAGE_HEAD : place + 9 + length]

    def _image(self, camera: str, entry: tuple[int, int, int]) -> np.ndarray:
        data = self._data(entry[1], entry[2])
        kind = self._schemas[self._channels[camera].schema_id].name
        if kind == IMAGE:
            return decode_image(data)
        message = self._decoder(camera)(data)
        return np.asarray(Picture.open(io.BytesIO(message.data)).convert('RGB'))

    def _decoder(self, name: str) -> Any:
        decoder = self._factory.decoder_for('cdr', self._schemas[self._channels[name].schema_id])
        assert decoder is not None  # everything in a log of ours is ros2msg
        return decoder

    def _decoded(self, name: str) -> list[Any]:
        if name not in self._channels:
            return []
        decoder = self._decoder(name)
        return [decoder(self._data(number, place)) for _, number, place in self._entries(name)]

    def _final_state(self, wanted: str) -> FinalState:
        """Reads from the end, so that the last part of the file is enough."""
        places = reversed(self._entries(STATE))
        decode = self._decoder(STATE) if STATE in self._channels else None
        states = (decode(self._data(number, place)) for _, number, place in places if decode)
        return final_state(states, self.path, wanted)
