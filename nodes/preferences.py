# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Asks people which of two stretches of recorded episodes is better.

It looks at sealed episodes, publishes one pair at a time on ``preferences/pair`` and takes what anybody says
on ``preferences/answer`` (the page of the dashboard, or a client of your own). Answers lie in
``preferences.jsonl`` beside the episodes. Everything slow runs in a thread of its own and at low priority:
nothing that drives the robot waits for it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from pathlib import Path
from typing import Any

from apprentice_interfaces.msg import PreferenceAnswer, PreferencePair
from std_msgs.msg import String

from apprentice.episodes.answers import FILE, Answer, AnswerFile, StretchPair
from apprentice.episodes.labels import iter_sealed
from apprentice.episodes.sources import read_named
from apprentice.learning.preference.answered import StretchFeatures, cameras_of
from apprentice.learning.preference.desk import Desk, DeskConfig
from apprentice.learning.preference.selection import SelectionConfig
from apprentice.nodes import convert, qos
from apprentice.nodes.priority import give_way
from apprentice.nodes.recorded_topics import profile
from apprentice.nodes.robot_file import load_robot
from apprentice.nodes.runtime import Diagnostics, ManagedNode, parameter, run, wall_timer

LOOK_S = 5.0  # for episodes of which nobody said that they were sealed
TAKE_S = 0.2
AT_ONCE = 4  # episodes taken in before pairs are chosen again


class PreferencesNode(ManagedNode):
    """Keeps a :class:`~apprentice.learning.preference.desk.Desk` and speaks for it on the graph."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('preferences', **kwargs)
        give_way(self, 15)
        self.spec = load_robot(self)
        run_dir = parameter(self, 'run_dir', 'runs/default', 'run folder; its episodes are asked about')
        self._folder = Path(run_dir).expanduser() / 'episodes'
        self._weights = parameter(
            self, 'weights', 'clip', 'CLIP weights by which pairs are chosen; none: drawn over outcomes'
        )
        seconds = parameter(self, 'seconds', 2.0, 'length of a stretch', 0.5, 30.0)
        rule = parameter(self, 'rule', 'information', 'which pairs: information, disagreement or random')
        seed = parameter(self, 'seed', 0, 'of the draws', 0, 2**31)
        repeat = parameter(
            self,
            'repeat_every',
            10,
            'answers between two questions that were asked before; 0: never',
            0,
            10_000,
        )
        refit = parameter(self, 'refit_every', 5, 'answers between two fits of the ensemble', 1, 10_000)
        threads = parameter(self, 'threads', 1, 'threads of the encoder', 1, 64)
        self._selection = SelectionConfig(rule=rule, seconds=seconds, seed=seed)
        self._asking = DeskConfig(repeat_every=repeat, refit_every=refit)
        self._threads = threads
        self._desk: Desk | None = None
        self._current: tuple[StretchPair, bool] | None = None
        self._person = ''
        self._problem = ''
        self._wanted, self._ending = threading.Event(), threading.Event()
        self._worker: threading.Thread | None = None

    def configure(self) -> None:
        features = None
        if self._weights != 'none':
            import torch

            from apprentice.reward_models.clip.reward import ClipReward
            from apprentice.robot.parts import find_weights

            torch.set_num_threads(self._threads)
            clip = ClipReward.load(find_weights(self._weights))
            features = StretchFeatures(clip, cameras_of(clip, self.spec), self.spec.action_dt)
        file = AnswerFile(self._folder / FILE)
        self._desk = Desk(file, self.spec.action_dt, features, self._selection, self._asking)
        self._pairs = self.create_publisher(PreferencePair, 'preferences/pair', qos.STATE)
        self.create_subscription(PreferenceAnswer, 'preferences/answer', self._on_answer, qos.LOG)
        self.create_subscription(String, 'recorder/sealed', self._on_sealed, profile(True, True, 50))
        wall_timer(self, TAKE_S, self._ask)
        Diagnostics(self, self._report, self.spec.name)

    def activate(self) -> None:
        self._ending.clear()
        self._worker = threading.Thread(target=self._work, name='preferences', daemon=True)
        self._worker.start()

    def deactivate(self) -> None:
        self._end()

    def cleanup(self) -> None:
        self._end()
        self._desk = self._current = None

    def close(self) -> None:
        self._end()

    def _end(self) -> None:
        self._ending.set()
        self._wanted.set()
        if self._worker is not None:
            self._worker.join(timeout=10.0)
            self._worker = None

    # In the executor's thread.

    def _on_sealed(self, message: String) -> None:
        self._wanted.set()

    def _ask(self) -> None:
        """Publish the next pair if nobody is being asked."""
        if self._desk is None or not self.active or self._current is not None:
            return
        self._current = self._desk.next(self._person)
        if self._current is not None:
            self._pairs.publish(convert.pair_msg(self._current[0], convert.now(self)))

    def _on_answer(self, message: PreferenceAnswer) -> None:
        """Keep what a person said, of the pair that is asked or of an earlier one."""
        if self._desk is None or not self.active:
            return
        try:
            answer = convert.answer_of(message)
        except ValueError as error:
            self.get_logger().warning(f'an answer is refused: {error}')
            return
        asked = self._current is not None and self._current[0].pair_id == answer.pair.pair_id
        repeat = asked and self._current is not None and self._current[1]
        try:
            self._desk.answer(Answer(answer.pair, answer.choice, answer.person, repeat=repeat))
        except OSError as error:
            self._problem = f'answers cannot be written to {self._desk.file.path}: {error.strerror or error}'
            self.get_logger().error(self._problem)
            return
        self._problem, self._person = '', answer.person
        if asked:
            self._current = None
            self._ask()
        self._wanted.set()

    def _report(self) -> tuple[bytes, str, dict[str, Any]]:
        if self._desk is None:
            return Diagnostics.OK, 'not configured', {}
        values = self._desk.progress()
        if self._problem:
            return Diagnostics.ERROR, self._problem, values
        asked = 'waiting for an answer' if self._current else 'no pair to ask about yet'
        return Diagnostics.OK, f'{values["answered"]} answers, {asked}', values

    # In the thread of its own.

    def _work(self) -> None:
        desk = self._desk
        assert desk is not None
        with contextlib.suppress(
            OSError
        ):  # Linux counts niceness by thread; refused, it costs only regularity
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        while not self._ending.is_set():
            self._wanted.clear()
            try:
                # few at a time, so that the first pairs do not wait for the last episode
                while not self._ending.is_set():
                    readers = {
                        path.stem: functools.partial(read_named, path, self.spec)
                        for path in iter_sealed(self._folder)
                    }
                    more = desk.look(readers, AT_ONCE)
                    desk.prepare()
                    if not more:
                        break
            except Exception as error:  # asking people must go on without what went wrong
                self._problem = f'choosing pairs failed: {error}'
                self.get_logger().error(self._problem)
            self._wanted.wait(LOOK_S)


def main() -> None:
    """Entry point of ``preferences_node``."""
    run(PreferencesNode)


if __name__ == '__main__':
    main()
