# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Preferences by the critics of a published version, and step rewards from two opposite instructions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from clone_rig import ROBOT, make_episode
from preference_rig import HORIZON, make_pairs, make_policy, save_policy

from apprentice.cli.main import main
from apprentice.episodes.episode_writer import write_episode
from apprentice.learning.clone import training_folder
from apprentice.learning.preference.candidates import moment_generator
from apprentice.learning.preference.contrast import ContrastConfig, ContrastivePairs
from apprentice.learning.preference.critic import published_critics
from apprentice.learning.preference.guidance import contrastive_steps
from apprentice.learning.preference.pairs import PairError
from apprentice.learning.preference.store import PairStore
from apprentice.learning.rl.features import FeatureConfig, compose
from apprentice.learning.rl.online import OnlineConfig, OnlineCritics
from apprentice.learning.rl.windows import WindowConfig
from apprentice.policies import checkpoint
from apprentice.policies.flow import sample_time
from apprentice.policies.policy import inputs_of
from apprentice.policies.prefix import Inputs
from apprentice.robot.settings import SettingsError
from apprentice.robot.types import Observation, Outcome

ROWS = 4
ONLINE = OnlineConfig(
    act_after=0,
    settings={'critic': {'members': 3, 'hidden': [16]}, 'hidden': [16]},
    features=FeatureConfig(candidates=2, rows=ROWS, potential=False),
    windows=WindowConfig(rows=ROWS, duration_s=2.0),
)
WORDS = ['steps=1', 'algorithm.batch=4', 'algorithm.draws=1', 'validation=0', 'device=cpu', 'warm_up=1']


def critics_of(policy) -> OnlineCritics:
    return OnlineCritics(policy, ONLINE, seed=3)


@pytest.fixture
def starter(tmp_path) -> Path:
    return save_policy(tmp_path / 'starter')


@pytest.fixture
def version(tmp_path) -> Path:
    """A version as a learner publishes it: a policy, and critics beside it."""
    policy = make_policy()
    checkpoint.save(policy, tmp_path / 'v000007', {}, critics_of(policy).beside())
    return tmp_path / 'v000007'


def command(logs: Path, starter: Path, *options) -> list[str]:
    given = ['--data', str(logs), '--policy', str(starter), '--every', '4', '--candidates', '4']
    return ['train', 'dpo', *given, *(str(option) for option in options)]


@pytest.fixture
def logs(tmp_path) -> Path:
    for number in range(2):
        outcome = Outcome.FAILURE if number else Outcome.SUCCESS
        write_episode(tmp_path / 'logs', make_episode(number, outcome=outcome), ROBOT)
    return tmp_path / 'logs'


def test_published_critics_say_what_the_learner_s_do(version):
    policy, episode = make_policy(), make_episode(2)
    choosing, identity = published_critics(version, ROBOT, policy)
    assert identity == checkpoint.sha256(version / checkpoint.MANIFEST)
    assert choosing.rows == ROWS
    seen = Observation(1.0, {n: s[3] for n, s in episode.images.items()}, episode.state[3], episode.task)
    chunks = episode.action[3] + np.random.default_rng(0).normal(0, 0.1, (5, HORIZON, 7)).astype(np.float32)
    online = critics_of(policy)
    inputs = inputs_of([seen], policy.spec)
    feature = online.encoder.summary(policy.encode(inputs))
    state = policy.normalize_state(inputs.state)
    half = compose(feature, state, torch.zeros(1), torch.tensor([0.5]))  # 1 s of 2
    judged = policy.normalize_actions(torch.from_numpy(chunks), inputs.state.expand(5, -1))[None, :, :ROWS]
    expected = online.algorithm.critics.values(half, judged)[:, 0].detach().numpy()
    found = choosing.values(seen, chunks, 1.0)
    assert found.shape == (3, 5)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(found - choosing.values(seen, chunks, 0.0)).max() > 1e-5


def test_the_command_takes_critics_for_successes_and_failures(starter, version, logs, tmp_path, capsys):
    out = tmp_path / 'out'
    options = ['--pairs-by', 'critic', '--critic', version, '--sigmas', '0', '--out', out, *WORDS]
    assert main(command(logs, starter, *options)) == 0
    assert '6 pairs of 2 episodes' in capsys.readouterr().out
    assert f'--critic {version}' in (out / 'train.yaml').read_text()
    store = PairStore(training_folder(out) / 'pairs')
    assert store.settings['ranker']['critic'] == checkpoint.sha256(version / checkpoint.MANIFEST)
    pairs = store.read()
    assert set(pairs.source) == {'critic'}
    assert pairs.valid.sum(1).tolist() == [4] * 6  # the rows that critics judge
    # and they say so of each pair
    choosing, _ = published_critics(version, ROBOT, make_policy())
    for i, o in enumerate(pairs.observation):
        images = {name: stack[o] for name, stack in pairs.images.items()}
        seen = Observation(0.0, images, pairs.state[o], pairs.text[o])
        both = np.stack([pairs.winner[i], pairs.loser[i]])
        better, worse = choosing.values(seen, both, 0.1 * pairs.step[o]).mean(0)
        assert better - worse == pytest.approx(pairs.margin[i], rel=1e-3, abs=1e-6)


def test_critics_that_cannot_judge_are_named(starter, version, logs, tmp_path, capsys):
    by, out = ['--pairs-by', 'critic'], ['--out', tmp_path / 'out']
    for options, message in (
        (by, 'needs --critic FOLDER'),
        ([*by, '--critic', tmp_path / 'nowhere'], 'no policy in'),
        ([*by, '--critic', starter], 'holds a policy without critics'),
        (['--pairs-by', 'deviation', '--critic', version], '--critic is for --pairs-by critic'),
    ):
        assert main(command(logs, starter, *options, *out)) == 2
        assert message in capsys.readouterr().err
    other = make_policy()
    object.__setattr__(other.spec, 'robot', 'another_arm')
    checkpoint.save(other, tmp_path / 'other', {}, critics_of(other).beside())
    assert main(command(logs, starter, *by, '--critic', tmp_path / 'other', *out)) == 2
    assert 'another_arm' in capsys.readouterr().err
    short = make_policy()
    object.__setattr__(short.spec, 'horizon', ROWS - 1)
    with pytest.raises(PairError, match='judge 4 rows'):
        published_critics(version, ROBOT, short)
    assert not (tmp_path / 'out').exists()


# step rewards from two opposite instructions


class Given:
    """A builder that gives the same pairs always."""

    def settings(self):
        return {'builder': 'given'}

    def build(self, episodes):
        return make_pairs(7, 3)


def test_contrast_gives_each_moment_its_own_noise_and_both_chunks_the_same():
    policy, config = make_policy(), ContrastConfig(draws=2)
    builder = ContrastivePairs(Given(), policy, config, 'me')
    assert builder.settings()['contrast'] == {**vars(config), 'policy': 'me'}
    pairs = builder.build([])
    assert len(pairs) == 21  # more than are judged together
    alone = ContrastivePairs(Given(), policy, config, 'me')
    alone.builder.build = lambda episodes: make_pairs(7, 3).select([20])
    np.testing.assert_allclose(alone.build([]).loser_steps[0], pairs.loser_steps[20], atol=1e-5)
    # by hand
    o = pairs.observation[20]
    inputs = Inputs(
        {n: torch.from_numpy(s[o : o + 1]) for n, s in pairs.images.items()},
        torch.from_numpy(pairs.state[o : o + 1]),
        [pairs.text[o]],
    )
    generator = moment_generator(0, pairs.episode[o], int(pairs.step[o]))
    noise = torch.randn(1, 2, HORIZON, 7, generator=generator)
    time = sample_time((2, 1), generator, policy.config.time_alpha)[None]
    for chunk, found in ((pairs.winner, pairs.winner_steps), (pairs.loser, pairs.loser_steps)):
        expected = contrastive_steps(policy, inputs, torch.from_numpy(chunk[20:]), noise, time)
        np.testing.assert_allclose(found[20], expected[0].numpy(), atol=1e-5)
    assert np.abs(pairs.winner_steps).max() > 0
    with pytest.raises(SettingsError, match='draws'):
        ContrastConfig(draws=0)


def test_the_command_trains_with_contrast(starter, logs, tmp_path, capsys):
    out = tmp_path / 'out'
    options = ['--pairs-by', 'deviation', '--contrast', '--out', out, *WORDS]
    assert main(command(logs, starter, *options)) == 2
    assert 'add algorithm.guidance=treg' in capsys.readouterr().err
    assert main(command(logs, starter, *options, 'algorithm.guidance=treg')) == 0
    assert '--contrast' in (out / 'train.yaml').read_text()
    store = PairStore(training_folder(out) / 'pairs')
    assert store.settings['contrast']['policy'] == checkpoint.sha256(starter / checkpoint.MANIFEST)
    assert np.isfinite(store.read().winner_steps).all()
    none = ['--pairs-by', 'none', '--pairs', store.folder, '--contrast', 'algorithm.guidance=treg']
    assert main(command(logs, starter, *none, '--out', tmp_path / 'again')) == 2
    assert 'needs a builder' in capsys.readouterr().err
