# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The learner's updates in two processes with half of a batch each are those of one with the whole."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from clone_rig import ALGORITHM, ROBOT, SMALL, make_episode, process_environment, torchrun
from safetensors.torch import load_file
from small_problems import BANDIT, bandit
from test_online_recipe import ONLINE, PREFERENCE, record

from apprentice.episodes.episode_writer import write_episode
from apprentice.episodes.labels import iter_sealed
from apprentice.learning import snapshot
from apprentice.learning.dataset import policy_spec
from apprentice.learning.distributed import Ranks
from apprentice.learning.follower_processes import started
from apprentice.learning.leader import LeadingLearner
from apprentice.learning.learner import Learner, LearnerConfig
from apprentice.learning.rl.base import make
from apprentice.policies import checkpoint
from apprentice.policies.policy import FlowPolicy

CRITIC = {'members': 3, 'hidden': [16, 16]}
ALGORITHMS = [
    ('q_chunking:QChunking', {}),
    ('flow_edit:FlowEdit', {'warm_up': 1, 'edit_every': 1, 'hidden': [16]}),
    ('rlpd_sac:RlpdSac', {'gripper': [0], 'actor_every': 1, 'hidden': [16]}),
    ('dsrl:Dsrl', {'hidden': [16]}),
]
CONFIG = LearnerConfig(
    updates_per_episode=4, warm_up=1, algorithm=ALGORITHM, online=ONLINE, preference=PREFERENCE
)
UPDATES, WITHOUT_NUMBER = 5, 3  # updates, and which of them has a reward that is not a number


def trained(name: str, ranks: Ranks) -> dict[str, torch.Tensor]:
    """State after some updates; at one of them the second half of the batch cannot be learned from."""
    torch.set_num_threads(1)
    settings = {'critic': CRITIC, **dict(ALGORITHMS)[name]}
    algorithm = make(f'apprentice.learning.rl.{name}', BANDIT, settings)
    algorithm.join(ranks)
    g = torch.Generator().manual_seed(1)
    for number in range(UPDATES):
        batch = bandit(16, g)
        if number == WITHOUT_NUMBER:
            batch.reward[-1] = float('nan')
        metrics = algorithm.update(batch)
        assert metrics['skipped'] == float(number == WITHOUT_NUMBER)
    return algorithm.state_dict()


def joined(folder: Path, ranks: Ranks) -> Learner:
    """The learner of the run in ``folder``, of the first process or of the only one."""
    torch.set_num_threads(1)
    make = LeadingLearner if ranks.world > 1 else Learner
    learner = make(ROBOT, folder / 'run', folder / 'starter', CONFIG, ranks=ranks)
    learner.demonstrate(list(iter_sealed(folder / 'shown')))
    learner.ingest()
    return learner


def updated(learner: Learner, count: int) -> dict[str, torch.Tensor]:
    """What is trained, after ``count`` more updates."""
    for _ in range(count):
        assert learner.ready
        assert learner.update()['skipped'] == 0
    critics = learner.online.algorithm.state_dict()
    return {**snapshot.tensors_of(learner.algorithm), **{f'online.{k}': v for k, v in critics.items()}}


def run(folder: Path) -> None:
    """A run with a starter and two episodes."""
    torch.manual_seed(0)
    spec = policy_spec([make_episode(i) for i in range(4)], ROBOT, 8)
    checkpoint.save(FlowPolicy(spec, SMALL), folder / 'starter', {'name': 'test'})
    for number in range(4):
        write_episode(folder / 'shown', make_episode(number), ROBOT)
    record(folder / 'run', [10, 11])


@pytest.fixture(scope='module')
def two(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('two')
    run(folder)
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    environment = process_environment()
    environment['PYTHONPATH'] += f':{Path(__file__).parents[1]}'
    script = str(Path(__file__).with_name('learner_in_two.py'))
    command = torchrun(2, port, script, str(folder))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def compare(theirs: dict[str, torch.Tensor], mine: dict[str, torch.Tensor]) -> None:
    assert theirs.keys() == mine.keys()
    for key, tensor in mine.items():
        torch.testing.assert_close(theirs[key], tensor, rtol=0, atol=1e-5, msg=f'{key} differs')


@pytest.mark.xdist_group('learner_in_two')
@pytest.mark.parametrize('name', [name for name, _ in ALGORITHMS])
def test_half_of_a_batch_each_is_the_whole_of_it(name, two):
    """Also for a step that only one of them could not make: both leave it out."""
    mine = trained(name, Ranks())
    assert int(mine['steps']) == UPDATES
    compare(load_file(two / f'{name.partition(":")[0]}.safetensors'), mine)


@pytest.mark.xdist_group('learner_in_two')
def test_the_learner_in_two_processes_is_the_learner(two, tmp_path):
    """Flow, critics and preferences, from recorded episodes; the first process alone has written."""
    for name in ('starter', 'shown'):
        shutil.copytree(two / name, tmp_path / name)
    record(tmp_path / 'run', [10, 11])
    learner = joined(tmp_path, Ranks())
    before = {name: tensor.clone() for name, tensor in snapshot.tensors_of(learner.algorithm).items()}
    mine = updated(learner, 6)
    moved = [float((mine[name] - tensor).abs().max()) for name, tensor in before.items() if name in mine]
    assert max(moved) > 1e-4
    compare(load_file(two / 'learner.safetensors'), mine)


def killed(folder: Path, victim: str) -> tuple[int, str]:
    """Steps that a learner in two processes began with, and what it said after one of them was killed."""
    environment = process_environment()
    environment['PYTHONPATH'] += f':{Path(__file__).parents[1]}'
    command = [sys.executable, str(Path(__file__).with_name('killed_pair.py')), str(folder)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as pair:
        assert pair.stdout is not None
        words = pair.stdout.readline().split()
        assert len(words) == 2, pair.stdout.read().decode()
        other, begin = psutil.Process(int(words[0])), int(words[1])
        (other if victim == 'other' else pair).kill()
        text = pair.stdout.read().decode()  # until both have ended
        pair.wait(60)
    end = time.monotonic() + 20
    while other.is_running() and other.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end, f'the other one lives on: {text}'
        time.sleep(0.05)
    return begin, text


@pytest.mark.slow
@pytest.mark.xdist_group('learner_in_two')
def test_it_goes_on_after_one_of_the_two_was_killed(two, tmp_path):
    """Neither lives on alone; from the snapshot they learn what an uninterrupted learner does."""
    for name in ('starter', 'shown'):
        shutil.copytree(two / name, tmp_path / name)
    record(tmp_path / 'run', [10, 11])
    begin, text = killed(tmp_path, 'first')
    assert begin == 0
    assert 'has ended' in text
    begin, text = killed(tmp_path, 'other')
    assert begin == 3
    assert 'RanksApart: another process of this training has ended' in text
    assert 'start the learner again: it goes on from its snapshot' in text
    assert not (tmp_path / 'run' / 'weights').exists()
    compare(load_file(tmp_path / 'resumed.safetensors'), load_file(two / 'learner.safetensors'))


def test_a_batch_that_cannot_be_cut_evenly_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r'online\.batch is 8, which 3 processes.*a multiple of it'):
        LeadingLearner(ROBOT, tmp_path, tmp_path, CONFIG, ranks=Ranks(0, 3))
    algorithm = make('apprentice.learning.rl.q_chunking:QChunking', BANDIT, {'critic': CRITIC})
    algorithm.join(Ranks(0, 2))
    with pytest.raises(ValueError, match='15 transitions cannot be cut evenly into 2'):
        algorithm.update(bandit(15, torch.Generator().manual_seed(0)))


@pytest.mark.skipif(torch.cuda.device_count() > 1, reason='there are two GPUs')
def test_too_few_gpus_are_told_before_any_process_is_started():
    with pytest.raises(ValueError, match=r'is not there, PyTorch sees \d GPUs'), started(2, 'cuda'):
        pass
