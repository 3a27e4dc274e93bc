# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Checks of recorded logs: what a person should look at before anything is learned from them."""

from __future__ import annotations

import zlib
from collections import defaultdict
from pathlib import Path

import numpy as np

from apprentice.episodes import checks
from apprentice.episodes.checks import CheckSettings, Problem
from apprentice.episodes.facts import episode_facts
from apprentice.episodes.files import PART_SUFFIX, EpisodeFileError
from apprentice.episodes.join import EXECUTED
from apprentice.episodes.log_reader import LogReader
from apprentice.episodes.messages import header_stamp, nanoseconds
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Outcome


def check_log(path: Path, spec: RobotSpec, settings: CheckSettings | None = None) -> list[Problem]:
    """Everything wrong with one episode file, sealed or not; nothing is raised for a damaged one."""
    settings = settings or CheckSettings()
    name = path.name
    try:
        facts = episode_facts(path, salvage=True)
    except EpisodeFileError as error:
        return [Problem(name, 'unreadable', str(error))]
    found = []
    if name.endswith(PART_SUFFIX):
        found.append(('unfinished', 'not sealed: a recorder is writing it, or died; the next one seals it'))
    else:
        try:
            for _ in LogReader(path).messages(set()):
                pass
        except EpisodeFileError as error:
            found.append(('unreadable', str(error)))
    if not facts.ended:
        found.append(('no end', 'its end was not recorded; it counts as aborted'))
    if facts.ended and facts.seconds < settings.shortest_s:
        found.append(('too short', f'{facts.seconds:.2f} s'))
    if facts.outcome == Outcome.UNKNOWN:
        found.append(('label missing', 'neither success nor failure; label it with apprentice label'))
    try:
        found += _streams(path, spec, settings)
    except EpisodeFileError as error:
        found.append(('unreadable', str(error)))
    return [Problem(name, kind, text) for kind, text in found]


def _streams(path: Path, spec: RobotSpec, settings: CheckSettings) -> list[tuple[str, str]]:
    reader = LogReader(path, salvage=True)
    cameras = {camera.topic.lstrip('/'): camera for camera in spec.cameras}
    joints = spec.joint_states_topic.lstrip('/')
    stamps: dict[str, list[int]] = defaultdict(list)
    hashes: dict[str, list[int]] = defaultdict(list)
    positions, sequence, executed = [], [], []
    for message in reader.messages({*cameras, joints, EXECUTED}):
        if message.name in cameras:
            stamps[message.name].append(header_stamp(message.type, message.data) or message.log_time)
            hashes[message.name].append(_content(message.data))
            continue
        decoded = reader.decode(message)
        stamps[message.name].append(nanoseconds(decoded.header.stamp))
        if message.name == EXECUTED:
            sequence.append(int(decoded.seq))
            executed.append(list(decoded.executed))
        else:
            measured = dict(zip(decoded.name, decoded.position))
            positions.append([measured.get(joint, np.nan) for joint in spec.joint_names])
    at = {name: np.array(found, np.int64) for name, found in stamps.items()}
    ticks = at.get(EXECUTED, np.zeros(0, np.int64))
    jumps = checks.clock_jumps(ticks, np.array(sequence), 1 / spec.control_hz)
    found = [('clock jump', text) for text in jumps]
    jumped = bool(found)
    for topic in (joints, EXECUTED):
        if topic not in at:
            found.append(('topic missing', f'no message of {topic}: it cannot be learned from'))
    moved = np.array(positions, np.float64).reshape(-1, spec.dim)
    moved_at, order = np.unique(at.get(joints, np.zeros(0, np.int64)), return_index=True)
    moved = moved[order]
    found += [('not finite', text) for text in checks.not_finite(moved, 'joint positions')]
    if executed and all(len(row) == spec.dim for row in executed):
        found += [('not finite', text) for text in checks.not_finite(np.array(executed), 'executed commands')]
    if not jumped:
        velocity = spec.vector('velocity')
        found += [('joint jump', text) for text in
                  checks.joint_jumps(moved, moved_at, spec.joint_names, velocity, settings)]  # fmt: skip
    ends = max((int(times.max()) for times in at.values() if len(times)), default=0)
    for topic, camera in cameras.items():
        times = at.get(topic, np.zeros(0, np.int64))
        if not len(times):
            found.append(('camera silent', f'no frame of camera {camera.name!r}'))
            continue
        unique, order = np.unique(times, return_index=True)
        if not jumped:
            found += [('time gap', f'camera {camera.name}: {text}') for text in
                      checks.gaps(unique, 1 / camera.rate_hz, settings)]  # fmt: skip
            silent = (ends - unique[-1]) * 1e-9
            if silent > max(1.0, 5 / camera.rate_hz):
                found.append(('camera silent', f'camera {camera.name}: nothing in the last {silent:.2f} s'))
        content = np.array(hashes[topic])[order]
        same = np.concatenate([[False], content[1:] == content[:-1]])
        found += [('frozen camera', f'camera {camera.name}: {text}') for text in
                  checks.frozen(same, unique, moved, moved_at, settings)]  # fmt: skip
    if not jumped and len(moved_at):
        period = max(float(np.median(np.diff(moved_at))) * 1e-9 if len(moved_at) > 1 else 0.0, 1e-3)
        found += [('time gap', f'joint states: {text}') for text in checks.gaps(moved_at, period, settings)]
    return found


def _content(data: bytes) -> int:
    """Hash of an image message but its stamp, which is in the first 12 bytes."""
    return zlib.crc32(memoryview(data)[12:])
