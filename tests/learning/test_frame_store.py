# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Pictures that do not fit into memory are on disk, and nothing else changes."""

import functools
import gc
import logging
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from clone_rig import ALGORITHM, ROBOT, SMALL, make_episode

from apprentice.episodes.lazy_frames import LazyFrames
from apprentice.learning import frame_store
from apprentice.learning.dataset import policy_spec
from apprentice.learning.frame_store import FrameStore
from apprentice.learning.learner import Learner, LearnerConfig
from apprentice.learning.probe_set import ProbeConfig
from apprentice.learning.recipe import load_recipe
from apprentice.policies import checkpoint
from apprentice.policies.policy import FlowPolicy
from apprentice.robot.types import Outcome


def mapped(episode) -> bool:
    """Whether the pictures are in mapped files: numbers of a tensor, which nothing else here makes."""
    return all(stack.base is not None for stack in episode.images.values())


def size(episode) -> int:
    return sum(stack.nbytes for stack in episode.images.values())


def test_what_takes_too_much_memory_goes_to_a_file_without_a_name(tmp_path, caplog):
    first, second, third = (make_episode(i) for i in range(3))
    store = FrameStore(tmp_path / 'run', limit=2 * size(first))
    with caplog.at_level(logging.INFO):
        assert not mapped(store.keep(first))
        assert not mapped(store.keep(second))
        kept = store.keep(third)
        kept_too = store.keep(make_episode(4))
    assert mapped(kept)
    assert mapped(kept_too)
    assert sum('go to the disk' in record.message for record in caplog.records) == 1
    for name, stack in third.images.items():
        np.testing.assert_array_equal(kept.images[name], stack)
    assert kept.state is third.state
    assert list((tmp_path / 'run').iterdir()) == []
    # read again, e.g. with a label: in place of the earlier one
    assert not mapped(store.keep(replace(first)))
    assert store.in_memory == 2 * size(first)


def test_the_disk_is_free_again_when_nobody_holds_the_episode(tmp_path):
    store, descriptors = FrameStore(tmp_path, limit=0), len(os.listdir('/proc/self/fd'))
    kept = [store.keep(make_episode(i)) for i in range(20)]
    assert mapped_files(tmp_path) == sum(len(each.images) for each in kept)
    assert len(os.listdir('/proc/self/fd')) == descriptors  # a process may have 1024
    del kept
    gc.collect()
    assert mapped_files(tmp_path) == 0


def mapped_files(folder) -> int:
    """Files without a name of a folder that this process has mapped."""
    with open('/proc/self/maps') as maps:
        return sum(str(folder) in line and 'deleted' in line for line in maps)


def test_pictures_that_are_decoded_when_used_stay_so_and_are_downsampled_then(tmp_path):
    episode, decoded = make_episode(0), []

    def lazy(stack):
        return LazyFrames(stack.shape, lambda rows: decoded.append(len(rows)) or stack[rows])

    images = {name: lazy(stack) for name, stack in episode.images.items()}
    store = FrameStore(tmp_path, lambda stack: stack[:, ::2, ::4], limit=0)
    kept = store.keep(replace(episode, images=images))
    assert not decoded
    for name, stack in episode.images.items():
        assert kept.images[name].shape == stack[:, ::2, ::4].shape
        np.testing.assert_array_equal(kept.images[name][2:5], stack[2:5, ::2, ::4])
    assert set(decoded) == {3}


def test_a_full_disk_is_said_with_a_remedy(tmp_path, monkeypatch):
    full = functools.partial(open, '/dev/full', 'w+b')
    monkeypatch.setattr(frame_store.tempfile, 'TemporaryFile', lambda dir: full())
    with pytest.raises(OSError, match=r'No space left.*Free space there, or give another run folder'):
        FrameStore(tmp_path, limit=0).keep(make_episode(0))


def test_of_large_pictures_a_learner_keeps_what_its_policy_sees(tmp_path):
    """The probe set, which acts, gets them whole; a late label is taken over as ever."""
    robot = replace(ROBOT, cameras=tuple(replace(c, width=300, height=200) for c in ROBOT.cameras))
    episodes = [large(make_episode(i, length=40), robot) for i in range(5)]
    torch.manual_seed(0)
    checkpoint.save(
        FlowPolicy(policy_spec(episodes, robot, 8), SMALL), tmp_path / 'starter', {'name': 'test'}
    )
    config = LearnerConfig(
        updates_per_episode=4, warm_up=1, algorithm=ALGORITHM, probe=ProbeConfig(held_out=1)
    )
    config = load_recipe('flow_edit', config)
    features = replace(config.online.features, components=8)
    config = replace(config, online=replace(config.online, batch=8, warm_up=2, features=features))
    learner = Learner(robot, tmp_path / 'run', tmp_path / 'starter', config)
    assert learner.show(episodes[:3]) == 2
    assert learner.take(episodes[3])
    assert learner.take(replace(episodes[3], outcome=Outcome.FAILURE))
    assert learner.replay._online[episodes[3].episode_id].episode.outcome == Outcome.FAILURE
    assert learner.take(episodes[4])
    assert np.isfinite([learner.update()['loss'] for _ in range(8)]).all()
    assert learner.publish() is not None
    held = [entry.chunks for entry in learner.replay._entries()]
    assert {stack.shape[1:] for chunks in held for stack in chunks.images.values()} == {(66, 100, 3)}
    probe = learner.admission.probe
    seen = [image.shape for one in probe.observations for image in one.images.values()]
    assert set(seen) == {(200, 300, 3)}
    # what is not learned from is asked about first, and its loss is that of what training would see
    np.testing.assert_array_equal(probe.observations[0].state, episodes[2].state[0])
    (held_out,) = probe._held_out
    assert {stack.shape[1:] for stack in held_out.images.values()} == {(66, 100, 3)}


def large(episode, robot):
    """With pictures of the size that ``robot`` has."""
    rng = np.random.default_rng(episode.seed)
    sizes = {c.name: (len(episode), c.height, c.width, 3) for c in robot.cameras}
    return replace(episode, images={n: rng.integers(0, 255, s, dtype=np.uint8) for n, s in sizes.items()})


@pytest.mark.parametrize('recipe', ['weighted_flow', 'flow_edit'])
def test_a_learner_learns_the_same_from_disk(tmp_path, monkeypatch, recipe):
    torch.manual_seed(0)
    spec = policy_spec([make_episode(i) for i in range(4)], ROBOT, 8)
    checkpoint.save(FlowPolicy(spec, SMALL), tmp_path / 'starter', {'name': 'test'})
    config = load_recipe(recipe, LearnerConfig(updates_per_episode=4, warm_up=1, algorithm=ALGORITHM))
    if config.online is not None:
        features = replace(config.online.features, components=8)
        config = replace(config, online=replace(config.online, batch=8, warm_up=2, features=features))

    def learn(name: str, share: float) -> tuple[Learner, list[float]]:
        monkeypatch.setattr(frame_store, 'MEMORY_SHARE', share)
        learner = Learner(ROBOT, tmp_path / name, tmp_path / 'starter', config)
        assert learner.show([make_episode(i, length=40) for i in range(3)]) > 0
        assert all(learner.take(make_episode(i, length=40)) for i in (10, 11))
        return learner, [learner.update()['loss'] for _ in range(8)]

    (here, losses), (there, as_well) = learn('memory', 0.25), learn('disk', 0.0)
    assert losses == as_well
    for one, other in zip(here.algorithm.policy.parameters(), there.algorithm.policy.parameters()):
        assert torch.equal(one, other)
    held = [entry.chunks for learner in (here, there) for entry in learner.replay._online.values()]
    assert [mapped(chunks) for chunks in held] == [False, False, True, True]
