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
    return all(isinstance(stack.base, np.memmap) for stack in episode.images.values())


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


def open_files(folder) -> int:
    """Of this process, by what is mapped."""
    with open('/proc/self/maps') as maps:
        return sum(str(folder) in line and 'deleted' in line for line in maps)


def test_the_disk_is_free_again_when_nobody_holds_the_episode(tmp_path):
    store, episode = FrameStore(tmp_path, limit=0), make_episode(0)
    kept, descriptors = store.keep(episode), len(os.listdir('/proc/self/fd'))
    assert open_files(tmp_path) == len(episode.images)
    store.keep(make_episode(1))
    assert len(os.listdir('/proc/self/fd')) == descriptors  # of a thousand episodes none stays open
    del kept
    gc.collect()
    assert open_files(tmp_path) == 0


def test_pictures_of_a_file_or_decoded_when_used_stay_as_they_are(tmp_path):
    store = FrameStore(tmp_path, limit=0)
    kept = store.keep(make_episode(0))
    assert store.keep(kept).images == kept.images
    lazy = replace(kept, images={name: memoryview(stack) for name, stack in kept.images.items()})
    assert store.keep(lazy).images == lazy.images


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
    assert learner.take(episodes[4])
    assert np.isfinite([learner.update()['loss'] for _ in range(8)]).all()
    assert learner.publish() is not None
    held = [entry.chunks for entry in learner.replay._entries()]
    assert {stack.shape[1:] for chunks in held for stack in chunks.images.values()} == {(66, 100, 3)}
    seen = [image.shape for one in learner.admission.probe.observations for image in one.images.values()]
    assert set(seen) == {(200, 300, 3)}


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
