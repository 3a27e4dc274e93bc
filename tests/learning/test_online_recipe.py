# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The default recipe through the learner: critics, consolidation and preferences, published and resumed."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from clone_rig import ALGORITHM, ROBOT, SMALL, make_episode

from apprentice.episodes.episode_writer import write_episode
from apprentice.episodes.lazy_frames import LazyFrames
from apprentice.learning.advantage import AdvantageConfig
from apprentice.learning.dataset import policy_spec
from apprentice.learning.learner import Learner, LearnerConfig
from apprentice.learning.preference.online import OnlinePreference, PreferenceConfig
from apprentice.learning.recipe import find_recipe, load_recipe
from apprentice.learning.rl.choosing import Choosing, load_choosing
from apprentice.learning.rl.features import FeatureConfig
from apprentice.learning.rl.online import OnlineConfig, OnlineCritics
from apprentice.learning.rl.windows import WindowConfig
from apprentice.learning.weights import Published
from apprentice.policies import checkpoint
from apprentice.policies.policy import FlowPolicy
from apprentice.robot.settings import SettingsError
from apprentice.robot.types import Observation, Outcome, Source

SETTINGS = {
    'critic': {'members': 2, 'hidden': [16]},
    'hidden': [16],
    'warm_up': 2,
    'edit_every': 1,
}
ONLINE = OnlineConfig(
    settings=SETTINGS,
    features=FeatureConfig(candidates=2, rows=4, potential=False),
    windows=WindowConfig(rows=4),
    batch=8,
    updates=2,
    warm_up=4,
    act_after=0,
    judge_after=4,
    refresh_every=2,
)
PREFERENCE = PreferenceConfig(every=2, least=2)


@pytest.fixture
def starter(tmp_path):
    torch.manual_seed(0)
    spec = policy_spec([make_episode(i) for i in range(4)], ROBOT, 8)
    checkpoint.save(FlowPolicy(spec, SMALL), tmp_path / 'starter', {'name': 'test'})
    return tmp_path / 'starter'


def mixed(seed: int, outcome: Outcome = Outcome.SUCCESS):
    """The policy drives first, then a person."""
    episode = make_episode(seed, length=16)
    episode.source[:8] = int(Source.POLICY)
    episode.takeover_id[8:] = 1
    return dataclasses.replace(episode, outcome=outcome, episode_id=f'e{seed}')


def alone(seed: int):
    """The policy drives to the end, so that the critics have a say in all steps."""
    return make_episode(seed, length=16, source=Source.POLICY, outcome=Outcome.SUCCESS, episode_id=f'e{seed}')


def make_learner(folder, starter, **changes) -> Learner:
    config = LearnerConfig(
        updates_per_episode=4, warm_up=1, algorithm=ALGORITHM, online=ONLINE, preference=PREFERENCE
    )
    return Learner(ROBOT, folder, starter, dataclasses.replace(config, **changes))


def published_after(learner: Learner, seeds) -> list[Published]:
    """The version that each of the episodes led to."""
    versions = []
    for seed in seeds:
        learner.take(mixed(seed))
        while learner.ready:
            learner.update()
        versions.append(learner.publish())
    return versions


def loaded(version: Published) -> FlowPolicy | Choosing:
    policy, manifest = checkpoint.load(version.folder, version.sha256)
    return load_choosing(version.folder, policy, manifest)


def observation(episode, row: int = 3) -> Observation:
    images = {name: stack[row] for name, stack in episode.images.items()}
    return Observation(1.0, images, episode.state[row], episode.task)


def record(folder, seeds) -> None:
    for seed in seeds:
        write_episode(folder / 'episodes', mixed(seed), ROBOT)


def test_all_parts_learn_and_what_is_published_chooses_as_the_learner_does(tmp_path, starter):
    learner = make_learner(tmp_path / 'run', starter)
    learner.show([make_episode(i) for i in range(4)])
    metrics = {}
    for seed in range(10, 14):
        assert learner.take(mixed(seed))
        while learner.ready:
            metrics |= learner.update()
    assert learner.online.algorithm.steps == 2 * learner.algorithm.steps == 2 * 16
    assert {'critic_loss', 'loss', 'preference_dpo_loss', 'edit_loss'} <= set(metrics)
    assert len(learner.preference) > 2
    published = learner.publish(metrics)
    policy, manifest = checkpoint.load(published.folder, published.sha256)
    loaded = load_choosing(published.folder, policy, manifest)
    assert isinstance(loaded, Choosing)
    seen = observation(mixed(20))
    mine = learner.acting().act(seen, torch.Generator().manual_seed(5))
    np.testing.assert_allclose(loaded.act(seen, torch.Generator().manual_seed(5)), mine, atol=1e-6)
    alone = policy.act(seen, torch.Generator().manual_seed(5))
    assert np.abs(mine[:4] - alone[:4]).max() > 1e-6  # the critics do something


def test_critics_that_have_hardly_learned_do_not_act(starter, tmp_path):
    online = dataclasses.replace(ONLINE, act_after=4)
    config = LearnerConfig(algorithm=ALGORITHM, online=online, warm_up=1, updates_per_episode=2)
    learner = Learner(ROBOT, tmp_path / 'run', starter, config)
    learner.show([make_episode(0)])
    assert isinstance(learner.acting(), FlowPolicy)
    learner.take(mixed(3))
    while learner.ready:
        learner.update()
    assert learner.online.algorithm.steps == 4
    assert isinstance(learner.acting(), Choosing)


def test_damaged_critics_are_refused(tmp_path, starter):
    learner = make_learner(tmp_path / 'run', starter)
    learner.show([make_episode(i) for i in range(4)])
    learner.take(mixed(10))
    learner.update()
    published = learner.publish()
    path = published.folder / 'critics.safetensors'
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(bytes(data))
    policy, manifest = checkpoint.load(published.folder, published.sha256)
    with pytest.raises(checkpoint.CheckpointError, match='damaged'):
        load_choosing(published.folder, policy, manifest)


def test_a_killed_training_goes_on_where_it_was(tmp_path, starter):
    """The action on a fixed observation is the same to 1e-6, nothing is counted twice, and it learns on."""
    record(tmp_path / 'run', range(10, 13))
    learner = make_learner(tmp_path / 'run', starter)
    learner.show([make_episode(i) for i in range(4)])
    learner.ingest()
    for _ in range(5):
        learner.update()
    learner.save()
    again = make_learner(tmp_path / 'run', starter)  # as after kill -9
    again.show([make_episode(i) for i in range(4)])
    assert again.ingest() == []  # nothing is counted twice
    seen = observation(mixed(20))
    assert again.owed == learner.owed == 12 - 5
    for name, gain in learner.online.state_dict().items():
        torch.testing.assert_close(again.online.state_dict()[name], gain, msg=name)
    actions = [one.acting().act(seen, torch.Generator().manual_seed(5)) for one in (learner, again)]
    np.testing.assert_allclose(*actions, atol=1e-6)
    assert not again.update()['skipped']
    assert len(again.preference) == len(learner.preference) > 0


def test_steps_weigh_the_same_after_a_restart(tmp_path, starter):
    """Also of episodes that came before the critics were asked, and when the replay weighs all anew."""
    folder = tmp_path / 'run' / 'episodes'
    for seed in (10, 11):
        write_episode(folder, alone(seed), ROBOT)
    learner = make_learner(tmp_path / 'run', starter)
    learner.show([make_episode(i) for i in range(4)])
    learner.ingest()
    while learner.ready:
        learner.update()
    write_episode(folder, alone(12), ROBOT)
    learner.ingest()
    for _ in range(3):
        learner.update()
    learner.save()
    loading = make_learner(tmp_path / 'run', starter)
    assert set(loading.online.state_dict()) == set(learner.online.state_dict())  # demonstrations, too
    loading.replay.reweigh()
    loading.show([make_episode(i) for i in range(4)])
    mine, its = (
        {e.episode.episode_id: e.chunks.weight for e in one.replay._entries()} for one in (learner, loading)
    )
    assert mine.keys() == its.keys()
    assert len(np.unique(mine['e10'])) == 1 < len(np.unique(mine['e12']))
    for name, weight in mine.items():
        np.testing.assert_allclose(its[name], weight, atol=1e-6, err_msg=name)


def test_what_was_not_judged_stays_so_until_the_refresh(starter):
    policy, _ = checkpoint.load(starter)
    critics = OnlineCritics(policy, dataclasses.replace(ONLINE, judge_after=1))
    critics.add(alone(10))
    before = critics.weigh(alone(10))
    critics.update()
    again = OnlineCritics(policy, dataclasses.replace(ONLINE, judge_after=1))
    again.load_state_dict(critics.state_dict())
    again.add(alone(10))
    np.testing.assert_array_equal(again.weigh(alone(10)), before)
    again.refresh(policy)
    assert np.abs(again.weigh(alone(10)) - before).max() > 1e-6


def test_pairs_look_pictures_up_where_the_episode_has_them(starter):
    policy, _ = checkpoint.load(starter)
    live, episode = OnlinePreference(policy, PREFERENCE), mixed(10)
    assert live.add(episode) > 0
    assert live.add(mixed(11)) > 0
    while live._all is None:
        live.loss(policy)
    assert len(live._all) == len(live)
    for pairs in (live._pairs['e10'], live._all):
        for name, stack in episode.images.items():
            assert isinstance(pairs.images[name], LazyFrames)
            np.testing.assert_array_equal(pairs.images[name][[0]], stack[pairs.step[[0]]])


def test_losers_are_planned_by_the_present_reference(starter):
    """So pairs are the same after a restart, when all of them are made anew."""
    policy, _ = checkpoint.load(starter)
    learned = copy.deepcopy(policy)
    with torch.no_grad():
        learned.expert.leave.bias += 0.5
    live = OnlinePreference(policy, PREFERENCE)
    assert live.add(mixed(10)) > 0
    before = live._pairs['e10'].loser.copy()
    live.refer_to(learned)
    again = OnlinePreference(policy, PREFERENCE)
    again.load_state_dict(live.state_dict())
    again.add(mixed(10))
    np.testing.assert_array_equal(live._pairs['e10'].loser, again._pairs['e10'].loser)
    assert np.abs(live._pairs['e10'].loser[: len(before)] - before[: len(live)]).max() > 1e-3


def test_without_anybody_who_shows_anything_the_critics_learn_first(tmp_path, starter):
    learner = make_learner(tmp_path / 'run', starter)
    alone = [dataclasses.replace(mixed(seed), takeover_id=np.zeros(16, np.int64)) for seed in (3, 4)]
    for episode in alone:
        episode.source[:] = int(Source.POLICY)
        assert learner.take(episode)
    assert learner.replay.empty
    before = learner.algorithm.steps
    metrics = learner.update()
    assert np.isnan(metrics['loss'])
    assert learner.online.algorithm.steps == ONLINE.updates
    assert learner.algorithm.steps == before
    while learner.ready:  # looks again after two episodes, once the critics judge
        learner.update()
    assert learner.owed == 0


def test_what_critics_alone_learned_is_published(tmp_path, starter):
    """Failures alone teach the flow nothing, but critics which candidate to leave."""
    online = dataclasses.replace(ONLINE, act_after=16)
    learner = make_learner(tmp_path / 'run', starter, online=online)
    due = []
    for seed in (3, 4, 5):
        learner.take(dataclasses.replace(alone(seed), outcome=Outcome.FAILURE))
        while learner.ready:
            learner.update()
        due.append(learner.publish_due)
    assert due == [False, True, True]
    assert learner.algorithm.steps == 0
    learner.save()
    assert make_learner(tmp_path / 'run', starter, online=online).publish_due  # also after a restart
    assert isinstance(loaded(learner.publish()), Choosing)
    assert not learner.publish_due


def test_a_rollback_to_before_the_critics_acted_takes_them_away(tmp_path, starter):
    online = dataclasses.replace(ONLINE, act_after=6)
    config = LearnerConfig(algorithm=ALGORITHM, online=online, warm_up=1, updates_per_episode=2)
    learner = Learner(ROBOT, tmp_path / 'run', starter, config)
    learner.show([make_episode(0)])
    versions = published_after(learner, (3, 4))
    assert isinstance(loaded(versions[0]), FlowPolicy)
    assert isinstance(loaded(versions[1]), Choosing)
    assert isinstance(learner.acting(), Choosing)
    back = learner.rollback()
    assert isinstance(loaded(back), FlowPolicy)
    assert isinstance(learner.acting(), FlowPolicy)
    assert learner.online.algorithm.steps == 4


def test_a_rollback_takes_the_critics_back_too(tmp_path, starter):
    learner = make_learner(tmp_path / 'run', starter)
    learner.show([make_episode(i) for i in range(4)])
    versions = published_after(learner, (10, 11))
    seen = observation(mixed(20))

    def published(version):
        return loaded(version).act(seen, torch.Generator().manual_seed(5))

    first, second = (published(version) for version in versions)
    assert np.abs(first - second).max() > 1e-6
    back = learner.rollback()
    np.testing.assert_allclose(published(back), first, atol=1e-6)
    np.testing.assert_allclose(learner.acting().act(seen, torch.Generator().manual_seed(5)), first, atol=1e-6)
    # nobody waited for the candidates of that policy: they come before the next update, also after a restart
    assert make_learner(tmp_path / 'run', starter).online.refresh_due
    assert learner.online.refresh_due
    learner.update()
    assert not learner.online.refresh_due


def test_a_rollback_within_a_refresh_counts_at_once(tmp_path, starter):
    learner = make_learner(tmp_path / 'run', starter)
    learner.show([make_episode(i) for i in range(4)])
    first, _ = published_after(learner, (10, 11))
    done = []

    def breathe():
        if not done:
            done.append(learner.rollback())

    learner.breathe = breathe
    learner.online.outdate()
    learner.update()
    assert done[0].about['name'] == f'rollback to {first.version}'
    assert learner.online.refresh_due  # the candidates in between are of the policy before
    seen = observation(mixed(20))
    learner.update()
    again = make_learner(tmp_path / 'run', starter).acting()
    back, stored = (one.act(seen, torch.Generator().manual_seed(5)) for one in (loaded(done[0]), again))
    np.testing.assert_allclose(stored, back, atol=1e-6)


def test_without_demonstrations_the_first_episodes_fit_the_features(tmp_path, starter):
    features = dataclasses.replace(ONLINE.features, kind='tokens', components=6)
    online = dataclasses.replace(ONLINE, features=features)
    record(tmp_path / 'run', range(10, 13))
    learner = make_learner(tmp_path / 'run', starter, online=online)
    assert isinstance(learner.acting(), FlowPolicy)  # nothing is known yet that critics could look at
    assert len(learner.ingest()) == 3
    assert isinstance(learner.acting(), Choosing)
    # 16 steps, every fifth is looked at: two episodes are enough
    assert learner.online.buffer.episodes == 3
    assert len(learner.online.buffer) > 0
    assert not learner.update()['skipped']


def test_rewards_that_are_not_believed_any_more_leave_success_alone(tmp_path, starter):
    learner = make_learner(tmp_path / 'run', starter)
    learner.show([make_episode(i) for i in range(4)])
    learner.take(mixed(10))
    before = learner.online.buffer.of('e10')[1].reward.clone()
    learner.online.believe(AdvantageConfig(shaping_weight=0.0))
    after = learner.online.buffer.of('e10')[1].reward
    assert len(before) == len(after)
    assert int((after > 0).sum()) <= 2  # the windows that hold the success
    assert float(after.max()) > 0.9


def test_numbers_that_are_not_finite_stop_learning(tmp_path, starter):
    learner = make_learner(tmp_path / 'run', starter)
    learner.show([make_episode(i) for i in range(4)])
    learner.take(mixed(10))
    assert learner.ready
    far = mixed(11)
    far.action[5] += 1e6  # finite, and no arm is there
    learner.take(far)
    assert 'far out' in learner.alarm
    assert not learner.ready


def test_a_run_that_began_without_critics_says_which_recipe_goes_on(tmp_path, starter):
    Learner(ROBOT, tmp_path / 'run', starter, LearnerConfig(algorithm=ALGORITHM)).save()
    with pytest.raises(ValueError, match='weighted_flow where there were no critics'):
        Learner(ROBOT, tmp_path / 'run', starter, LearnerConfig(online=ONLINE, algorithm=ALGORITHM))


def test_recipes(tmp_path):
    config = load_recipe('flow_edit', LearnerConfig(updates_per_episode=7))
    assert config.updates_per_episode == 7
    assert config.online.settings['critic']['members'] == 4
    assert config.preference is not None
    assert load_recipe('').online is None
    plain = load_recipe('weighted_flow', config)
    assert (plain.online, plain.preference, plain.updates_per_episode) == (None, None, 7)
    path = tmp_path / 'mine.yaml'
    path.write_text('online: {part: "apprentice.learning.rl.q_chunking:QChunking", updats: 3}\n')
    with pytest.raises(SettingsError, match=r'mine.yaml.*updats'):
        load_recipe(str(path))
    with pytest.raises(FileNotFoundError, match='flow_edit'):
        find_recipe('floe_edit')
