# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A guided session on the whole graph: real gate, episodes, reward, guide, and a person who listens."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from std_srvs.srv import SetBool

from apprentice.episodes.join import read_episode
from apprentice.episodes.labels import iter_sealed
from apprentice.episodes.log_reader import LogReader
from apprentice.learning.guidance.config import GuidanceConfig
from apprentice.learning.guidance.guide import Guide
from apprentice.learning.guidance.history import History
from apprentice.robot.guidance import AdviceKind, Grade
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Source

SPEC = RobotSpec.load(share('robots', 'sim_arm.yaml'))
# small numbers, so that every grade comes within a few episodes
GUIDANCE = """
starts: seed
tries: 1
low_success: 1.0
recovered: 1.0
demonstrate_after: 1
return_share: 0.6
share_window: 5
stall_s: 1.5
"""
PERSON = 'patience_s: 600\nreaction_s: 0.2\nfollows: 1.0\nhands_back: 1.0\nregained: 0.1\nmistakes: 0.2\n'
EPISODES = 8


@pytest.fixture
def graph(tmp_path):
    """The graph of sim.launch.yaml, as processes that end with the test. Returns where its output is."""
    (tmp_path / 'guidance.yaml').write_text(GUIDANCE)
    (tmp_path / 'person.yaml').write_text(PERSON)
    arguments = {
        'lockstep': 'true', 'run_dir': tmp_path / 'run', 'dashboard': 'false', 'learn': 'false',
        'guidance': tmp_path / 'guidance.yaml', 'person_config': tmp_path / 'person.yaml',
    }  # fmt: skip
    file = str(share('launch', 'sim.launch.yaml'))
    command = [sys.executable, '-m', 'apprentice.cli.main', 'up', '--standalone', file]
    command += [f'{name}:={value}' for name, value in arguments.items()]
    with (tmp_path / 'graph.log').open('wb') as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    yield tmp_path / 'graph.log'
    process.send_signal(signal.SIGINT)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def said(path):
    """Every GuidanceState in a log."""
    reader = LogReader(path)
    return [reader.decode(message) for message in reader.messages({'guide/state'})]


@pytest.mark.timeout(300)
def test_every_grade_of_help_on_the_graph(ros, graph, start_node, tmp_path):
    run = tmp_path / 'run'
    # nothing is learned here: somebody who answers is enough
    ros.node.create_service(SetBool, 'learner/pause', lambda _, response: SetBool.Response(success=True))
    options = {
        'robot': share('robots', 'sim_arm.yaml'), 'run_dir': run, 'trials': 0, 'episodes': EPISODES,
        'guided': 'true', 'task': 'pick up the red cube', 'use_sim_time': 'true', 'wait_for_learner_s': 1.0,
    }  # fmt: skip
    session = start_node(
        'session', *(x for name, value in options.items() for x in ('-p', f'{name}:={value}'))
    )
    assert ros.spin_until(lambda: session.popen.poll() is not None, 240.0), session.output()
    assert session.popen.returncode == 0, session.output() + graph.read_text()[-3000:]

    paths = list(iter_sealed(run / 'episodes'))
    episodes = [read_episode(path, SPEC) for path in paths]
    assert len(episodes) == EPISODES
    states = {episode.episode_id: said(path) for episode, path in zip(episodes, paths, strict=True)}
    within = {name: [state for state in found if state.episode_id == name] for name, found in states.items()}
    grades = {state.grade for found in within.values() for state in found}
    assert {Grade.REPLAY, Grade.RETURN_AND_EXPLORE, Grade.GUIDED_EXPLORE, Grade.TAKEOVER} <= grades

    seeds = [episode.seed for episode in episodes]
    assert 2 <= len(seeds) - len(set(seeds)) <= 7  # returned, and not always

    shown = [e for e in episodes if any(s.advice == AdviceKind.DEMONSTRATE for s in within[e.episode_id])]
    assert shown
    for episode in shown:  # a person pressed, and drove it to its end
        driven = episode.source == int(Source.HUMAN)
        assert driven.any(), episode.source
        assert driven[driven.argmax() :].all(), episode.source

    advised = [e for e in episodes if any(s.advice == AdviceKind.TAKE_OVER for s in within[e.episode_id])]
    taken = [e for e in episodes if e.human_steps and e not in shown]
    assert taken
    assert all(episode in advised for episode in taken)  # nobody takes over who was not advised to
    handed_back = [
        e for e in taken
        if np.any((e.source[:-1] == int(Source.HUMAN)) & (np.isin(e.source[1:], (0, 1, 4))))
    ]  # fmt: skip
    assert handed_back

    # the report counts what the gate executed, and the episodes hold the state of the guide
    trials = json.loads((run / 'report' / 'result.json').read_text())['learning']
    assert sum(trial['interventions'] > 0 for trial in trials) == len(shown) + len(taken)
    guide = Guide(GuidanceConfig.load(tmp_path / 'guidance.yaml'))
    history = History(run / 'episodes', SPEC, guide)
    history.look()
    while history.take():
        pass
    assert len(guide.tries) == EPISODES
