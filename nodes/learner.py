# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The learner's process: watches the sealed episodes, trains in a thread, offers versioned weights."""

from __future__ import annotations

# before anything else of torch: see docs/architecture.md on triton and GL in one process
import torch._dynamo  # isort: skip

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from apprentice_interfaces.msg import LearnerStatus
from rclpy.node import Node
from std_srvs.srv import SetBool, Trigger

from apprentice.episodes.labels import iter_sealed
from apprentice.learning import follower
from apprentice.learning.health import Health
from apprentice.learning.leader import LeadingLearner
from apprentice.learning.learner import Learner
from apprentice.learning.run_lock import lock_run
from apprentice.learning.weights import Published
from apprentice.nodes.learner_robots import Robots
from apprentice.nodes.learner_settings import learner_config, learner_ranks, robot_folders
from apprentice.nodes.priority import give_way
from apprentice.nodes.robot_file import load_simulated
from apprentice.nodes.runtime import Diagnostics, parameter, run, wall_timer
from apprentice.robot.parts import find_weights

_PATIENCE_S = 10.0  # of a service: planning all candidates anew may take minutes, in which status goes out
_WEIGHTED_FLOW = 'apprentice.learning.weighted_flow:WeightedFlow'


class LearnerNode(Node):
    """Runs :class:`~apprentice.learning.learner.Learner` beside the graph; nobody ever waits for it."""

    def __init__(self) -> None:
        super().__init__('learner')
        self.spec = load_simulated(self)
        run_dir = parameter(self, 'run_dir', 'runs/latest', 'folder of this run: episodes, weights, snapshot')
        starter = parameter(self, 'weights', 'policy', 'policy to start from: a folder or a shipped name')
        demonstrations = parameter(self, 'demonstrations', '', 'folder of recorded ones, empty for none')
        self._paused = parameter(self, 'paused', False, 'start paused')
        threads = parameter(self, 'threads', 1, 'threads of torch', 1, 256)
        seed = parameter(self, 'seed', 0, 'seed of batches and noise', 0, 2**31)
        config, robots = learner_config(self, self.spec), robot_folders(self)
        torch.set_num_threads(threads)
        logging.basicConfig(level=logging.INFO, format='%(message)s')
        self._run_lock = lock_run(run_dir)
        self._ending = contextlib.ExitStack()
        ranks = self._ending.enter_context(learner_ranks(self))
        give_way(self, 10)  # and with it the other processes
        make = LeadingLearner if ranks.world > 1 else Learner
        self.learner = make(self.spec, run_dir, find_weights(starter), config, seed, robots, ranks)
        self._demonstrations = Path(demonstrations).expanduser() if demonstrations else None
        self._lock = threading.Lock()  # the learner's state: the thread's steps and the services
        self._wake, self._closing = threading.Event(), False
        self._unfit = False  # the demonstrations could not be loaded: until it is started again
        self._loading = True  # demonstrations: until then nobody else touches the learner
        self._heard: list[Health] = []  # reports that the thread has not looked at
        self._phase, self._message, self._loss, self._rate = 'ingesting', '', float('nan'), 0.0
        self._newest: Published | None = None
        self._look_at = 0.0  # monotonic time of the next look at the episode folder
        self._robots = Robots(self, robots or [''], self._wake.set, self._on_health, self._on_ack)
        self.create_service(SetBool, 'learner/pause', self._on_pause)
        self.create_service(Trigger, 'learner/rollback', self._on_rollback)
        self.create_service(Trigger, 'learner/snapshot', self._on_snapshot)
        self.create_service(Trigger, 'learner/clear_alarm', self._on_clear_alarm)
        Diagnostics(self, self._report, self.spec.name)
        wall_timer(self, 1.0, self._publish_status)
        if isinstance(self.learner, LeadingLearner):
            self._ending.callback(self.learner.stop)
            wall_timer(self, 10.0, partial(self._beat, self.learner))
        else:
            self.learner.breathe = self._breathe
        self._worker = threading.Thread(target=self._work, name='learner', daemon=True)
        self._worker.start()

    def _work(self) -> None:
        try:
            try:
                self._load_demonstrations()
            finally:
                with self._lock:
                    self._loading = False
            versions = self.learner.store.versions()
            if versions:
                self._announce(self.learner.store.describe(versions[-1]))
        except (OSError, ValueError) as error:
            self._fail(error)
            self._unfit = True  # without what it was to begin from it would learn something else
        while not self._closing:
            try:
                busy = self._turn()
            except Exception as error:
                # the robot goes on with the weights it has
                self._fail(error)
                busy = False
                time.sleep(5.0)
            if not busy:
                self._wake.wait(0.5)
                self._wake.clear()

    def _load_demonstrations(self) -> None:
        if self._demonstrations is None:
            return
        paths = list(iter_sealed(self._demonstrations))
        if not paths:
            raise ValueError(f'no demonstrations in {self._demonstrations}; record some or leave it empty')

        def progress(n: int) -> None:
            self._message = f'demonstration {n} of {len(paths)}'

        count = self.learner.demonstrate(paths, progress)
        self.get_logger().info(f'{count} demonstrations from {self._demonstrations}')

    def _turn(self) -> bool:
        """Ingest, make one gradient step, publish what is due; False when there was nothing to do."""
        with self._lock:
            while self._heard:  # also while paused: it may say why nothing is learned
                self.learner.hear(self._heard.pop(0))
            if self._paused or self._unfit:
                return False
            new = self._ingest()  # also while a reward model forbids to learn: which models count is in them
            if self.learner.stopped:
                return False
            busy = bool(new)
            metrics: dict[str, float] | None = None
            if self.learner.ready:
                self._phase, busy = 'updating', True
                began = time.monotonic()
                metrics = self.learner.update()
                self._loss = metrics['loss']
                if metrics['skipped']:
                    self.get_logger().warning('an update was not finite and was skipped')
                self._rate = 0.9 * self._rate + 0.1 / max(time.monotonic() - began, 1e-3)
            # apart from the update: a version that could not be written is tried again
            if self.learner.publish_due and not self._paused:  # the step may have been a long one
                self._phase, busy = 'publishing', True
                published = self.learner.publish(metrics)
                if published is not None:
                    self._announce(published)
        if not busy:
            self._phase = 'waiting'
        time.sleep(0.001)  # lets a service have the lock
        return busy

    def _ingest(self) -> list[str]:
        if time.monotonic() < self._look_at:
            return []
        self._look_at = time.monotonic() + 0.5
        new = self.learner.ingest()
        if new:
            online = self.learner.online
            waits = online is not None and not online.fitted
            alone = '; critics wait for more observations, the policy acts alone' if waits else ''
            self._message = f'learned of {new[-1]}{alone}'
        return new

    def _announce(self, published: Published) -> None:
        self._newest = published
        self._robots.offer(published)
        self.get_logger().info(f'published weights {published.version}')

    def _fail(self, error: Exception) -> None:
        self._phase, self._message = 'error', str(error)
        self.get_logger().error(f'learning stopped for now: {error}')

    def _publish_status(self) -> None:
        learner, stopped = self.learner, self.learner.stopped
        message = LearnerStatus(
            phase='paused' if self._paused or stopped or learner.alarm else self._phase,
            version=self._newest.version if self._newest else 0,
            train_steps=learner.algorithm.steps,
            pending_updates=max(0, learner.owed),
            episodes=learner.episodes,
            transitions=learner.replay.transitions,
            human_transitions=learner.replay.human_transitions,
            loss=float(self._loss),
            updates_per_s=float(self._rate),
            quarantined=learner.replay.quarantined,
            message=self._problem() or self._message,
            acknowledged_version=self._robots.acks.acknowledged,
            recipe=learner.config.online.part if learner.config.online else _WEIGHTED_FLOW,
            alarm=learner.alarm,
        )
        self._robots.tell(message)

    def _problem(self) -> str:
        """What a person should know; empty: nothing."""
        newest = self._newest.version if self._newest else 0
        refused = self.learner.admission.reason
        found = [
            self.learner.stopped,
            self._message if self._phase == 'error' else '',
            f'the newest candidate is not published: {refused}' if refused else '',
            self._robots.acks.problem(newest),
        ]
        return '; '.join(text for text in found if text)

    def _beat(self, learner: LeadingLearner) -> None:
        if not self._loading and self._lock.acquire(blocking=False):  # else they hear of it anyway
            try:
                learner.beat()
            except OSError as error:
                self._fail(error)
            finally:
                self._lock.release()

    def _on_ack(self) -> None:
        heard = [self._robots.acks.active(name) for name in self.learner.fleet.names]
        # the probe compares with what acts; of several robots the one that is furthest behind
        self.learner.admission.acting = min((v for v in heard if v is not None), default=None)

    def _on_health(self, health: Health) -> None:
        self._heard.append(health)
        self._wake.set()

    def _breathe(self) -> None:
        """In a long step: who waits for the learner, has it for a moment."""
        self._lock.release()
        time.sleep(0.001)
        self._lock.acquire()

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        """The learner's state, for a service. Raises ValueError while a long step goes on."""
        if not self._lock.acquire(timeout=_PATIENCE_S):
            raise ValueError(
                'the learner is in a long step: it reads episodes or plans candidates anew; try again later'
            )
        try:
            yield
        finally:
            self._lock.release()

    def _on_pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._paused = request.data  # also within a long step, which then publishes nothing
        try:
            with self._held():  # the step in hand is finished first: then nothing changes any more
                pass
        except ValueError:
            after = 'no weights are published any more' if request.data else 'learning goes on'
            response.message = f'{after}; a long step is finished first'
        self._wake.set()
        response.success = True
        return response

    def _on_rollback(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            with self._held():
                self._loaded()
                self._announce(self.learner.rollback())
            response.success = True
            response.message = f'version {self._newest.version if self._newest else 0}'
        except (ValueError, OSError) as error:
            response.success, response.message = False, str(error)
        return response

    def _loaded(self) -> None:
        if self._loading:
            raise ValueError('demonstrations are being loaded; try again when the status shows another phase')

    def _on_clear_alarm(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            with self._held():
                cleared = self.learner.clear_alarm()
            response.success = True
            response.message = f'learning goes on; looked at: {", ".join(cleared) or "nothing"}'
        except (ValueError, OSError) as error:
            response.success, response.message = False, str(error)
        self._wake.set()
        return response

    def _on_snapshot(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            with self._held():
                self._loaded()
                self.learner.save()
            response.success, response.message = True, str(self.learner.run_dir / 'learner')
        except (OSError, ValueError) as error:
            response.success, response.message = False, str(error)
        return response

    def _report(self) -> tuple[bytes, str, dict]:
        learner = self.learner
        values = {
            'episodes': learner.episodes,
            'train_steps': learner.algorithm.steps,
            'pending_updates': learner.owed,
            'updates_per_s': f'{self._rate:.1f}',
            'quarantined': learner.replay.quarantined,
            'version': self._newest.version if self._newest else 0,
            'acknowledged_version': self._robots.acks.acknowledged,
        }
        if learner.alarm or self._phase == 'error':
            return Diagnostics.ERROR, learner.alarm or self._message, values
        if problem := self._problem():
            return Diagnostics.WARN, problem, values
        return Diagnostics.OK, 'paused' if self._paused else self._phase, values

    def close(self) -> None:
        """Stop the thread after the step at hand and save the snapshot."""
        self._closing = True
        self._wake.set()
        self._worker.join(timeout=10.0)
        # a step that is still going on must not be saved half done
        if not self._loading and self._lock.acquire(timeout=1.0):
            with contextlib.suppress(ConnectionError), self._ending:  # of processes that were lost before
                if self.learner.algorithm.steps:
                    self.learner.save()


def main() -> None:
    """Entry point of ``learner_node``; all but the first of torchrun's processes know no ROS."""
    if int(os.environ.get('RANK', '0')):
        follower.main([])
    else:
        run(LearnerNode)


if __name__ == '__main__':
    main()
