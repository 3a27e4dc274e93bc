# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Camera images between two Python processes over ROS 2: delivered frames and their age on arrival.

The age runs from just before the message is made to the moment the receiver has the pixels as an array.
Ours is the quality of service of our nodes with the profile that ``launch/robot.launch.yaml`` sets, a larger
segment of shared memory; as shipped is Fast DDS without it. Discovery is limited to this machine, as by
``apprentice up``, which takes the effect from Fast DDS's own remedy, LARGE_DATA. The limit is shared memory
with a semaphore and the same two copies.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import subprocess
import sys
import time
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np

from apprentice.bench.measure import Stopwatch, numbers, use_free_ros_domain
from apprentice.bench.runner import LIMIT, OURS, SHIPPED, TUNED, Case, Contestant, Ratio
from apprentice.robot.parts import share

HERE = 'apprentice.bench.transport'
LARGE_DATA = 'LARGE_DATA?max_msg_size=4MB&sockets_size=8MB&non_blocking=true'
SLOTS = 4
FORMATS = ((224, 224, 60.0, 1), (480, 640, 30.0, 1), (480, 640, 30.0, 4))  # height, width, Hz, cameras


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def cases(args: argparse.Namespace) -> list[Case]:
    return [_case(*form, max(args.seconds, 2.0)) for form in FORMATS]


def _case(height: int, width: int, rate: float, cameras: int, seconds: float) -> Case:
    common = {'height': height, 'width': width, 'rate': rate, 'cameras': cameras, 'seconds': seconds}

    def ros(name: str, kind: str, reliable: bool = False, **environment: str) -> Contestant:
        parameters = common | {'reliable': reliable}
        return Contestant(name, kind, f'{HERE}:over_ros', parameters=parameters, environment=environment)

    count = f'{cameras} x ' if cameras > 1 else ''
    return Case(
        f'{count}{width}x{height} at {rate:g} Hz',
        'ms, median age',
        [
            Contestant('shared memory', LIMIT, f'{HERE}:over_memory', parameters=common),
            ros('Fast DDS, best effort', SHIPPED),
            ros('Fast DDS, reliable', TUNED, reliable=True),
            ros('Fast DDS, LARGE_DATA', TUNED, FASTDDS_BUILTIN_TRANSPORTS=LARGE_DATA),
            ros('ours', OURS, FASTRTPS_DEFAULT_PROFILES_FILE=str(share('launch', 'fastdds.xml'))),
        ],
        [Ratio('ours', 'Fast DDS, best effort'), Ratio('ours', 'Fast DDS, reliable')],
        lower_is_better=True,
        note='frames that were lost have no age: see delivered %',
    )


def _summary(ages: list[float], sent: int, watch: Stopwatch, *packages: str) -> dict[str, Any]:
    if not ages:
        raise ValueError('no frame arrived')
    milliseconds = 1000 * np.array(ages)
    also = {'delivered %': 100 * len(ages) / sent, 'p99 ms': float(np.percentile(milliseconds, 99))}
    measured = {
        'value': float(np.median(milliseconds)),
        'count': len(ages),
        'wall_s': watch.wall_s,
        'cpu_s': watch.cpu_s,
    }
    return numbers(measured, *packages, **also)


# over ROS


def over_ros(
    height: int, width: int, rate: float, cameras: int, seconds: float, reliable: bool
) -> dict[str, Any]:
    """Receive ``cameras`` streams of a publisher in another process."""
    use_free_ros_domain()
    import rclpy
    from sensor_msgs.msg import Image

    from apprentice.nodes import convert, qos

    ages: list[float] = []

    def receive(message: Image) -> None:
        convert.image_array(message)
        ages.append(time.time() - message.header.stamp.sec - message.header.stamp.nanosec * 1e-9)

    rclpy.init()
    node = rclpy.create_node('bench_receiver')
    profile = qos.SENSOR_PUBLISHER if reliable else qos.SENSOR
    for camera in range(cameras):
        node.create_subscription(Image, f'bench/camera{camera}', receive, profile)
    options = json.dumps([height, width, rate, cameras, seconds])
    command = [sys.executable, '-c', f'from {HERE} import publish; publish()', options]
    publisher = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    watch = Stopwatch()
    with watch.section():
        while publisher.poll() is None:
            rclpy.spin_once(node, timeout_sec=0.02)
        ended = time.monotonic()
        while time.monotonic() < ended + 0.3:
            rclpy.spin_once(node, timeout_sec=0.02)
    assert publisher.stdout is not None
    sent = json.loads(publisher.stdout.read())
    node.destroy_node()
    rclpy.shutdown()
    return _summary(ages, sent, watch, 'ros-jazzy-rclpy', 'ros-jazzy-rmw-fastrtps-cpp')


def publish() -> None:
    """The other process of :func:`over_ros`: publishes once somebody listens, prints how many frames."""
    import rclpy
    from sensor_msgs.msg import Image

    from apprentice.nodes import convert, qos

    height, width, rate, cameras, seconds = json.loads(sys.argv[1])
    rclpy.init()
    node = rclpy.create_node('bench_sender')
    topics = [node.create_publisher(Image, f'bench/camera{i}', qos.SENSOR_PUBLISHER) for i in range(cameras)]
    waited = time.monotonic()
    while any(topic.get_subscription_count() == 0 for topic in topics):
        rclpy.spin_once(node, timeout_sec=0.05)
        if time.monotonic() > waited + 20.0:
            raise TimeoutError('no subscriber was discovered within 20 s')
    time.sleep(1.0)  # the other direction of the discovery
    frame = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    due, sent = time.monotonic(), 0
    for _ in range(round(seconds * rate)):
        for topic in topics:
            topic.publish(convert.image_msg(frame, time.time(), 'camera'))
            sent += 1
        due += 1 / rate
        time.sleep(max(0.0, due - time.monotonic()))
    time.sleep(0.5)
    print(json.dumps(sent))
    node.destroy_node()
    rclpy.shutdown()


# over shared memory


def over_memory(height: int, width: int, rate: float, cameras: int, seconds: float) -> dict[str, Any]:
    """The same frames through a ring of shared memory: one copy in, one copy out."""
    context = multiprocessing.get_context('spawn')
    full, empty = context.Semaphore(0), context.Semaphore(SLOTS)
    size = height * width * 3
    memory = SharedMemory(create=True, size=SLOTS * (size + 8))
    sent = round(seconds * rate) * cameras
    arguments = (memory.name, full, empty, height, width, rate, cameras, sent)
    sender = context.Process(target=fill, args=arguments, daemon=True)
    watch, ages = Stopwatch(), []
    try:
        sender.start()
        with watch.section():
            for i in range(sent):
                if not full.acquire(timeout=20.0):
                    raise TimeoutError('the sender stopped')
                stamp, frame = _slot(memory, i, size)
                np.array(frame)
                ages.append(time.time() - float(stamp[0]))
                empty.release()
        sender.join()
        del stamp, frame
    finally:
        memory.unlink()
    return _summary(ages, sent, watch, 'numpy')


def fill(name: str, full, empty, height: int, width: int, rate: float, cameras: int, sent: int) -> None:
    """The other process of :func:`over_memory`."""
    memory, size = SharedMemory(name), height * width * 3
    source = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    due = time.monotonic()
    for i in range(sent):
        empty.acquire()
        stamp, frame = _slot(memory, i, size)
        stamp[0] = time.time()
        frame[:] = source
        full.release()
        if i % cameras == cameras - 1:
            due += 1 / rate
            time.sleep(max(0.0, due - time.monotonic()))
    del stamp, frame
    memory.close()


def _slot(memory: SharedMemory, number: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Stamp [1] (s) and bytes [size] of a frame's place in the ring."""
    first = number % SLOTS * (size + 8)
    stamp = np.ndarray(1, np.float64, memory.buf, first)
    return stamp, np.ndarray(size, np.uint8, memory.buf, first + 8)
