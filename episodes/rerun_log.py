# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""An episode log for the Rerun viewer: pictures, joints, commands, rewards and who was in control."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from apprentice.episodes.join import EXECUTED, REWARD, STATE, TRUTH
from apprentice.episodes.log_reader import LogMessage, LogReader
from apprentice.episodes.messages import decode_image, header_stamp
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import ControlMode, Outcome

TIMELINE = 'capture'
_GATE = 'gate/state'
_PHASES = ('IDLE', 'RESETTING', 'READY', 'RUNNING', 'ENDED')


def import_rerun() -> Any:
    """The module rerun. Raises ImportError that names the extra to install."""
    try:
        import rerun
    except ImportError:
        raise ImportError("the Rerun viewer needs pip install 'apprentice[rerun]'") from None
    return rerun


def log_episode(recording: Any, path: str | Path, spec: RobotSpec, quality: int = 90) -> int:
    """Log everything of an episode file to a ``rerun.RecordingStream``; returns how many messages.

    Args:
        quality: of the JPEG pictures; 0 keeps them as they are.

    Raises EpisodeFileError for a file that is no log; a cut-off one is read as far as it goes.
    """
    rerun = import_rerun()
    reader = LogReader(path, salvage=True)
    cameras = {camera.topic.lstrip('/'): camera.name for camera in spec.cameras}
    joints = spec.joint_states_topic.lstrip('/')
    names = {*cameras, joints, EXECUTED, REWARD, TRUTH, STATE, _GATE}
    count = 0
    for message in reader.messages(names, ordered=True):
        stamp = header_stamp(message.type, message.data) or message.log_time
        recording.set_time(TIMELINE, timestamp=np.datetime64(stamp, 'ns'))
        if message.name in cameras:
            image = rerun.Image(np.ascontiguousarray(decode_image(message.data)))
            recording.log(f'camera/{cameras[message.name]}', image.compress(quality) if quality else image)
        else:
            _log_numbers(rerun, recording, message, reader.decode(message), spec, joints)
        count += 1
    return count


def _log_numbers(
    rerun: Any, recording: Any, message: LogMessage, decoded: Any, spec: RobotSpec, joints: str
) -> None:
    if message.name == joints:
        measured = dict(zip(decoded.name, decoded.position))
        for joint in spec.joint_names:
            if joint in measured:
                recording.log(f'joints/{joint}/measured', rerun.Scalars(float(measured[joint])))
    elif message.name == EXECUTED:
        for joint, value in zip(spec.joint_names, decoded.executed):
            recording.log(f'joints/{joint}/commanded', rerun.Scalars(float(value)))
    elif message.name in (REWARD, TRUTH):
        value = decoded.value if message.name == TRUTH else decoded.progress
        if decoded.valid and np.isfinite(value):
            recording.log(f'reward/{decoded.model}', rerun.Scalars(float(value)))
    elif message.name == _GATE:
        text = f'{ControlMode(decoded.mode).name} {decoded.reason}'.strip()
        recording.log('control', rerun.TextLog(text))
    else:
        text = f'{_PHASES[decoded.phase]} {decoded.task!r}'
        if decoded.outcome:
            text += f' {Outcome(decoded.outcome).name}'
        recording.log('episode', rerun.TextLog(text))
