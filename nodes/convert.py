# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Between ROS messages and the vocabulary of ``apprentice.robot``. The only such place."""

from __future__ import annotations

import array
from collections.abc import Sequence

import numpy as np
from apprentice_interfaces.msg import ActionChunk as ActionChunkMsg
from apprentice_interfaces.msg import PreferenceAnswer, PreferencePair, RewardHealth, RewardSample
from builtin_interfaces.msg import Time
from sensor_msgs.msg import Image, JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from apprentice.episodes.answers import CHOICES, Answer, Stretch, StretchPair
from apprentice.episodes.messages import MessageError, rgb
from apprentice.reward_models.monitor.monitor import Report
from apprentice.robot.types import ActionChunk, Reward, RewardKind


def seconds(stamp: Time) -> float:
    """A stamp as seconds, float64 (0.2 microseconds at today's epoch)."""
    return stamp.sec + stamp.nanosec * 1e-9


def stamp_of(value: float) -> Time:
    """Seconds as a stamp, rounded to the microsecond: finer than that, float64 seconds are noise."""
    nanoseconds = round(value * 1e6) * 1000
    return Time(sec=nanoseconds // 1_000_000_000, nanosec=nanoseconds % 1_000_000_000)


def now(node) -> float:
    """The node's clock (simulated where use_sim_time is set), in seconds."""
    return node.get_clock().now().nanoseconds * 1e-9


def image_msg(image: np.ndarray, stamp: float, frame_id: str) -> Image:
    """uint8 [H, W, 3] RGB as sensor_msgs/Image."""
    data = array.array('B')
    # array.array from a buffer: assigning the ndarray itself costs a hundred times more in rclpy
    data.frombytes(np.ascontiguousarray(image).data.cast('B'))
    message = Image(height=image.shape[0], width=image.shape[1], encoding='rgb8', step=image.shape[1] * 3)
    message.header.stamp = stamp_of(stamp)
    message.header.frame_id = frame_id
    message.data = data
    return message


def image_array(message: Image) -> np.ndarray:
    """uint8 [H, W, 3] RGB copy of a sensor_msgs/Image; honours step and encoding.

    Raises MessageError for depth and unknown encodings.
    """
    return np.array(
        rgb(message.data, message.height, message.width, message.step, message.encoding), order='C'
    )


def joint_vector(message: JointState, names: Sequence[str]) -> np.ndarray:
    """Positions of a JointState in the order of ``names``, float64. Raises MessageError if one is missing."""
    index = {name: i for i, name in enumerate(message.name)}
    missing = [name for name in names if name not in index]
    if missing or len(message.position) < len(message.name):
        raise MessageError(f'joint state lacks positions of {missing or list(message.name)}')
    return np.array([message.position[index[name]] for name in names])


def joint_state_msg(
    stamp: float, names: Sequence[str], position: np.ndarray, velocity=(), frame_id: str = ''
) -> JointState:
    """Joint positions (rad, m) and optional velocities as sensor_msgs/JointState."""
    message = JointState(name=list(names), position=[float(p) for p in position])
    message.velocity = [float(v) for v in velocity]
    message.header.stamp, message.header.frame_id = stamp_of(stamp), frame_id
    return message


def trajectory_msg(stamp: float, names: Sequence[str], target: np.ndarray, period: float) -> JointTrajectory:
    """One joint target to be reached ``period`` seconds after ``stamp``."""
    point = JointTrajectoryPoint(positions=[float(p) for p in target])
    point.time_from_start.sec = int(period)
    point.time_from_start.nanosec = round((period % 1) * 1e9)
    message = JointTrajectory(joint_names=list(names), points=[point])
    message.header.stamp = stamp_of(stamp)
    return message


def chunk_msg(chunk: ActionChunk, frame_id: str, latency_s: float = 0.0) -> ActionChunkMsg:
    """An action chunk as its message; an infinite validity becomes the end of the chunk."""
    end = chunk.stamp + (chunk.horizon + 1) * chunk.dt
    message = ActionChunkMsg(
        seq=chunk.seq,
        epoch=chunk.epoch,
        weights_version=chunk.weights_version,
        episode_id=chunk.episode_id,
        control_mode=chunk.control_mode,
        names=list(chunk.names),
        dt=float(chunk.dt),
        horizon=chunk.horizon,
        shadow=chunk.shadow,
        latency_s=latency_s,
    )
    message.header.stamp = stamp_of(chunk.stamp)
    message.header.frame_id = frame_id
    message.data = array.array('f', np.asarray(chunk.actions, np.float32).reshape(-1).tobytes())
    message.valid_until = stamp_of(min(chunk.valid_until, end))
    return message


def chunk_of(message: ActionChunkMsg) -> ActionChunk:
    """The chunk in a message. Raises MessageError when data does not fill horizon x names."""
    size = message.horizon * len(message.names)
    if size == 0 or len(message.data) != size:
        raise MessageError(
            f'chunk {message.seq}: {len(message.data)} numbers for {message.horizon} x {len(message.names)}'
        )
    return ActionChunk(
        stamp=seconds(message.header.stamp),
        actions=np.array(message.data, np.float64).reshape(message.horizon, len(message.names)),
        dt=float(message.dt),
        seq=message.seq,
        epoch=message.epoch,
        weights_version=message.weights_version,
        valid_until=seconds(message.valid_until),
        names=tuple(message.names),
        shadow=message.shadow,
        episode_id=message.episode_id,
        control_mode=message.control_mode,
    )


def reward_msg(reward: Reward, episode_id: str, instruction: str, frame_id: str = '') -> RewardSample:
    """A reward measurement as its message."""
    message = RewardSample(
        episode_id=episode_id,
        instruction=instruction,
        camera=reward.camera,
        kind=int(reward.kind),
        value=float(reward.value),
        std=float(reward.std),
        progress=float(reward.progress),
        done_prob=float(reward.done_prob),
        done=bool(reward.done),
        ood=float(reward.ood),
        margin=float(reward.margin),
        valid=bool(reward.valid),
        reason=reward.reason,
        model=reward.model,
        version=reward.version,
        revision=int(reward.revision),
        t0=stamp_of(reward.t0),
        t1=stamp_of(reward.t1),
    )
    message.header.stamp = message.t1
    message.header.frame_id = frame_id
    return message


def reward_of(message: RewardSample) -> Reward:
    """The measurement in a message. Raises ValueError for a kind that is not known here."""
    return Reward(
        t0=seconds(message.t0),
        t1=seconds(message.t1),
        kind=RewardKind(message.kind),
        value=message.value,
        progress=message.progress,
        done_prob=message.done_prob,
        valid=message.valid,
        model=message.model,
        version=message.version,
        camera=message.camera,
        std=message.std,
        margin=message.margin,
        done=message.done,
        reason=message.reason,
        ood=message.ood,
        revision=message.revision,
    )


def health_msg(report: Report, stamp: float) -> RewardHealth:
    """A report on a reward model as its message; ``stamp`` [s] is the end of the episode."""
    message = RewardHealth(
        episode_id=report.episode_id,
        model=report.model,
        version=report.version,
        level=int(report.level),
        weight=float(report.weight),
        detectors=[finding.name for finding in report.findings],
        values=[float(finding.value) for finding in report.findings],
        limits=[float(finding.limit) for finding in report.findings],
        alarms=[bool(finding.alarm) for finding in report.findings],
        reason=report.reason,
    )
    message.header.stamp = stamp_of(stamp)
    return message


def quaternion(rotation: np.ndarray) -> tuple[float, float, float, float]:
    """Unit quaternion (w, x, y, z) of a rotation matrix [3, 3]."""
    w = np.sqrt(max(0.0, 1 + rotation[0, 0] + rotation[1, 1] + rotation[2, 2])) / 2
    x = np.sqrt(max(0.0, 1 + rotation[0, 0] - rotation[1, 1] - rotation[2, 2])) / 2
    y = np.sqrt(max(0.0, 1 - rotation[0, 0] + rotation[1, 1] - rotation[2, 2])) / 2
    z = np.sqrt(max(0.0, 1 - rotation[0, 0] - rotation[1, 1] + rotation[2, 2])) / 2
    x = np.copysign(x, rotation[2, 1] - rotation[1, 2])
    y = np.copysign(y, rotation[0, 2] - rotation[2, 0])
    z = np.copysign(z, rotation[1, 0] - rotation[0, 1])
    return float(w), float(x), float(y), float(z)


def pair_msg(pair: StretchPair, stamp: float) -> PreferencePair:
    """A pair of stretches to compare."""
    message = PreferencePair(
        pair_id=pair.pair_id,
        instruction=pair.instruction,
        left_episode=pair.left.episode,
        left_begin=pair.left.begin,
        left_end=pair.left.end,
        right_episode=pair.right.episode,
        right_begin=pair.right.begin,
        right_end=pair.right.end,
        information=pair.information,
    )
    message.header.stamp = stamp_of(stamp)
    return message


def pair_of(message: PreferencePair) -> StretchPair:
    """Back again. Raises ValueError for stretches that cannot be."""
    left = Stretch(message.left_episode, message.left_begin, message.left_end)
    right = Stretch(message.right_episode, message.right_begin, message.right_end)
    return StretchPair(message.instruction, left, right, message.information)


def answer_msg(answer: Answer, stamp: float) -> PreferenceAnswer:
    """What a person said of a pair."""
    message = PreferenceAnswer(
        pair=pair_msg(answer.pair, stamp), answer=CHOICES.index(answer.choice), person=answer.person
    )
    message.header.stamp = stamp_of(stamp)
    return message


def answer_of(message: PreferenceAnswer) -> Answer:
    """Back again. Raises ValueError for a pair or an answer that cannot be."""
    if message.answer >= len(CHOICES):
        raise ValueError(f'answer {message.answer} is unknown; use LEFT, RIGHT, EQUAL or CANNOT_TELL')
    return Answer(pair_of(message.pair), CHOICES[message.answer], message.person)
