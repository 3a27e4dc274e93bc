# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Policy servers for tests: in a thread, as a process of their own, and one that says strange things."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import aiohttp
import numpy as np
import torch
from aiohttp import web

from apprentice.policies import checkpoint, remote_protocol
from apprentice.policies.backbones.tiny import TinyConfig
from apprentice.policies.config import PolicyConfig
from apprentice.policies.policy import FlowPolicy
from apprentice.policies.remote_protocol import Hello
from apprentice.policies.server import WARM_UP, PolicyServer, ServerConfig, hello_of
from apprentice.policies.spec import PolicySpec
from apprentice.robot.normalize import Statistics
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Observation

ROBOT = RobotSpec.load(share('robots', 'sim_arm.yaml'))
TOKEN = 'a-token-for-tests-only'
BUSY = 'APPRENTICE_TEST_BUSY'  # names a file: while it exists the policy of ``load_busy`` computes


def make_policy(seed: int = 0, robot: str = 'sim_arm', size: int = 64, max_delay: int = 0) -> FlowPolicy:
    """A small policy with random weights for the simulated arm."""
    torch.manual_seed(seed)
    # near home and hardly away from there, so that the gate has nothing to hold for
    values = ROBOT.vector('home') + np.random.default_rng(0).normal(0, 0.02, (50, 7))
    offsets = np.random.default_rng(1).normal(0, 0.005, (50, 7))
    offsets[:, ROBOT.gripper_mask] += ROBOT.vector('home')[ROBOT.gripper_mask]
    spec = PolicySpec(
        robot=robot,
        joints=ROBOT.joint_names,
        relative=(True,) * 6 + (False,),
        cameras={camera.name: (size, size) for camera in ROBOT.cameras},
        horizon=8,
        action_dt=ROBOT.action_dt,
        state=Statistics.of(values, ROBOT.joint_names, 'state'),
        action=Statistics.of(offsets, ROBOT.joint_names, 'action'),
    )
    backbone = TinyConfig(width=32, layers=1, heads=2, channels=(8, 8, 16))
    return FlowPolicy(spec, PolicyConfig(backbone=backbone, max_delay=max_delay)).eval()


def make_weights(folder: Path, seed: int = 0, robot: str = 'sim_arm') -> str:
    """Write such a policy; returns the hash of its manifest."""
    return checkpoint.save(make_policy(seed, robot), folder, {'name': 'test'})


def observation(spec: PolicySpec, seed: int = 0) -> Observation:
    """What a robot might see."""
    rng = np.random.default_rng(seed)
    images = {name: rng.integers(0, 255, (*size, 3), np.uint8) for name, size in spec.cameras.items()}
    return Observation(
        1.0 + seed, images, ROBOT.vector('home') + rng.normal(0, 0.02, 7), 'pick up the red cube'
    )


class BusyPolicy:
    """Computes until the file of BUSY is gone: what a test does meanwhile happens within a request."""

    def __init__(self, policy: FlowPolicy):
        self.policy, self.spec = policy, policy.spec

    def act(self, *arguments):
        busy = Path(os.environ[BUSY])
        while busy.exists():
            time.sleep(0.005)
        return self.policy.act(*arguments)


def load_busy(folder, expected_sha256='', **options):
    """A runtime: ``--runtime remote_rig:load_busy``."""
    policy, manifest = checkpoint.load(folder, expected_sha256)
    return BusyPolicy(policy), manifest


class Loop:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def run(self, work, timeout: float = 20.0):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5.0)
        self.loop.close()


class Served:
    """A policy server in a thread of this process."""

    def __init__(self, policy, hello: Hello | None = None, **config):
        config = {'token': TOKEN, 'port': 0, **config}
        self.loop, self.closed = Loop(), False
        self.hello = hello or hello_of(policy, {'about': {'name': 'test'}}, '', 'torch')
        self.server = PolicyServer(policy, self.hello, ServerConfig(**config))
        try:
            self.port = self.loop.run(self.server.start())
        except BaseException:
            self.close()
            raise
        self.address = f'{"wss" if config.get("tls") else "ws"}://127.0.0.1:{self.port}'

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.loop.run(self.server.close())
            self.loop.close()


@contextlib.contextmanager
def serving(policy, hello: Hello | None = None, **config) -> Iterator[Served]:
    served = Served(policy, hello, **config)
    try:
        yield served
    finally:
        served.close()


@contextlib.contextmanager
def strange(
    policy, answer: Callable[[web.WebSocketResponse, bytes], Awaitable[None]], hello: bytes | None = None
):
    """The address of a server that greets rightly, unless ``hello`` is given, and answers as it likes."""
    loop = Loop()
    greeting = hello or remote_protocol.encode(hello_of(policy, {}, '', 'torch'))

    async def meet(request: web.Request) -> web.WebSocketResponse:
        connection = web.WebSocketResponse(max_msg_size=0)
        await connection.prepare(request)
        await connection.send_bytes(greeting)
        async for message in connection:
            await answer(connection, message.data)
        return connection

    async def start() -> web.AppRunner:
        application = web.Application()
        application.router.add_get('/', meet)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, '127.0.0.1', 0).start()
        return runner

    runner = loop.run(start())
    try:
        yield f'ws://127.0.0.1:{runner.addresses[0][1]}'
    finally:
        loop.run(runner.cleanup())
        loop.close()


class ServerProcess:
    """``apprentice serve policy`` in a process of its own, ready when made."""

    def __init__(self, log: Path, *words: str, wait: bool = True):
        environment = {**os.environ, 'XDG_STATE_HOME': str(log.parent), BUSY: str(log.parent / 'busy')}
        environment['PYTHONPATH'] = os.pathsep.join(
            (str(Path(__file__).parent), os.environ.get('PYTHONPATH', ''))
        )
        command = [sys.executable, '-m', 'apprentice.cli.main', 'serve', 'policy', *words]
        self.log, self.busy = log, log.parent / 'busy'
        with log.open('wb') as file:
            self.popen = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment)
        if wait:
            self.wait_for('on the robot:')
            found = re.search(r'weights:=(wss?://\S+)', self.output())
            assert found, self.output()
            self.address = found.group(1)

    def output(self) -> str:
        return self.log.read_text(errors='replace')

    def wait_for(self, text: str, timeout: float = 60.0) -> None:
        end = time.monotonic() + timeout
        while text not in self.output():
            assert self.popen.poll() is None, f'ended with {self.popen.returncode}:\n{self.output()}'
            assert time.monotonic() < end, f'{text!r} did not appear in:\n{self.output()}'
            time.sleep(0.02)

    def end(self, number: int = signal.SIGTERM, timeout: float = 15.0) -> int:
        if self.popen.poll() is None:
            self.popen.send_signal(number)
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            raise


class WrappedPolicy:
    """Does what a test wants first: ``first(observation)`` gives None, or a chunk to give instead."""

    def __init__(self, policy: FlowPolicy, first: Callable[[Observation], np.ndarray | None]):
        self.policy, self.spec, self.first = policy, policy.spec, first

    def act(self, observation: Observation, *arguments) -> np.ndarray:
        instead = self.first(observation)
        return self.policy.act(observation, *arguments) if instead is None else instead


class Turnstile:
    """What a WrappedPolicy waits at: a request releases ``begun``, ``go`` lets one through."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Semaphore(0), threading.Semaphore(0)
        self.texts: list[str] = []

    def __call__(self, observation: Observation) -> None:
        if observation.text != WARM_UP:
            self.texts.append(observation.text)
            self.begun.release()
            assert self.go.acquire(timeout=10)


async def talk(address: str, work, **headers: str):
    """What ``work(socket)`` gives on a connection without our client, after hello."""
    headers = {'Authorization': f'Bearer {TOKEN}', **headers}
    async with aiohttp.ClientSession() as session, session.ws_connect(address, headers=headers) as socket:
        assert isinstance(remote_protocol.decode(await socket.receive_bytes()), Hello)
        return await work(socket)


async def answer(socket: aiohttp.ClientWebSocketResponse) -> remote_protocol.Message:
    """The next message, decoded."""
    return remote_protocol.decode(await socket.receive_bytes(timeout=10))
