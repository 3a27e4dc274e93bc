# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The code that README and docs show, run."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from apprentice.cli.launch_file import load
from apprentice.robot.spec import RobotSpec

ROOT = Path(__file__).resolve().parents[1]
SIM_ARM = ROOT / 'robots' / 'sim_arm.yaml'


def python_blocks(document: str) -> list[str]:
    """The fenced blocks of Python."""
    text = (ROOT / document).read_text()
    return re.findall(r'^```python\n(.*?)^```', text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(
    ('document', 'place'),
    [
        (document, place)
        for document in ('docs/simulation.md', 'docs/robots.md')
        for place in range(len(python_blocks(document)))
    ],
)
def test_python_blocks_run(document, place):
    code = python_blocks(document)[place]
    if 'gymnasium' in code:
        pytest.importorskip('gymnasium')
    names: dict = {}
    try:
        exec(compile(code, f'{document}, block {place}', 'exec'), names)
        if document == 'docs/robots.md':
            assert names['info']['instruction'] == 'pick up the red cube'
            assert names['observation']['front'].shape == (64, 64, 3)
            assert names['batch']['state'].shape == (4, 7)
    finally:
        for made in ('env', 'envs'):
            if made in names:
                names[made].close()


# docs/extending.md


@pytest.fixture
def snippets(tmp_path, monkeypatch) -> dict[str, Path]:
    """The fenced blocks of docs/extending.md, as the files that their first line names."""
    files = {}
    block = re.compile(r'^```\w+\n# (\S+)\n(.*?)^```', re.DOTALL | re.MULTILINE)
    for name, body in block.findall((ROOT / 'docs' / 'extending.md').read_text()):
        files[name] = tmp_path / name
        files[name].write_text(body)
    monkeypatch.syspath_prepend(tmp_path)
    return files


def test_snippet_robot(snippets):
    spec = RobotSpec.load(snippets['my_arm.yaml'])
    assert spec.gripper_mask[-1]


def test_snippet_reward_model(snippets):
    from apprentice.reward_models.base import PairCritic, RewardModel
    from apprentice.reward_models.online import score_episode
    from apprentice.robot.parts import load_part

    model = load_part('my_rewards:Brightness').load('')
    assert isinstance(model, RewardModel)
    assert not isinstance(model, PairCritic)
    frames = np.stack([np.full((2, 8, 8, 3), 51 * i, np.uint8) for i in range(3)])
    rewards = score_episode(model, frames, [0.0, 0.5, 1.0], 'anything')
    assert [r.value for r in rewards] == pytest.approx([0.0, 0.2, 0.4])
    # what the text says: single frames get no progress, and the learner reads nothing else
    assert all(r.valid and np.isnan(r.progress) for r in rewards)


def test_snippet_person_and_task(snippets):
    from apprentice.robot.parts import load_part
    from apprentice.sim.world import World

    data = yaml.safe_load(SIM_ARM.read_text())
    data['simulator']['task'] = 'my_tasks:PickRed'
    world = World(RobotSpec.from_dict(data))
    assert {world.reset(seed) for seed in range(3)} == {'pick up the red cube'}
    person = load_part('my_people:Impatient')(world.expert(), seed=1)
    person.reset(5.0)
    assert not person.wants_control(6.0, 0.0)
    assert person.wants_control(7.5, 0.0)
    assert person.act(world.state(), world.objects(), world.instruction).shape == (7,)


def test_snippet_launch_file(snippets):
    environment = {**os.environ, 'AMENT_PREFIX_PATH': ''}
    plan = load(snippets['my.launch.yaml'], {}, environment)
    added = plan.processes[-1]
    assert added.name == 'reward_brightness'
    assert 'my_rewards:Brightness' in ' '.join(added.command)
    assert len(plan.processes) > 9
