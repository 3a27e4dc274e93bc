# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A policy on a websocket: robots ask for chunks with the messages of :mod:`.remote_protocol`.

One thread computes, one chunk at a time. Each connection has one place to wait: a request that comes before
the one in it was begun takes its place, so nobody waits for a plan that is past. Connections take turns.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import queue
import ssl
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from aiohttp import WSMsgType, web

from apprentice.policies import checkpoint
from apprentice.policies import remote_protocol as protocol
from apprentice.policies.remote_access import is_loopback
from apprentice.policies.remote_fields import ProtocolError
from apprentice.policies.remote_protocol import Act, Actions, Error, Hello
from apprentice.policies.rtc import PreviousChunk, RtcConfig
from apprentice.policies.runtime import ChunkPolicy
from apprentice.robot.settings import from_dict

logger = logging.getLogger(__name__)
_HEARTBEAT_S = 10.0  # a robot that does not answer for so long is gone
_PATIENCE_S = 5.0  # for a robot to take its answer
_END_S = 2.0  # for the chunk that is computed at the end
_LONGEST_ERROR = 2000  # characters
WARM_UP = 'warm up'  # the instruction of the first plan, which nobody follows


@dataclass(frozen=True)
class ServerConfig:
    """Where and for whom a policy is served.

    Attributes:
        host, port: where to listen; port 0 takes a free one.
        token: what robots must know; may be empty on a loopback address only.
        tls: certificate and key; None: not encrypted.
        connections: robots at a time.
    """

    host: str = '127.0.0.1'
    port: int = 8770
    token: str = ''
    tls: ssl.SSLContext | None = None
    connections: int = 16

    def __post_init__(self) -> None:
        if not 0 <= self.port < 1 << 16:
            raise ValueError(f'port is {self.port}; give 0 (a free one) to 65535')
        if not self.token and not is_loopback(self.host):
            raise ValueError(
                f'{self.host} can be reached from other machines and there is no token; '
                'give one (--token-file), or listen on 127.0.0.1'
            )


@dataclass(eq=False)
class _Robot:
    """A connection, and its request that waits."""

    connection: web.WebSocketResponse
    name: str
    waiting: tuple[Act, float] | None = None  # and when it came


class PolicyServer:
    """Serves one policy until closed. Use within one event loop."""

    def __init__(self, policy: ChunkPolicy, hello: Hello, config: ServerConfig):
        self._policy, self._config = policy, config
        self._hello = protocol.encode(hello)
        self._largest = protocol.largest_request(policy.spec)
        self._robots: set[_Robot] = set()
        self._turns: deque[_Robot] = deque()  # those with a request that waits
        self._more = asyncio.Event()
        self._jobs: queue.SimpleQueue[tuple[Act, float, asyncio.Future] | None] = queue.SimpleQueue()
        self._tasks: set[asyncio.Task] = set()
        self._counts: Counter[str] = Counter()
        self._latencies: deque[tuple[float, float]] = deque(maxlen=1000)  # queue, inference [ms]
        self._thread = threading.Thread(target=self._work, name='inference', daemon=True)
        self._runner: web.AppRunner | None = None

    async def start(self) -> int:
        """Plan once to warm up, then listen; returns the port.

        Raises RuntimeError if the policy cannot plan, OSError if the address cannot be used.
        """
        self._loop = asyncio.get_running_loop()
        self._thread.start()
        first = await self._infer(_blank(self._policy), time.perf_counter())
        if isinstance(first, Error):
            raise RuntimeError(f'the policy cannot plan: {first.message}')
        self._latencies.clear()
        application = web.Application()
        application.router.add_get('/healthz', self._health)
        application.router.add_get('/', self._websocket)
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await self._runner.setup()
        config = self._config
        try:
            await web.TCPSite(self._runner, config.host, config.port, ssl_context=config.tls).start()
        except OSError as error:
            raise OSError(
                f'cannot listen on {config.host}:{config.port} ({error.strerror or error}); '
                'give another --port (0: a free one) or a --host of this machine'
            ) from error
        self._start_task(self._take_turns())
        return self._runner.addresses[0][1]

    async def close(self) -> None:
        """Tell every robot, close the connections, end the thread after the chunk it computes."""
        for robot in list(self._robots):
            if robot.waiting is not None:
                act, robot.waiting = robot.waiting[0], None
                await self._send(robot, Error(act.id, 'closing', 'the policy server ends'))
            with contextlib.suppress(Exception):
                await asyncio.wait_for(robot.connection.close(code=1001), 0.5)
        if self._runner is not None:
            await self._runner.cleanup()
        for task in list(self._tasks):
            task.cancel()
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join, _END_S)

    def health(self) -> dict[str, Any]:
        """Counts, and latencies over the last 1000 chunks [ms]."""
        waited, computed = np.array(self._latencies or [(0.0, 0.0)]).T
        return {
            'status': 'ok',
            'protocol': protocol.VERSION,
            'connections': len(self._robots),
            **{name: self._counts[name] for name in ('requests', 'chunks', 'errors', 'superseded')},
            **{f'queue_ms_p{p}': round(float(np.percentile(waited, p)), 2) for p in (50, 99)},
            **{f'infer_ms_p{p}': round(float(np.percentile(computed, p)), 2) for p in (50, 99)},
        }

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response(self.health())

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        self._admit(request)
        connection = web.WebSocketResponse(heartbeat=_HEARTBEAT_S, compress=False, max_msg_size=self._largest)
        await connection.prepare(request)
        robot = _Robot(connection, request.remote or 'unknown')
        self._robots.add(robot)
        logger.info('%s connected', robot.name)
        try:
            await connection.send_bytes(self._hello)
            async for message in connection:
                if message.type == WSMsgType.ERROR:
                    break
                self._receive(robot, message.data)
        except ConnectionError:
            pass  # said below
        finally:
            self._robots.discard(robot)
            robot.waiting = None
        problem = connection.exception()
        logger.info('%s is gone%s', robot.name, f': {problem}' if problem else '')
        return connection

    def _admit(self, request: web.Request) -> None:
        """Raise what HTTP says to strangers, to browsers and when all places are taken."""
        if self._config.token:
            given = request.headers.get('Authorization', '').encode(errors='surrogateescape')
            if not hmac.compare_digest(given, f'Bearer {self._config.token}'.encode()):
                logger.warning('%s was refused: wrong or missing token', request.remote)
                raise web.HTTPUnauthorized(
                    text='wrong or missing token', headers={'WWW-Authenticate': 'Bearer'}
                )
        if 'Origin' in request.headers:  # a web page may reach loopback addresses; robots send no origin
            raise web.HTTPForbidden(text='not for browsers')
        if len(self._robots) >= self._config.connections:
            raise web.HTTPServiceUnavailable(text=f'{self._config.connections} robots are connected already')

    def _receive(self, robot: _Robot, data: Any) -> None:
        self._counts['requests'] += 1
        try:
            act = protocol.decode(data) if isinstance(data, bytes) else None
            if not isinstance(act, Act):
                raise ProtocolError('not a request for a chunk (act)')
        except ProtocolError as error:
            kind = 'version' if isinstance(error, protocol.VersionError) else 'malformed'
            self._answer(robot, Error(0, kind, str(error)))
            return
        try:
            protocol.check_fits(act.observation, self._policy.spec)
        except ValueError as error:
            self._answer(robot, Error(act.id, 'refused', str(error)))
            return
        if robot.waiting is None:
            self._turns.append(robot)
        else:
            self._counts['superseded'] += 1
            self._answer(robot, Error(robot.waiting[0].id, 'superseded', f'request {act.id} came after it'))
        robot.waiting = act, time.perf_counter()
        self._more.set()

    async def _take_turns(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            while self._turns:
                robot = self._turns.popleft()
                job, robot.waiting = robot.waiting, None
                if job is not None:  # else its connection ended
                    self._answer(robot, await self._infer(*job))

    async def _infer(self, act: Act, came: float) -> Actions | Error:
        future: asyncio.Future = self._loop.create_future()
        self._jobs.put((act, came, future))
        return await future

    def _answer(self, robot: _Robot, answer: Actions | Error) -> None:
        if isinstance(answer, Actions):
            self._counts['chunks'] += 1
            self._latencies.append((answer.queue_ms, answer.infer_ms))
        elif answer.kind != 'superseded':
            self._counts['errors'] += 1
            logger.warning('request %d of %s: %s: %s', answer.id, robot.name, answer.kind, answer.message)
        self._start_task(self._send(robot, answer))

    async def _send(self, robot: _Robot, answer: Actions | Error) -> None:
        # a robot that does not read must not stop the others
        with contextlib.suppress(ConnectionError, asyncio.TimeoutError):
            await asyncio.wait_for(robot.connection.send_bytes(protocol.encode(answer)), _PATIENCE_S)

    def _start_task(self, coroutine: Any) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)  # the loop itself keeps weak references only
        task.add_done_callback(self._tasks.discard)

    # the thread that computes

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            act, came, future = job
            answer = self._plan(act, came)
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(_settle, future, answer)

    def _plan(self, act: Act, came: float) -> Actions | Error:
        began = time.perf_counter()
        try:
            generator = _generator(act)
            previous = PreviousChunk(act.previous.actions, act.previous.delay) if act.previous else None
            rtc = from_dict(RtcConfig, vars(act.rtc), 'rtc') if act.rtc else None
            actions = self._policy.act(act.observation, generator, previous, rtc)
        except ValueError as error:
            return Error(act.id, 'refused', str(error)[:_LONGEST_ERROR])
        except Exception as error:
            logger.exception('the policy broke')
            return Error(act.id, 'failed', f'{type(error).__name__}: {error}'[:_LONGEST_ERROR])
        after = generator.get_state().numpy() if act.generator is not None else None
        ended = time.perf_counter()
        answer = Actions(act.id, actions, 1e3 * (began - came), 1e3 * (ended - began), after)
        try:
            protocol.encode(answer)
        except ProtocolError as error:
            return Error(act.id, 'failed', f'the policy gave no usable chunk: {error}')
        return answer


def hello_of(policy: ChunkPolicy, manifest: dict[str, Any], weights: str | Path, runtime: str) -> Hello:
    """What a server tells about a policy that :func:`.runtime.load_policy` gave."""
    file = Path(weights) / checkpoint.MANIFEST
    digest = checkpoint.sha256(file) if file.is_file() else str(manifest.get('weights_sha256', ''))
    config = getattr(policy, 'config', None)
    return Hello(
        spec=policy.spec.to_dict(),
        runtime=runtime,
        sha256=digest,
        about=dict(manifest.get('about') or {}),
        max_delay=getattr(config, 'max_delay', None),
        head=getattr(config, 'head', ''),
    )


def _blank(policy: ChunkPolicy) -> Act:
    spec = policy.spec
    images = {name: stack[0] for name, stack in spec.blank_images(1).items()}
    return Act(0, 0.0, images, np.array(spec.state.mean), WARM_UP, None, None, 0, None)


def _generator(act: Act) -> torch.Generator:
    generator = torch.Generator()
    if act.generator is None:
        return generator.manual_seed(act.seed)
    try:
        generator.set_state(torch.from_numpy(act.generator.copy()))
    except RuntimeError as error:
        raise ValueError(
            f'the state of the generator cannot be used ({error}); use the same torch on both machines'
        ) from error
    return generator


def _settle(future: asyncio.Future, answer: Actions | Error) -> None:
    if not future.done():
        future.set_result(answer)
