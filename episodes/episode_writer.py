# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Episodes made without a ROS graph (scripted demonstrations), written as the recorder would have.

Same topics, messages and file layout, so that nothing downstream can tell where an episode came from.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from apprentice.episodes.files import SCHEMA_VERSION, SUFFIX, LogWriteError
from apprentice.episodes.join import EXECUTED, REWARD, STATE, TRUTH
from apprentice.episodes.log_writer import qos_text
from apprentice.episodes.messages import definition, encode, time_fields
from apprentice.episodes.sealing import SealedFile
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Episode, Reward, RewardKind, Source

_INTERFACES = 'apprentice_interfaces/msg/'
_RUNNING, _ENDED = 3, 4  # EpisodeState.phase


def write_episode(path: str | Path, episode: Episode, spec: RobotSpec, robot_file: str = '') -> Path:
    """Write ``episode`` as a sealed file; :func:`read_episode` gives it back.

    ``path`` is a file name ending in ``.mcap``, or a folder, in which it is named after the episode id.
    ``robot_file`` is the text of the robot file, for the record.

    Raises FileExistsError (sealed files are never changed), ValueError when the arrays do not fit each
    other, the robot or the grid, and LogWriteError.
    """
    target = Path(path)
    if target.suffix != SUFFIX:
        target = target / (episode.episode_id + SUFFIX)
    if target.exists():
        raise FileExistsError(f'{target} exists, and sealed episodes are never changed; choose another name')
    _check(episode, spec)
    metadata = {
        'episode_id': episode.episode_id,
        'schema_version': str(SCHEMA_VERSION),
        'robot': episode.robot or spec.name,
        'robot_file': robot_file or yaml.safe_dump({'name': spec.name}),
        'session_id': 'offline',
        'frames_dropped': str(episode.frames_dropped),
        'weights_version': str(episode.weights_version),
    }
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        output = SealedFile(target, metadata)
        try:
            for name, kind, stamp, fields in _messages(episode, spec):
                channel = {'offered_qos_profiles': qos_text(), 'apprentice_name': name}
                output.add_topic('/' + name, kind, definition(kind).encode(), channel)
                output.write('/' + name, encode(kind, fields), stamp, stamp)
            output.commit()
        except BaseException:
            output.discard()
            raise
    except OSError as error:
        raise LogWriteError(target, error, 'nothing was written') from error
    return target


def _check(episode: Episode, spec: RobotSpec) -> None:
    steps = len(episode)
    if steps == 0:
        raise ValueError(f'episode {episode.episode_id!r} has no steps')
    for what in ('state', 'action'):
        shape = getattr(episode, what).shape
        if shape != (steps, spec.dim):
            raise ValueError(
                f'episode {what} has shape {shape}, robot {spec.name!r} needs {(steps, spec.dim)}'
            )
    if len(episode.source) != steps or len(episode.takeover_id) != steps:
        raise ValueError(f'source and takeover_id need {steps} entries')
    missing = {camera.name for camera in spec.cameras} - set(episode.images)
    if missing:
        raise ValueError(f'episode has no images of {sorted(missing)}; the robot file lists these cameras')
    for name, images in episode.images.items():
        if images.dtype != np.uint8 or images.ndim != 4 or len(images) != steps or images.shape[3] != 3:
            raise ValueError(f'images of {name!r} must be uint8 [{steps}, H, W, 3], got {images.shape}')
    grid = episode.stamps[0] + np.arange(steps) * spec.action_dt
    if np.max(np.abs(episode.stamps - grid)) > 1e-4:
        raise ValueError(f'stamps must be {spec.action_dt} s apart; resample the episode on the grid first')


def _messages(episode: Episode, spec: RobotSpec) -> Iterator[tuple[str, str, int, dict[str, Any]]]:
    """(topic, type, stamp [ns], fields) in the order a recorder would have seen them."""
    step = spec.action_dt * 1e9
    start = round(episode.stamps[0] * 1e9)
    stamps = [start + round(i * step) for i in range(len(episode))]
    end = start + round(len(episode) * step)
    waiting = sorted(episode.rewards, key=lambda reward: reward.t1)
    yield STATE, _INTERFACES + 'EpisodeState', start, _state(episode, start, 0, 0, _RUNNING)
    for i, stamp in enumerate(stamps):
        header = {'stamp': time_fields(stamp), 'frame_id': spec.base_frame}
        for camera in spec.cameras:
            image = episode.images[camera.name][i]
            fields = {
                'header': {'stamp': header['stamp'], 'frame_id': camera.frame_id},
                'height': image.shape[0],
                'width': image.shape[1],
                'encoding': 'rgb8',
                'step': image.shape[1] * 3,
                'data': image.tobytes(),
            }
            yield camera.topic.lstrip('/'), 'sensor_msgs/msg/Image', stamp, fields
        fields = {'header': header, 'name': list(spec.joint_names), 'position': episode.state[i].tolist()}
        yield spec.joint_states_topic.lstrip('/'), 'sensor_msgs/msg/JointState', stamp, fields
        yield (
            EXECUTED,
            _INTERFACES + 'ExecutedCommand',
            stamp,
            {
                'header': header,
                'seq': i + 1,
                'source': int(episode.source[i]),
                'takeover_id': int(episode.takeover_id[i]) if episode.source[i] == int(Source.HUMAN) else 0,
                'episode_id': episode.episode_id,
                'requested': episode.action[i].tolist(),
                'executed': episode.action[i].tolist(),
            },
        )
        yield _command(spec, header, stamp, episode.action[i].tolist())
        while waiting and round(waiting[0].t1 * 1e9) <= stamp:
            yield _reward(waiting.pop(0), episode)
    yield STATE, _INTERFACES + 'EpisodeState', end, _state(episode, start, end, len(episode), _ENDED)
    for reward in waiting:
        yield _reward(reward, episode)


def _command(
    spec: RobotSpec, header: dict[str, Any], stamp: int, target: list[float]
) -> tuple[str, str, int, dict[str, Any]]:
    name = spec.command.topic.lstrip('/')
    if spec.command.type == 'forward_position':
        return name, 'std_msgs/msg/Float64MultiArray', stamp, {'data': target}
    point = {'positions': target, 'time_from_start': time_fields(round(spec.action_dt * 1e9))}
    fields = {'header': header, 'joint_names': list(spec.joint_names), 'points': [point]}
    return name, 'trajectory_msgs/msg/JointTrajectory', stamp, fields


def _state(episode: Episode, start: int, end: int, steps: int, phase: int) -> dict[str, Any]:
    return {
        'header': {'stamp': time_fields(end or start)},
        'session_id': 'offline',
        'episode_id': episode.episode_id,
        'task': episode.task,
        'seed': int(episode.seed),
        'phase': phase,
        'outcome': int(episode.outcome) if end else 0,
        'end_cause': int(episode.end_cause) if end else 0,
        'step': steps,
        'elapsed_s': (end - start) * 1e-9 if end else 0.0,
        'intervention_ratio': episode.human_steps / len(episode) if end else 0.0,
        'eval_only': bool(episode.eval_only),
        'started': time_fields(start),
        'ended': time_fields(end),
    }


def _reward(reward: Reward, episode: Episode) -> tuple[str, str, int, dict[str, Any]]:
    stamp = round(reward.t1 * 1e9)
    fields = {
        'header': {'stamp': time_fields(stamp)},
        'episode_id': episode.episode_id,
        'camera': reward.camera,
        'instruction': episode.task,
        'kind': int(reward.kind),
        't0': time_fields(round(reward.t0 * 1e9)),
        't1': time_fields(stamp),
        'value': float(reward.value),
        'std': float(reward.std),
        'progress': float(reward.progress),
        'done_prob': float(reward.done_prob),
        'done': bool(reward.done or reward.done_prob >= 0.5),
        'ood': float(reward.ood),
        'margin': float(reward.margin),
        'valid': bool(reward.valid),
        'reason': reward.reason,
        'model': reward.model,
        'version': reward.version,
        'revision': int(reward.revision),
    }
    name = TRUTH if reward.kind == RewardKind.TRUTH else REWARD
    return name, _INTERFACES + 'RewardSample', stamp, fields
