# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The preferences node on a real graph: it asks, keeps answers, learns which pairs to ask, repeats none."""

from __future__ import annotations

import json
import time

import pytest
from apprentice_interfaces.msg import PreferenceAnswer, PreferencePair
from label_rig import SPEC, make, record
from rclpy.parameter import Parameter
from std_msgs.msg import String

from apprentice.cli.main import main
from apprentice.episodes.answers import Answer, AnswerFile, Stretch, StretchPair
from apprentice.episodes.sources import readers_by_name
from apprentice.learning.preference.store import PairStore
from apprentice.learning.preference.teacher import Teacher, true_progress
from apprentice.nodes import convert, qos
from apprentice.nodes.preferences import PreferencesNode
from apprentice.robot.parts import share


class Graph:
    """The node, and a client that answers."""

    def __init__(self, ros, run_dir, **parameters):
        values = {
            'robot': str(share('robots', 'sim_arm.yaml')), 'run_dir': str(run_dir), 'seconds': 1.5,
            'repeat_every': 0, 'nice': 0, **parameters,
        }  # fmt: skip
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        self.ros, self.pairs = ros, []
        self.node = ros.add(PreferencesNode(parameter_overrides=overrides))
        self.answers = ros.node.create_publisher(PreferenceAnswer, 'preferences/answer', qos.LOG)
        self.sealed = ros.node.create_publisher(String, 'recorder/sealed', qos.STATE)
        ros.node.create_subscription(PreferencePair, 'preferences/pair', self.pairs.append, qos.STATE)
        self.node.start()
        assert ros.spin_until(lambda: self.answers.get_subscription_count())

    def ask(self, count):
        """The pair number ``count``."""
        assert self.ros.spin_until(lambda: len(self.pairs) > count, 60), 'no pair was asked'
        return convert.pair_of(self.pairs[count])

    def say(self, pair, choice, person='anna'):
        self.answers.publish(convert.answer_msg(Answer(pair, choice, person), time.time()))

    def close(self):
        self.node.close()


@pytest.fixture
def graph(ros):
    made = []

    def start(run_dir, **parameters):
        made.append(Graph(ros, run_dir, **parameters))
        return made[-1]

    yield start
    for each in made:
        each.close()


def test_messages_and_answers_are_each_other():
    pair = StretchPair('pick', Stretch('e1', 0.5, 2.0), Stretch('e2', 1.0, 2.5), 0.25)
    assert convert.pair_of(convert.pair_msg(pair, 1.0)) == pair
    for number, choice in enumerate(('left', 'right', 'equal', 'cannot tell')):
        message = convert.answer_msg(Answer(pair, choice, 'anna'), 1.0)
        assert message.answer == number
        assert convert.answer_of(message) == Answer(pair, choice, 'anna')
    assert (PreferenceAnswer.LEFT, PreferenceAnswer.CANNOT_TELL) == (0, 3)
    message.answer = 9
    with pytest.raises(ValueError, match='9 is unknown'):
        convert.answer_of(message)


def test_answers_of_a_teacher_become_a_reward_and_pairs_of_chunks(graph, tmp_path, capsys):
    run = record(tmp_path / 'run', [make(number) for number in range(16)])
    readers = readers_by_name([run], SPEC)
    desk, teacher = graph(run, refit_every=6), Teacher()
    for number in range(24):
        pair = desk.ask(number)
        left, right = (true_progress(readers[s.episode](), s) for s in (pair.left, pair.right))
        desk.say(pair, teacher.compare(left, right))
    file = AnswerFile(run / 'episodes' / 'preferences.jsonl')
    assert desk.ros.spin_until(lambda: len(file.read()) == 24, 10)
    ids = [message.pair_id for message in desk.pairs]
    assert len(set(ids)) == len(ids), 'no pair comes twice'
    assert any(message.information > 0 for message in desk.pairs), 'chosen by what was learned'
    assert {
        stretch for message in desk.pairs for stretch in (message.left_episode, message.right_episode)
    } <= set(readers)

    out = tmp_path / 'reward'
    assert main(['train', 'preference', '--data', str(run), '--out', str(out)]) == 0
    said = capsys.readouterr().out
    report = json.loads(said[said.rindex('{') :])
    assert report['answers'] == 24
    assert report['accuracy'] > 0.6, 'better than chance on answers it has not seen'
    pairs = tmp_path / 'pairs'
    words = ['train', 'dpo', '--data', str(run), '--pairs-by', 'labelled', '--pairs', str(pairs)]
    assert main([*words, '--build-only', '--out', str(tmp_path / 'dpo')]) == 0
    assert len(PairStore(pairs).read()) >= 20


def test_what_comes_to_pass_while_it_runs(graph, tmp_path):
    run = tmp_path / 'run'
    desk = graph(run, weights='none')
    assert not desk.ros.spin_until(lambda: desk.pairs, 0.5), 'nothing is recorded yet'
    record(run, [make(0), make(1)])
    desk.sealed.publish(String(data='sealed'))
    first = desk.ask(0)
    foreign = PreferenceAnswer(pair=convert.pair_msg(first, 1.0), answer=7)
    desk.answers.publish(foreign)
    desk.say(first, 'left')
    desk.say(first, 'right', 'bo')  # somebody else, a moment later
    file = AnswerFile(run / 'episodes' / 'preferences.jsonl')
    assert desk.ros.spin_until(lambda: len(file.read()) == 2, 10)
    assert {(a.person, a.choice) for a in file.read()} == {('anna', 'left'), ('bo', 'right')}
    desk.say(first, 'equal')  # a second thought
    assert desk.ros.spin_until(lambda: file.read()[0].choice == 'equal', 10)
    level, _, values = desk.node._report()
    assert values['answered'] == 2
    assert level == b'\x00'


def test_answers_that_cannot_be_written_are_reported(graph, tmp_path):
    run = record(tmp_path / 'run', [make(0), make(1)])
    (run / 'episodes' / 'preferences.jsonl').symlink_to(tmp_path / 'unmounted' / 'disk')
    desk = graph(run, weights='none')
    pair = desk.ask(0)
    desk.say(pair, 'left')
    assert desk.ros.spin_until(lambda: desk.node._report()[0] == b'\x02', 10)
    assert 'cannot be written' in desk.node._report()[1]
    assert len(desk.pairs) == 1, 'the pair is still asked'
