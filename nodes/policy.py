# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The policy's process: observations in, action chunks out, new weights swapped between chunks."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import replace

import numpy as np
import torch
from apprentice_interfaces.msg import ActionChunk as ActionChunkMessage
from apprentice_interfaces.msg import ControlState, EpisodeState, WeightsAck, WeightsVersion

from apprentice.nodes import convert, qos
from apprentice.nodes.fault_injection import MODEL_FAULTS, Faults
from apprentice.nodes.observe import Observer
from apprentice.nodes.robot_file import load_robot
from apprentice.nodes.runtime import Diagnostics, ManagedNode, StartupError, parameter, run
from apprentice.policies import checkpoint
from apprentice.policies.policy import FlowPolicy
from apprentice.robot.parts import find_weights
from apprentice.robot.types import ActionChunk, ControlMode, Observation

_SAME_S = 2e-6  # stamps are rounded to the microsecond
_PLANS_IN = (ControlMode.POLICY, ControlMode.PAUSED)


class PolicyNode(ManagedNode):
    """Plans a chunk every ``execute_steps`` rows, in a worker thread, from the newest observation."""

    def __init__(self) -> None:
        super().__init__('policy')
        self.spec = load_robot(self)
        self._weights = parameter(self, 'weights', 'policy', 'policy folder, or a shipped name')
        self._lockstep = parameter(self, 'lockstep', False, 'observations of one stamp only')
        self._stride = parameter(
            self, 'execute_steps', 4, 'rows followed before the next chunk is planned', 1, 64
        )
        self._seed = parameter(self, 'seed', 0, 'seed of the sampling noise', 0, 2**31)
        threads = parameter(self, 'threads', 1, 'threads of torch', 1, 64)
        torch.set_num_threads(threads)
        self._faults = Faults(self, self.spec, lambda: convert.now(self), MODEL_FAULTS)
        self._mode, self._epoch, self._since = ControlMode.DISARMED, 0, 0.0
        self._task, self._episode = '', ''
        # live, frames come near the action grid, not on it: half a row decides which one is due
        self._early = _SAME_S if self._lockstep else 0.5 * self.spec.action_dt
        self._planned = (-1, -1.0)  # epoch and stamp of the last observation handed to the planner
        self._seen: Observation | None = None
        self._received = 0.0
        self._seq = 0
        self._error = ''
        self._latency: deque[float] = deque(maxlen=200)
        self._wake = threading.Condition()
        self._mailbox: tuple[Observation, int, bool, float] | None = None
        self._next: tuple[FlowPolicy, WeightsVersion] | None = None
        self._wanted = (0, '')  # version and hash of the newest offer
        self._worker: threading.Thread | None = None
        self._closing = False

    def configure(self) -> None:
        folder = find_weights(self._weights)
        self._policy, manifest = checkpoint.load(folder)
        self._policy.spec.require(self.spec)
        if self._stride > self._policy.spec.horizon:
            raise StartupError(
                f'execute_steps {self._stride} exceeds the horizon {self._policy.spec.horizon} of the weights'
            )
        self._version = 0
        self._generator = torch.Generator().manual_seed(self._seed)
        self.get_logger().info(f'weights {folder} ({manifest["about"].get("name", "unnamed")})')
        self._chunks = self.create_publisher(ActionChunkMessage, 'policy/chunk', qos.COMMAND)
        self._shadows = self.create_publisher(ActionChunkMessage, 'policy/shadow_chunk', qos.LOG)
        self._acks = self.create_publisher(WeightsAck, 'policy/weights_ack', qos.STATE)
        self._observer = Observer(self, self.spec, self._on_observation, self._lockstep)
        self.create_subscription(ControlState, 'gate/state', self._on_gate, qos.STATE)
        self.create_subscription(EpisodeState, 'episode/state', self._on_episode, qos.STATE)
        self.create_subscription(WeightsVersion, 'learner/weights', self._on_weights, qos.STATE)
        Diagnostics(self, self._report, self.spec.name)
        self._worker = threading.Thread(target=self._work, name='planner', daemon=True)
        self._worker.start()

    def activate(self) -> None:
        self._acknowledge(0, True, 'starter weights')

    def _on_gate(self, message: ControlState) -> None:
        if message.epoch != self._epoch:
            self._since = convert.seconds(message.since)
        self._mode, self._epoch = ControlMode(message.mode), message.epoch
        self._plan()

    def _on_episode(self, message: EpisodeState) -> None:
        self._episode = message.episode_id
        self._task = message.task if message.phase in (EpisodeState.READY, EpisodeState.RUNNING) else ''
        self._plan()

    def _on_observation(self, images: dict[str, np.ndarray], state: np.ndarray, stamp: float) -> None:
        self._seen = Observation(stamp, images, state, '')
        self._received = time.monotonic()
        self._plan()

    def _plan(self) -> None:
        """Hand the newest observation to the planner if a chunk is due.

        Called whenever that may have changed: in lock-step no further observation comes until somebody
        has planned from this one.
        """
        shadow = self._mode == ControlMode.HUMAN
        if not self.active or not self._seen or not self._task or not (shadow or self._mode in _PLANS_IN):
            return
        epoch, last = self._planned
        stamp = self._seen.stamp
        # a planner still busy when a chunk was due begins with the newest observation, not with an old one
        behind = self._mailbox is not None and not self._lockstep
        due = last + self._stride * self.spec.action_dt - self._early
        if epoch == self._epoch and not behind and stamp < due:
            return
        if stamp < self._since - _SAME_S:
            return  # seen before control changed hands
        self._planned = (self._epoch, stamp)
        with self._wake:
            self._mailbox = (replace(self._seen, text=self._task), self._epoch, shadow, self._received)
            self._wake.notify()

    def _work(self) -> None:
        """The planner's thread. It alone touches the acting policy, so weights swap between chunks."""
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._mailbox or self._next or self._closing)
                if self._closing:
                    return
                swap, self._next = self._next, None
                job, self._mailbox = self._mailbox, None
            if swap:
                self._swap(*swap)
            if job is None:
                continue
            observation, epoch, shadow, received = job
            time.sleep(self._faults.slowness())
            try:
                actions = self._policy.act(observation, self._generator)
            except Exception as error:
                # no chunk: the gate sees the policy go stale and holds
                self._error = str(error)
                self.get_logger().error(str(error), throttle_duration_sec=1.0)
                continue
            self._error = ''
            self._publish(observation, actions, epoch, shadow, time.monotonic() - received)

    def _publish(
        self, seen: Observation, actions: np.ndarray, epoch: int, shadow: bool, latency: float
    ) -> None:
        self._seq += 1
        self._latency.append(latency)
        chunk = ActionChunk(
            stamp=seen.stamp,
            actions=actions,
            dt=self.spec.action_dt,
            seq=self._seq,
            epoch=epoch,
            weights_version=self._version,
            names=self.spec.joint_names,
            shadow=shadow,
            episode_id=self._episode,
        )
        message = convert.chunk_msg(chunk, self.spec.base_frame, latency)
        (self._shadows if shadow else self._chunks).publish(message)

    def _on_weights(self, message: WeightsVersion) -> None:
        """Load and check beside the acting weights; the planner swaps before its next chunk."""
        wanted = (message.version, message.sha256)
        if wanted != self._wanted:
            self._wanted = wanted
            threading.Thread(target=self._load, args=(message,), name='weights', daemon=True).start()

    def _load(self, message: WeightsVersion) -> None:
        try:
            policy, _ = checkpoint.load(message.uri, message.sha256)
            policy.spec.require(self.spec)
        except (ValueError, OSError) as error:
            self.get_logger().error(f'refused weights {message.version}: {error}')
            self._acknowledge(message.version, False, str(error))
            return
        with self._wake:
            if (message.version, message.sha256) == self._wanted:  # nothing newer came meanwhile
                self._next = (policy, message)
                self._wake.notify()

    def _swap(self, policy: FlowPolicy, message: WeightsVersion) -> None:
        self._policy, self._version = policy, message.version
        self._acknowledge(message.version, True, '')
        self.get_logger().info(f'acting with weights {message.version} ({message.episodes} episodes)')

    def _acknowledge(self, version: int, ok: bool, reason: str) -> None:
        ack = WeightsAck(version=version, active_version=self._version, ok=ok, reason=reason)
        ack.header.stamp = self.get_clock().now().to_msg()
        self._acks.publish(ack)

    def _report(self) -> tuple[bytes, str, dict]:
        latency = np.array(self._latency) if self._latency else np.zeros(1)
        values = {
            'chunks': self._seq,
            'weights_version': self._version,
            'latency_ms_p50': f'{1e3 * np.median(latency):.1f}',
            'latency_ms_p99': f'{1e3 * np.quantile(latency, 0.99):.1f}',
            'observations': self._observer.count,
        }
        if self._error:
            return Diagnostics.ERROR, self._error, values
        if self._observer.problem:
            return Diagnostics.WARN, self._observer.problem, values
        return Diagnostics.OK, 'planning' if self._task else 'no task', values

    def cleanup(self) -> None:
        """End the planner; a later configure starts from the weights of the parameter again."""
        self.close()
        self._closing, self._mailbox, self._next, self._seen = False, None, None, None
        self._wanted, self._planned = (0, ''), (-1, -1.0)

    def close(self) -> None:
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._worker is not None:
            self._worker.join(timeout=5.0)
            self._worker = None


def main() -> None:
    """Entry point of ``policy_node``."""
    run(PolicyNode)


if __name__ == '__main__':
    main()
