# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The policy's process: observations in, action chunks out.

Around ``apprentice.policies.execution``, which decides when to plan and what a chunk continues; new weights
are in ``apprentice.nodes.policy_weights``. One thread listens, one plans.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any

import numpy as np
import torch
import yaml
from apprentice_interfaces.msg import ActionChunk as ActionChunkMessage
from apprentice_interfaces.msg import ControlState, EpisodeState, ExecutedCommand

from apprentice.learning.probe_set import ProbeConfig
from apprentice.learning.rl.choosing import Choosing
from apprentice.nodes import convert, qos
from apprentice.nodes.fault_injection import MODEL_FAULTS, Faults
from apprentice.nodes.observe import Observer
from apprentice.nodes.policy_weights import PolicyWeights
from apprentice.nodes.priority import give_way
from apprentice.nodes.robot_file import load_robot
from apprentice.nodes.runtime import Diagnostics, ManagedNode, StartupError, parameter, run
from apprentice.policies.execution import ChunkScheduler, Job
from apprentice.policies.rtc import MODES, RtcConfig
from apprentice.policies.runtime import RUNTIMES
from apprentice.robot.types import ControlMode, Observation


class PolicyNode(ManagedNode):
    """Plans a chunk every ``execute_steps`` rows, in a worker thread, from the newest observation."""

    def __init__(self) -> None:
        super().__init__('policy')
        self.spec = load_robot(self)
        self._folder = parameter(self, 'weights', 'policy', 'what the runtime takes: a folder, an address')
        self._lockstep = parameter(self, 'lockstep', False, 'observations of one stamp only')
        self._stride = parameter(
            self, 'execute_steps', 4, 'rows followed before the next chunk is planned', 1, 64
        )
        self._seed = parameter(self, 'seed', 0, 'seed of the sampling noise', 0, 2**31)
        self._threads = parameter(self, 'threads', 1, 'threads of torch', 1, 64)
        torch.set_num_threads(self._threads)
        give_way(self, 5)
        about = f'what plans: {", ".join(RUNTIMES)}, or package.module:function'
        self._runtime = parameter(self, 'runtime', 'torch', about)
        self._options = self._runtime_options()
        self._rtc = self._rtc_config()
        about = 'largest change of an action with the next weights, standard deviations; 0: any'
        self._probe = ProbeConfig(max_change=parameter(self, 'probe_max_change', 10.0, about, 0.0, 1e6))
        self._faults = Faults(self, self.spec, lambda: convert.now(self), MODEL_FAULTS)
        self._scheduler = ChunkScheduler(
            self.spec.action_dt, self._stride, self._lockstep, continues=self._rtc.mode != 'none'
        )
        self._started, self._learning = 0.0, False  # of the episode
        self._wake = threading.Condition()  # the lock of the scheduler, and what the planner waits for
        self._error = ''
        self._told_rows = 0  # followed, when the log last said that they are more than critics judge
        self._latency: deque[float] = deque(maxlen=200)
        self._worker: threading.Thread | None = None
        self._closing = False

    def _rtc_config(self) -> RtcConfig:
        about = f'how a chunk continues the one before: {", ".join(MODES)}; auto: soft, in lock-step none'
        mode = parameter(self, 'rtc', 'auto', about)
        weight = parameter(self, 'rtc_max_weight', 5.0, 'limit of the guidance weight', 1e-3, 1e3)
        if mode == 'auto':
            # in lock-step the robot waits for the plan: nothing is executed meanwhile that could be continued
            mode = 'none' if self._lockstep else 'soft'
        return RtcConfig(mode, weight)

    def _runtime_options(self) -> dict[str, Any]:
        timeout = parameter(self, 'remote_timeout_s', 0.5, 'remote: seconds for a chunk', 0.01, 60.0)
        token = parameter(self, 'remote_token_file', '', 'remote: file with the token of the server')
        text = parameter(self, 'runtime_options', '', 'more options of the runtime, as a YAML mapping')
        options: dict[str, Any] = {
            'remote': {'timeout_s': timeout, 'token_file': token},
            'onnx': {'threads': self._threads},
        }.get(self._runtime, {})
        try:
            return {**options, **(yaml.safe_load(text) or {})}
        except (yaml.YAMLError, TypeError) as error:
            raise StartupError(
                f'runtime_options {text!r} is no YAML mapping ({error}); write {{providers: cpu}}, say'
            ) from error

    def configure(self) -> None:
        self._generator = torch.Generator().manual_seed(self._seed)
        self._weights = PolicyWeights(
            self, self.spec, self._runtime, self._options, self._stride, self._rtc, self._notify, self._probe
        )
        self._weights.start(self._folder)
        self._scheduler.max_delay = self._weights.max_delay
        self._chunks = self.create_publisher(ActionChunkMessage, 'policy/chunk', qos.COMMAND)
        self._shadows = self.create_publisher(ActionChunkMessage, 'policy/shadow_chunk', qos.LOG)
        self._observer = Observer(self, self.spec, self._on_observation, self._lockstep)
        self.create_subscription(ControlState, 'gate/state', self._on_gate, qos.STATE)
        self.create_subscription(ExecutedCommand, 'gate/executed', self._on_executed, qos.LOG)
        self.create_subscription(EpisodeState, 'episode/state', self._on_episode, qos.STATE)
        Diagnostics(self, self._report, self.spec.name)
        self._worker = threading.Thread(target=self._work, name='planner', daemon=True)
        self._worker.start()

    def activate(self) -> None:
        self._weights.acknowledge(0, True, 'starter weights')

    def deactivate(self) -> None:
        """No chunk leaves any more, also of a job that is running."""
        with self._wake:
            self._scheduler.discard()

    # what happens on the graph

    def _on_gate(self, message: ControlState) -> None:
        with self._wake:
            since = convert.seconds(message.since)
            self._scheduler.on_control(ControlMode(message.mode), message.epoch, since)
        self._plan()

    def _on_episode(self, message: EpisodeState) -> None:
        doing = message.phase in (EpisodeState.READY, EpisodeState.RUNNING)
        with self._wake:
            self._started, self._learning = convert.seconds(message.started), not message.eval_only
            self._scheduler.on_task(message.task if doing else '', message.episode_id)
        self._plan()

    def _on_observation(self, images: dict[str, np.ndarray], state: np.ndarray, stamp: float) -> None:
        with self._wake:
            self._scheduler.on_observation(Observation(stamp, images, state, ''), time.monotonic())
        self._plan()

    def _on_executed(self, message: ExecutedCommand) -> None:
        with self._wake:
            self._scheduler.on_executed(
                convert.seconds(message.header.stamp), message.epoch, message.chunk_seq, message.chunk_index
            )

    def _plan(self) -> None:
        """Wake the planner if a chunk is due now."""
        with self._wake:
            if self.active and self._scheduler.schedule():
                self._wake.notify()

    def _notify(self) -> None:
        with self._wake:
            self._wake.notify()

    # the planner

    def _work(self) -> None:
        """The planner's thread. It alone touches the acting policy, so weights swap between chunks."""
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._scheduler.waiting or self._weights.waiting or self._closing)
                if self._closing:
                    return
            self._weights.swap()
            with self._wake:
                self._scheduler.max_delay = self._weights.max_delay
                job = self._scheduler.take()
            if job is None:
                continue
            time.sleep(self._faults.slowness())
            try:
                self._publish(job, self._policy_act(job))
                self._error = ''
            except Exception as error:
                # no chunk: the gate sees the policy go stale and holds
                self._error = str(error) or repr(error)
                self.get_logger().error(self._error, throttle_duration_sec=1.0)

    def _policy_act(self, job: Job) -> np.ndarray:
        policy = self._weights.policy
        assert policy is not None
        self._weights.observation = job.observation
        if isinstance(policy, Choosing):
            policy.elapsed_s = elapsed_s(job.observation.stamp, self._started)
            policy.explore = self._learning and not job.shadow
            self._compare_rows(policy, job.followed.delay if job.followed else 0)
            return policy.act(job.observation, self._generator, job.previous, self._rtc, job.followed)
        return policy.act(job.observation, self._generator, job.previous, self._rtc)

    def _compare_rows(self, policy: Choosing, delay: int) -> None:
        """Say that more rows are followed than the critics judge; again only if it becomes more."""
        rows, stride = policy.rows, max(self._stride, delay)  # a slow planner begins when it is through
        followed = min(delay + stride, policy.spec.horizon)
        if followed > max(rows, self._told_rows):
            self._told_rows = followed
            fewer = f'set execute_steps to {rows - delay}, or ' if rows - delay >= max(delay, 1) else ''
            self.get_logger().info(
                f'critics judge {rows} rows of a chunk, but {followed} are followed: {delay} while it is '
                f'planned, then {stride}. The last {followed - rows} are as the policy planned them; {fewer}'
                f'train with features.rows and windows.rows {followed} in the recipe'
            )

    def _publish(self, job: Job, actions: np.ndarray) -> None:
        with self._wake:
            chunk = self._scheduler.finish(job, actions)
        if chunk is None:
            return  # control changed hands while it was planned
        latency = time.monotonic() - job.received
        self._latency.append(latency)
        chunk.weights_version, chunk.names = self._weights.version, self.spec.joint_names
        message = convert.chunk_msg(chunk, self.spec.base_frame, latency)
        (self._shadows if chunk.shadow else self._chunks).publish(message)

    # state

    def _report(self) -> tuple[bytes, str, dict]:
        latency = np.array(self._latency) if self._latency else np.zeros(1)
        with self._wake:
            scheduler = self._scheduler
            measured, problem = scheduler.measured, scheduler.problem
            values = {
                'chunks': scheduler.seq,
                'weights_version': self._weights.version,
                'latency_ms_p50': f'{1e3 * np.median(latency):.1f}',
                'latency_ms_p99': f'{1e3 * np.quantile(latency, 0.99):.1f}',
                'observations': self._observer.count,
                'rtc': self._rtc.mode,
                'delay_rows': scheduler.delay,
                'delay_rows_measured': 'unknown' if measured is None else measured,
                'chunks_continued': scheduler.continued,
                'steps_starved': scheduler.starved,
            }
            doing = scheduler.has_task
        if self._error:
            return Diagnostics.ERROR, self._error, values
        if self._observer.problem or problem:
            return Diagnostics.WARN, self._observer.problem or problem, values
        return Diagnostics.OK, 'planning' if doing else 'no task', values

    def cleanup(self) -> None:
        """End the planner; a later configure starts from the weights of the parameter again."""
        self.close()
        self._closing = False
        self._scheduler.reset()

    def close(self) -> None:
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._worker is not None:
            self._worker.join(timeout=5.0)
            self._worker = None
            self._weights.close()


def elapsed_s(stamp: float, started: float) -> float:
    """Seconds of the episode that are over at ``stamp``.

    Args:
        started: 0 while the episode has not begun: its first chunk is planned before.
    """
    return max(0.0, stamp - started) if started > 0 else 0.0


def main() -> None:
    """Entry point of ``policy_node``."""
    run(PolicyNode)


if __name__ == '__main__':
    main()
