# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""From a log to an Episode: every topic joined by capture time on the policy's grid.

Step ``i`` begins at ``s_i = start + i * action_dt``. Its images and joint state are the newest at or before
``s_i``, its action is what the gate executed at the last control tick in ``[s_i, s_i + action_dt)``.
Arithmetic on stamps is in integer nanoseconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from apprentice.episodes.ending import final_state, is_over
from apprentice.episodes.files import EpisodeFileError
from apprentice.episodes.labels import read_label
from apprentice.episodes.log_reader import LogMessage, LogReader
from apprentice.episodes.messages import MessageError, decode_image, header_stamp, nanoseconds
from apprentice.robot.episode_record import Phase
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Episode, Reward, RewardKind, Source

EXECUTED, STATE, CHUNK = 'gate/executed', 'episode/state', 'policy/chunk'
REWARD, TRUTH = 'reward/sample', 'sim/truth'
_TOLERANCE_NS = 1000  # stamps are often sums of floats


def read_episode(path: str | Path, spec: RobotSpec, salvage: bool = False) -> Episode:
    """Read one episode file and join it on the grid of ``spec.action_dt``.

    The grid starts at the first camera frame of the running phase for which every camera has a frame and the
    joints a state, and ends with the last complete step before the end of the episode. A control step
    missing from the log repeats the command before it with ``Source.NONE``. A later label overrides the
    outcome; an episode without its end reads as ABORT. With ``salvage`` unfinished and cut-off files are
    read as far as they go.

    Raises EpisodeFileError for missing, foreign and damaged files, for another robot's episode, and when
    not one complete step was recorded.
    """
    reader = LogReader(path, salvage)
    robot = reader.metadata.get('robot', '')
    if robot and robot != spec.name:
        raise EpisodeFileError(
            f'{path} was recorded with robot {robot!r}, not {spec.name!r}; '
            'pass the robot file it was recorded with'
        )
    log = _Log(reader, spec)
    start, stamps = log.grid()
    images = {camera.name: log.images(camera.name, stamps) for camera in spec.cameras}
    action, source, takeover = log.executed(stamps)
    state_index = np.searchsorted(log.joint_stamps, stamps + _TOLERANCE_NS, side='right') - 1
    outcome = read_label(path)
    dropped = reader.metadata.get('frames_dropped')
    return Episode(
        episode_id=log.episode_id,
        task=str(log.last.task),
        seed=int(log.last.seed),
        outcome=log.final.outcome if outcome is None else outcome,
        end_cause=int(log.final.cause),
        eval_only=bool(log.last.eval_only),
        stamps=stamps * 1e-9,
        images=images,
        state=log.joint_positions[state_index].astype(np.float32),
        action=action,
        source=source,
        takeover_id=takeover,
        rewards=log.rewards(start),
        robot=robot or spec.name,
        frames_dropped=int(dropped) if dropped is not None else log.frames_dropped(),
        weights_version=log.weights_version(start),
        started=log.started * 1e-9,
    )


def frames_missing(stamps: np.ndarray, rate_hz: float, end: int | None = None) -> int:
    """Frames missing by gaps of more than 1.5 periods between sorted ``stamps`` [ns], up to ``end`` [ns]."""
    if end is not None:
        stamps = np.append(stamps[stamps < end], end)
    periods = np.diff(stamps) * (rate_hz * 1e-9)
    return int(np.sum(np.where(periods > 1.5, np.rint(periods) - 1, 0)))


class _Log:
    """The topics of one episode, decoded and sorted by capture time."""

    def __init__(self, reader: LogReader, spec: RobotSpec):
        self.reader, self.spec, self.path = reader, spec, reader.path
        cameras = {camera.topic.lstrip('/'): camera.name for camera in spec.cameras}
        joints = spec.joint_states_topic.lstrip('/')
        names = {*cameras, joints, EXECUTED, STATE, CHUNK, REWARD, TRUTH}
        self._frames: dict[str, dict[int, LogMessage]] = {camera.name: {} for camera in spec.cameras}
        self._executed: dict[int, Any] = {}
        self._samples: list[Any] = []
        self._chunks: list[tuple[int, int]] = []
        states: list[Any] = []
        positions: dict[int, list[float]] = {}
        for message in reader.messages(names):
            if message.name in cameras:
                stamp = header_stamp(message.type, message.data) or message.log_time
                self._frames[cameras[message.name]][stamp] = message
                continue
            decoded = reader.decode(message)
            if message.name == joints:
                positions[nanoseconds(decoded.header.stamp)] = self._positions(decoded)
            elif message.name == EXECUTED:
                self._executed[nanoseconds(decoded.header.stamp)] = decoded
            elif message.name == STATE:
                states.append(decoded)
            elif message.name == CHUNK:
                self._chunks.append((nanoseconds(decoded.header.stamp), int(decoded.weights_version)))
            else:
                self._samples.append(decoded)
        self._select_episode(states)
        self.joint_stamps = np.array(sorted(positions), np.int64)
        self.joint_positions = np.array([positions[stamp] for stamp in sorted(positions)], np.float64)
        self.executed_stamps = np.array(sorted(self._executed), np.int64)
        self.frame_stamps = {name: np.array(sorted(found), np.int64) for name, found in self._frames.items()}
        for what, found in {'joint states': positions, 'executed commands': self._executed}.items():
            if not found:
                raise EpisodeFileError(
                    f'{self.path} has no {what}; record with the gate and the robot driver running'
                )
        for name, stamps in self.frame_stamps.items():
            if not len(stamps):
                raise EpisodeFileError(
                    f'{self.path} has no frames of camera {name!r} ({spec.camera(name).topic}); '
                    'pass the robot file it was recorded with, or check that camera'
                )
        if self.ended:
            self.end = nanoseconds(self.last.ended) or self._end_seen
        else:
            self.end = int(self.executed_stamps[-1]) + round(1e9 / spec.control_hz)

    def _select_episode(self, states: list[Any]) -> None:
        wanted = self.reader.metadata.get('episode_id', '')
        self.final = final_state(reversed(states), self.path, wanted)
        self.episode_id, self.ended, self.last = self.final.episode_id, self.final.ended, self.final.state
        mine = [state for state in states if state.episode_id == self.episode_id]
        over = [nanoseconds(state.header.stamp) for state in mine if is_over(state)]
        running = [nanoseconds(state.header.stamp) for state in mine if state.phase == Phase.RUNNING]
        self._end_seen = over[0] if over else 0
        self.started = nanoseconds(self.last.started) or running[0]

    def _positions(self, message: Any) -> list[float]:
        index = {name: i for i, name in enumerate(message.name)}
        try:
            return [message.position[index[name]] for name in self.spec.joint_names]
        except (KeyError, IndexError):
            missing = sorted(set(self.spec.joint_names) - set(message.name)) or 'positions'
            raise EpisodeFileError(
                f'{self.path}: joint states lack {missing}; pass the robot file it was recorded with'
            ) from None

    def grid(self) -> tuple[int, np.ndarray]:
        """Start [ns] and the stamps of all complete steps, int64 [T]."""
        ready = max(self.joint_stamps[0], *(stamps[0] for stamps in self.frame_stamps.values()))
        ready = max(ready, self.started) - _TOLERANCE_NS
        frames = np.sort(np.concatenate(list(self.frame_stamps.values())))
        start = next((int(stamp) for stamp in frames if stamp >= ready), self.end)
        step = self.spec.action_dt * 1e9
        # no step before the first command: nothing was executed there
        skipped = int(max(0, np.floor((self.executed_stamps[0] + _TOLERANCE_NS - start) / step)))
        count = int((self.end + _TOLERANCE_NS - start) / step) if self.end > start else 0
        if count <= skipped:
            raise EpisodeFileError(
                f'{self.path} holds no complete step of {self.spec.action_dt} s; the episode ended at once'
            )
        stamps = start + np.rint(np.arange(skipped, count) * step).astype(np.int64)
        return int(stamps[0]), stamps

    def images(self, camera: str, stamps: np.ndarray) -> np.ndarray:
        """uint8 [T, H, W, 3]: the newest frame at or before each stamp."""
        available, messages = self.frame_stamps[camera], self._frames[camera]
        chosen = available[np.searchsorted(available, stamps + _TOLERANCE_NS, side='right') - 1]
        images: np.ndarray | None = None
        for i, stamp in enumerate(chosen):
            if images is not None and i and stamp == chosen[i - 1]:
                images[i] = images[i - 1]
                continue
            try:
                image = decode_image(messages[int(stamp)].data)
            except MessageError as error:
                raise EpisodeFileError(f'{self.path}: camera {camera!r}: {error}') from None
            if images is None:
                images = np.empty((len(stamps), *image.shape), np.uint8)
            if image.shape != images.shape[1:]:
                raise EpisodeFileError(
                    f'{self.path}: camera {camera!r} changes size from {images.shape[1:]} to {image.shape}; '
                    'record with one resolution'
                )
            images[i] = image
        assert images is not None  # a grid has at least one step
        return images

    def executed(self, stamps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Action float32 [T, dim], source uint8 [T] and takeover id int64 [T] of each step."""
        after = stamps + round(self.spec.action_dt * 1e9) - _TOLERANCE_NS
        last = np.searchsorted(self.executed_stamps, after, side='left') - 1
        inside = self.executed_stamps[last] >= stamps - _TOLERANCE_NS
        commands = [self._executed[int(self.executed_stamps[i])] for i in last]
        for command in commands:
            if len(command.executed) != self.spec.dim:
                raise EpisodeFileError(
                    f'{self.path}: commands have {len(command.executed)} joints, {self.spec.name!r} has '
                    f'{self.spec.dim}; pass the robot file it was recorded with'
                )
        action = np.array([command.executed for command in commands], np.float32)
        source = np.array([command.source for command in commands], np.uint8)
        takeover = np.array([command.takeover_id for command in commands], np.int64)
        human = inside & (source == int(Source.HUMAN))
        return action, np.where(inside, source, np.uint8(Source.NONE)), np.where(human, takeover, 0)

    def rewards(self, start: int) -> list[Reward]:
        """Measurements of this episode, by time: other episodes' and what came after its end left out."""
        first = min(start, self.started) - round(self.spec.action_dt * 1e9)
        found = []
        for sample in self._samples:
            t1 = nanoseconds(sample.t1)
            late = self.ended and t1 > self.end + _TOLERANCE_NS and sample.kind != RewardKind.HUMAN
            if sample.episode_id not in ('', self.episode_id) or t1 < first or late:
                continue
            found.append(
                Reward(
                    t0=nanoseconds(sample.t0) * 1e-9,
                    t1=t1 * 1e-9,
                    kind=RewardKind(sample.kind),
                    value=float(sample.value),
                    progress=float(sample.progress),
                    done_prob=float(sample.done_prob),
                    valid=bool(sample.valid),
                    model=sample.model,
                    version=sample.version,
                    camera=sample.camera,
                    std=float(sample.std),
                    margin=float(sample.margin),
                    done=bool(sample.done),
                    reason=sample.reason,
                    # logs from before these fields lack them
                    ood=float(getattr(sample, 'ood', float('nan'))),
                    revision=int(getattr(sample, 'revision', 0)),
                )
            )
        return sorted(found, key=lambda reward: reward.t1)

    def frames_dropped(self) -> int:
        dropped = 0
        for camera in self.spec.cameras:
            stamps = self.frame_stamps[camera.name]
            first = max(0, int(np.searchsorted(stamps, self.started + _TOLERANCE_NS, side='right')) - 1)
            dropped += frames_missing(stamps[first:], camera.rate_hz, self.end if self.ended else None)
        return dropped

    def weights_version(self, start: int) -> int:
        """Version that planned the last chunk of the episode."""
        step = round(self.spec.action_dt * 1e9)
        chunks = [version for stamp, version in sorted(self._chunks) if start - step <= stamp < self.end]
        return chunks[-1] if chunks else int(self.reader.metadata.get('weights_version', 0))
