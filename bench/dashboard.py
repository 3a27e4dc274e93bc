# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Cameras on the dashboard: how old the pictures are when a page has them, and what that costs.

The real dashboard node in a process of its own, a publisher of cameras in another, and pages on loopback. The
age of a picture lasts from its stamp (before it is published) until a page holds all of its bytes; in the row
of a browser until it is drawn. The slow page takes one message a second; whoever waits for it falls behind.
CPU is that of the dashboard's process in shares of one core, publisher and pages left out.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml

from apprentice.bench.measure import numbers, use_free_ros_domain
from apprentice.bench.runner import OURS, Case, Contestant
from apprentice.robot.parts import share

HERE = 'apprentice.bench.dashboard'
HEADER_BYTES = 12
LOOKS = 8  # different pictures that a camera repeats
SETTLE_S = 4.0
FLAGS = ('--no-sandbox', '--disable-gpu', '--disable-background-networking', '--no-first-run')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--cameras', type=int, default=4, help='(default 4)')
    parser.add_argument('--rate', type=float, default=15.0, help='pictures a second and camera (default 15)')
    parser.add_argument('--width', type=int, default=640, help='pixels, of 4:3 (default 640)')
    parser.add_argument('--browser', action='store_true', help='a row with a page in headless Chromium too')


def cases(args: argparse.Namespace) -> list[Case]:
    common = {
        'cameras': args.cameras,
        'rate': args.rate,
        'width': args.width,
        'seconds': max(args.seconds, 3.0),
    }

    def row(name: str, **options: Any) -> Contestant:
        return Contestant(name, OURS, f'{HERE}:watch', parameters=common | options)

    rows = [
        row('one page'),
        row('one page beside three slow ones', slow=3),
        row('four pages', pages=4),
    ]
    if args.browser:
        rows.append(Contestant('Chromium', OURS, f'{HERE}:browse', parameters=common))
    title = f'{args.cameras} cameras of {args.width}x{args.width * 3 // 4} at {args.rate:g} Hz'
    return [Case(title, 'pictures/s of the worst camera', rows, note='a page has one slot a camera')]


def watch(
    cameras: int, rate: float, width: int, seconds: float, pages: int = 1, slow: int = 0
) -> dict[str, Any]:
    """Pictures that arrive at the first of ``pages`` pages, ``slow`` others beside them."""
    with _running(cameras, rate, width) as (url, node):
        ages, wall_s, cpu_s = asyncio.run(_pages(url, node, seconds, pages, slow))
    return _row(ages, wall_s, cpu_s, 'aiohttp', 'pillow')


def browse(cameras: int, rate: float, width: int, seconds: float) -> dict[str, Any]:
    """Pictures that a page in Chromium draws. Raises RuntimeError without a browser."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
    if path is None:
        raise RuntimeError('no Chromium: apt-get install chromium')
    with _running(cameras, rate, width) as (url, node), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        page = browser.new_page(viewport={'width': 1280, 'height': 800})
        page.goto(url)
        page.wait_for_timeout(1000 * SETTLE_S)
        page.evaluate('() => { for (const box of document.querySelectorAll(".camera")) box.drawn = []; }')
        before, began = _cpu(node), time.monotonic()
        page.wait_for_timeout(1000 * seconds)
        wall_s, cpu_s = time.monotonic() - began, _cpu(node) - before
        ages = page.evaluate('() => [...document.querySelectorAll(".camera")].map(box => box.drawn)')
        browser.close()
    return _row(dict(enumerate(ages)), wall_s, cpu_s, 'playwright')


def publish(robot: str, rate: float) -> None:
    """Publish every camera of a robot file until the process is told to end."""
    import rclpy
    from sensor_msgs.msg import Image

    from apprentice.nodes import convert, qos
    from apprentice.robot.spec import RobotSpec

    rclpy.init()
    node = rclpy.create_node('cameras')
    spec, random = RobotSpec.load(robot), np.random.default_rng(0)
    publishers = [node.create_publisher(Image, camera.topic, qos.SENSOR_PUBLISHER) for camera in spec.cameras]
    first = spec.cameras[0]
    messages = [
        convert.image_msg(_picture(random, first.width, first.height), 0.0, 'camera') for _ in range(LOOKS)
    ]
    due, turn = time.monotonic(), 0
    while True:
        for index, publisher in enumerate(publishers):  # spread over the period, as free-running cameras are
            message = messages[(turn + index) % LOOKS]
            message.header.stamp = convert.stamp_of(time.time())
            publisher.publish(message)
            due += 1 / rate / len(publishers)
            time.sleep(max(0.0, due - time.monotonic()))
        turn += 1


def _picture(random: np.random.Generator, width: int, height: int) -> np.ndarray:
    """uint8 [height, width, 3] as hard to compress as a scene: smooth shapes and the noise of a sensor."""
    from PIL import Image

    coarse = Image.fromarray(random.integers(0, 256, (height // 20, width // 20, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    return np.clip(smooth + random.normal(0, 3, smooth.shape), 0, 255).astype(np.uint8)


@contextlib.contextmanager
def _running(cameras: int, rate: float, width: int) -> Iterator[tuple[str, psutil.Process]]:
    """Address and process of a dashboard that sees so many cameras; ends everything it started."""
    use_free_ros_domain()
    with tempfile.TemporaryDirectory() as folder:
        robot = Path(folder) / 'robot.yaml'
        fields = yaml.safe_load(share('robots', 'sim_arm.yaml').read_text())
        fields['cameras'] = [
            {
                'name': f'camera{i}',
                'topic': f'camera{i}/image_raw',
                'width': width,
                'height': width * 3 // 4,
                'rate_hz': rate,
            }
            for i in range(cameras)
        ]
        robot.write_text(yaml.safe_dump(fields))
        from apprentice.cli.demo import free_port

        port = free_port(8865)
        parameters = (f'robot:={robot}', f'port:={port}', f'image_rate_hz:={rate}')
        options = [word for parameter in parameters for word in ('-p', parameter)]
        run = f'from {HERE} import publish; publish({str(robot)!r}, {rate})'
        # raw pictures need a larger segment of shared memory than Fast DDS has by itself, see docs/launch.md
        profiles = str(share('launch', 'fastdds.xml'))
        environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'FASTRTPS_DEFAULT_PROFILES_FILE': profiles}
        started = [
            subprocess.Popen(
                [sys.executable, '-m', 'apprentice.nodes.dashboard', '--ros-args', *options], env=environment
            ),
            subprocess.Popen([sys.executable, '-c', run], env=environment),
        ]
        try:
            url = f'http://127.0.0.1:{port}'
            asyncio.run(_answers(url))
            yield url, psutil.Process(started[0].pid)
        finally:
            started[0].send_signal(signal.SIGINT)
            started[1].kill()
            for process in started:
                process.wait(20)


async def _answers(url: str) -> None:
    import aiohttp

    async with aiohttp.ClientSession() as session:
        for _ in range(300):
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(url):
                    return
            await asyncio.sleep(0.1)
    raise RuntimeError(f'the dashboard does not answer at {url} within 30 s')


async def _pages(
    url: str, node: psutil.Process, seconds: float, pages: int, slow: int
) -> tuple[dict[int, list[float]], float, float]:
    import aiohttp

    ages: dict[int, list[float]] = {}
    counting, over = False, asyncio.Event()

    async def page(websocket: aiohttp.ClientWebSocketResponse, first: bool) -> None:
        async for message in websocket:
            if first and counting and message.type == aiohttp.WSMsgType.BINARY:
                stamp = np.frombuffer(message.data, '<f8', 1, 4)[0]
                ages.setdefault(message.data[0], []).append(time.time() - float(stamp))
            if over.is_set():
                return

    async def laggard(websocket: aiohttp.ClientWebSocketResponse) -> None:
        while not over.is_set():
            await websocket.receive()
            await asyncio.sleep(1.0)

    async with aiohttp.ClientSession() as session:
        sockets = [await session.ws_connect(url + '/ws') for _ in range(pages + slow)]
        tasks = [
            asyncio.create_task(page(socket, i == 0) if i < pages else laggard(socket))
            for i, socket in enumerate(sockets)
        ]
        await asyncio.sleep(SETTLE_S)
        before, began, counting = _cpu(node), time.monotonic(), True
        await asyncio.sleep(seconds)
        counting, wall_s, cpu_s = False, time.monotonic() - began, _cpu(node) - before
        over.set()
        for task in tasks:
            task.cancel()
    return ages, wall_s, cpu_s


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _row(ages: dict[int, list[float]], wall_s: float, cpu_s: float, *packages: str) -> dict[str, Any]:
    every = np.array([age for camera in ages.values() for age in camera])
    if not len(every):
        raise RuntimeError('no picture arrived')
    measured = {
        'value': min(len(camera) for camera in ages.values()) / wall_s,
        'count': len(every),
        'wall_s': wall_s,
        'cpu_s': cpu_s,
    }
    also = {
        'age p50 ms': 1000 * float(np.percentile(every, 50)),
        'age p99 ms': 1000 * float(np.percentile(every, 99)),
        'CPU %': 100 * cpu_s / wall_s,
        'cameras seen': len(ages),
    }
    return numbers(measured, *packages, **also)
