# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What `bench record` measures: the recorder node, fed by a publisher process, and the log writer alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml

from apprentice.bench.measure import Stopwatch, numbers, use_free_ros_domain
from apprentice.robot.parts import share

HERE = 'apprentice.bench.recording'
JOINTS_HZ = 100.0


def pictures(height: int, width: int, count: int = 10) -> list[np.ndarray]:
    """Pictures that move a little and are noisy as a camera's, uint8 [H, W, 3]."""
    random = np.random.default_rng(0)
    ramp = np.linspace(0, 120, width)[None, :, None] + np.linspace(0, 80, height)[:, None, None]
    base = ramp + 20 * np.sin(np.arange(width) / 15)[None, :, None] + np.array([0, 10, 20])
    shifted = (np.roll(base, 4 * i, axis=1) + random.normal(0, 2, base.shape) for i in range(count))
    return [np.clip(picture, 0, 255).astype(np.uint8) for picture in shifted]


def robot_file(folder: Path, cameras: int, height: int, width: int, rate: float) -> Path:
    """The simulated arm with other cameras, as a robot file."""
    data = yaml.safe_load(share('robots', 'sim_arm.yaml').read_text())
    data |= {
        'name': 'bench_arm',
        'control_hz': JOINTS_HZ,
        'cameras': [
            {
                'name': f'camera{i}',
                'topic': f'camera{i}/image_raw',
                'width': width,
                'height': height,
                'rate_hz': rate,
            }
            for i in range(cameras)
        ],
    }
    data.pop('simulator', None)
    path = folder / 'robot.yaml'
    path.write_text(yaml.safe_dump(data))
    return path


# the recorder node


def node(cameras: int, height: int, width: int, rate: float, seconds: float) -> dict[str, Any]:
    """One episode recorded by the real node from a publisher process; frames for a CPU second of the node."""
    use_free_ros_domain()
    os.environ.setdefault('FASTRTPS_DEFAULT_PROFILES_FILE', str(share('launch', 'fastdds.xml')))
    with tempfile.TemporaryDirectory(prefix='apprentice-bench-') as folder:
        robot = robot_file(Path(folder), cameras, height, width, rate)
        arguments = [
            '-p',
            f'robot:={robot}',
            '-p',
            f'run_dir:={folder}',
            '-p',
            'min_free_mb:=0.0',
            '-p',
            'linger_s:=1.0',
        ]
        recorder = subprocess.Popen(
            [sys.executable, '-m', 'apprentice.nodes.recorder', '--ros-args', *arguments],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        options = json.dumps([str(robot), seconds])
        try:
            publisher = subprocess.Popen(
                [sys.executable, '-c', f'from {HERE} import publish; publish()', options],
                stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            used = _follow(publisher, psutil.Process(recorder.pid), Path(folder, 'episodes'), seconds)
            assert publisher.stdout is not None
            sent = json.loads(publisher.stdout.read())
            begun = time.monotonic()
            sealed = Path(folder, 'episodes', 'bench.mcap')
            while not sealed.exists() and time.monotonic() < begun + 180.0:
                time.sleep(0.1)
            total = _cpu(psutil.Process(recorder.pid))
        finally:
            recorder.send_signal(signal.SIGTERM)
            recorder.wait(60)
        counts = _counts(sealed)
        frames = sum(counts[f'camera{i}/image_raw'] for i in range(cameras))
        also = {
            'frames dropped': sent['frames'] - frames,
            'joint states dropped': sent['joints'] - counts['joint_states'],
            'CPU % recording': 100 * used['cpu_s'] / used['wall_s'],
            'MB/min on disk': used['bytes'] / seconds * 60e-6,
            'MB/min sealed': sealed.stat().st_size / seconds * 60e-6,
            'sealing CPU s': max(0.0, total - used['cpu_all_s']),
        }
        count = frames * used['wall_s'] / seconds  # those of the measured time
        measured = {
            'value': count / used['cpu_s'], 'count': count, 'wall_s': used['wall_s'], 'cpu_s': used['cpu_s'],
        }  # fmt: skip
        return numbers(measured, 'ros-jazzy-rclpy', 'mcap', **also)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _follow(
    publisher: subprocess.Popen, recorder: psutil.Process, folder: Path, seconds: float
) -> dict[str, float]:
    """CPU time of the recorder from its first bytes on disk until just before the stream ends."""
    begun = cpu = 0.0
    used: dict[str, float] = {}
    size = 0
    while publisher.poll() is None:
        parts = list(folder.glob('*.part'))
        size = max([size, *(part.stat().st_size for part in parts)])
        now = time.monotonic()
        if parts and not begun:
            begun, cpu = now, _cpu(recorder)
        if begun and not used and now >= begun + seconds - 1.0:  # the file appears half a second late
            used = {'cpu_s': _cpu(recorder) - cpu, 'wall_s': now - begun}
        time.sleep(0.05)
    if not used:
        raise RuntimeError('the recorder wrote nothing')
    return {**used, 'bytes': size, 'cpu_all_s': _cpu(recorder)}


def _counts(sealed: Path) -> dict[str, int]:
    """Messages of each topic that are really in the sealed file, by its index."""
    from mcap.reader import make_reader

    with open(sealed, 'rb') as stream:
        summary = make_reader(stream).get_summary()
    assert summary is not None
    assert summary.statistics is not None
    counts = summary.statistics.channel_message_counts
    return {channel.topic.lstrip('/'): counts.get(number, 0) for number, channel in summary.channels.items()}


def publish() -> None:
    """The other process of :func:`node`: cameras, joint states and an episode, then what it sent as JSON."""
    import rclpy
    from apprentice_interfaces.msg import EpisodeState
    from sensor_msgs.msg import Image, JointState

    from apprentice.nodes import convert, qos
    from apprentice.robot.spec import RobotSpec

    path, seconds = json.loads(sys.argv[1])
    spec = RobotSpec.load(path)
    rclpy.init()
    node = rclpy.create_node('bench_publisher')
    cameras = [node.create_publisher(Image, c.topic, qos.SENSOR_PUBLISHER) for c in spec.cameras]
    joints = node.create_publisher(JointState, spec.joint_states_topic, qos.SENSOR_PUBLISHER)
    states = node.create_publisher(EpisodeState, 'episode/state', qos.STATE)
    limit = time.monotonic() + 30.0
    while not all(p.get_subscription_count() for p in (*cameras, joints, states)):
        rclpy.spin_once(node, timeout_sec=0.05)
        if time.monotonic() > limit:
            raise TimeoutError('the recorder was not discovered within 30 s')
    time.sleep(1.0)  # the other direction of the discovery
    shape = spec.cameras[0].height, spec.cameras[0].width
    messages = [convert.image_msg(picture, 1.0, 'camera') for picture in pictures(*shape)]
    period = round(JOINTS_HZ / spec.cameras[0].rate_hz)
    state = EpisodeState(session_id='bench', episode_id='bench', task='bench', phase=EpisodeState.RUNNING)
    state.header.stamp = state.started = convert.stamp_of(time.time())
    states.publish(state)
    time.sleep(0.2)
    sent = {'frames': 0, 'joints': 0}
    due, frames_due = time.monotonic(), 0.0
    for tick in range(round(seconds * JOINTS_HZ)):
        now = time.time()
        joints.publish(convert.joint_state_msg(now, spec.joint_names, np.full(spec.dim, tick * 1e-4)))
        sent['joints'] += 1
        if tick / JOINTS_HZ >= frames_due - 1e-9:
            frames_due += 1 / spec.cameras[0].rate_hz
            message = messages[tick // period % len(messages)]
            message.header.stamp = convert.stamp_of(now)
            for camera in cameras:
                camera.publish(message)
                sent['frames'] += 1
        due += 1 / JOINTS_HZ
        time.sleep(max(0.0, due - time.monotonic()))
    time.sleep(0.5)
    state.phase, state.outcome = EpisodeState.ENDED, EpisodeState.SUCCESS
    state.header.stamp = state.ended = convert.stamp_of(time.time())
    states.publish(state)
    time.sleep(0.5)
    print(json.dumps(sent))
    node.destroy_node()
    rclpy.shutdown()


# the writer alone


def writer(
    cameras: int, height: int, width: int, rate: float, steps: int, sealed: bool, exported: bool
) -> dict[str, Any]:
    """Frames for a CPU second of the log writer, given what ROS gives the recorder: serialised messages."""
    from apprentice.episodes.background import BackgroundWriter
    from apprentice.episodes.lerobot_video import encode_video
    from apprentice.episodes.messages import decode_image, encode, time_fields

    found = pictures(height, width)
    fields: dict[str, Any] = {'height': height, 'width': width, 'encoding': 'rgb8', 'step': 3 * width}
    fields['header'] = {'stamp': time_fields(10**9)}
    raw = [encode('sensor_msgs/msg/Image', {**fields, 'data': picture.tobytes()}) for picture in found]
    watch = Stopwatch()
    with tempfile.TemporaryDirectory(prefix='apprentice-bench-') as folder:
        background = BackgroundWriter(Path(folder))
        log = background.open('bench', {'robot': 'bench'})
        topics = [f'/camera{i}/image_raw' for i in range(cameras)]
        with watch.section():
            for topic in topics:
                log.add_topic(topic, 'sensor_msgs/msg/Image')
            for step in range(steps):
                stamp = round((1 + step / rate) * 1e9)
                for topic in topics:
                    log.write(topic, raw[step % len(raw)], stamp)
                if step % 15 == 14:  # twice a second, as while recording
                    log.flush(sync=False)
            log.flush()
            size = log.part.stat().st_size
            if sealed:
                log.seal()
                size = log.sealed.stat().st_size
            for i in range(cameras if exported else 0):
                images = np.stack([decode_image(raw[step % len(raw)]) for step in range(steps)])
                encode_video(Path(folder, f'{i}.mp4'), images, rate, 'h264', hardware=False)
                size += Path(folder, f'{i}.mp4').stat().st_size
        log.close() if not sealed else None
        background.close()
    frames = steps * cameras
    measured = {'value': frames / watch.cpu_s, 'count': frames, 'wall_s': watch.wall_s, 'cpu_s': watch.cpu_s}
    return numbers(measured, 'mcap', 'av', **{'frames dropped': 0.0, 'kB a frame': size / frames / 1000})
