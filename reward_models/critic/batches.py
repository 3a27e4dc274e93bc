# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Batches for the progress critic: which frames, under which instruction, with what label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from apprentice.reward_models.base import Episodes
from apprentice.reward_models.critic.critic import REFERENCE
from apprentice.reward_models.critic.eyes import Eye
from apprentice.reward_models.critic.instructions import SLOTS, parse

_SHORTEST = 0.35  # share of a demonstration that is a task of its own
_COLOUR_WORDS = [f'colour{i + 1}' for i in range(SLOTS)]


@dataclass(frozen=True)
class CriticTraining:
    """Settings of the training.

    Attributes:
        episodes: in a batch.
        frames: drawn from each of them; all their pairs are compared.
        mismatch: share of the successes that are shown with an instruction that is wrong.
        in_context: share of the episodes with a demonstration in context.
        unsaid: share of these (without wrong instructions) whose request is in words that nobody knows.
        goals: share of these again in which the demonstration in context shows something else than the
            request: a piece from its start on, or all of it backwards. Only who looks at it knows what is
            wanted then, as with a new task.
        forget: share of the words that are not read, of all requests.
        not_done_until: share of a success before which it is certainly not done.
        still: mean difference of two embeddings below which nothing has happened between them.
        ceiling: progress that a failed attempt surely does not exceed.
    """

    seed: int = 0
    steps: int = 700
    episodes: int = 16
    frames: int = 8
    members: int = 2
    width: int = 96
    learning_rate: float = 2e-3
    mismatch: float = 0.3
    in_context: float = 0.5
    unsaid: float = 0.5
    goals: float = 0.0
    forget: float = 0.1
    not_done_until: float = 0.85
    still: float = 0.004
    ceiling: float = 0.7


@dataclass
class Batch:
    """E episodes of K frames, and a demonstration of R frames for each of the C that have one in context."""

    views: torch.Tensor  # [E, K, V * D]
    text: torch.Tensor  # [E, T]
    progress: torch.Tensor  # [E, K]
    done: torch.Tensor  # [E, K], NaN unknown
    good: torch.Tensor  # bool [E]: a success under its own instruction
    wrong: torch.Tensor  # bool [E]: a success under another one
    still: torch.Tensor  # bool [E, K, K]
    in_context: torch.Tensor  # bool [E], C of them true
    reference: torch.Tensor  # [C, R, V * D]
    reference_text: torch.Tensor  # [C, T]


class LabelledFrames:
    """All episodes as embeddings, with labels from time."""

    def __init__(self, episodes: Episodes, eye: Eye, still: float):
        self.eye = eye
        self.emb = [eye.encode(frames).astype(np.float16) for frames in episodes.frames]  # [T, V, D]
        self.text, self.success = list(episodes.text), np.array(episodes.success)
        self.still = [_still(emb, still) for emb in self.emb]
        done_from = episodes.extra.get('done_from')
        self.done_from = [
            int(done_from[i]) if done_from is not None else len(emb) - 1 for i, emb in enumerate(self.emb)
        ]
        said = set(self.text)
        self.near = {text: [*eye.negatives(text), *_one_word_off(text, said)] for text in said}
        self.texts = sorted({*said, *(other for near in self.near.values() for other in near)})
        self.index = {text: i for i, text in enumerate(self.texts)}
        self.words = torch.from_numpy(eye.text(self.texts)).to(eye.device)
        # a demonstration in context is of the same request, colours aside
        self.kind = np.unique([' '.join(parse(text).words) for text in self.text], return_inverse=True)[1]
        self.good, self.bad = np.flatnonzero(self.success), np.flatnonzero(~self.success)
        # rare requests are seen as often as common ones are not: the square root between the two
        often = np.bincount(self.kind)[self.kind].astype(float)
        self.weight = 1 / np.sqrt(often)
        self.others = [self._wrong(text) for text in self.text]

    def _wrong(self, text: str) -> list[int]:
        """Numbers of wrong instructions: nearly the same words, and other requests of other things."""
        colours = set(parse(text).colours)
        near = [self.index[other] for other in self.near[text]]
        far = [self.index[other] for other in set(self.text) if not colours & set(parse(other).colours)]
        far = [number for number in far if self.texts[number] != text]
        # near ones count as much as all the others together
        return near * max(1, len(far) // max(1, len(near))) + far

    def batch(self, settings: CriticTraining, rng: np.random.Generator) -> Batch:
        count, k = settings.episodes, settings.frames
        bad = min(count // 3, count - 1) if len(self.bad) else 0
        chosen = [*self._draw(self.good, count - bad, rng), *self._draw(self.bad, bad, rng)]
        rows, texts, good, wrong = [], [], [], []
        for i in chosen:
            length = len(self.emb[i])
            picked = rng.integers(0, length, k)
            if self.success[i]:  # one frame of the end, and a neighbour of another frame
                picked[0] = rng.integers(min(self.done_from[i], length - 1), length)
            picked[1] = min(length - 1, picked[2] + rng.integers(0, 4))
            rows.append(picked)
            mismatched = bool(self.success[i]) and bool(self.others[i]) and rng.random() < settings.mismatch
            text = int(rng.choice(self.others[i])) if mismatched else self.index[self.text[i]]
            texts.append(text)
            good.append(bool(self.success[i]) and not mismatched)
            wrong.append(mismatched)
        in_context = rng.random(count) < settings.in_context
        taught = [i for i in range(count) if in_context[i]] or [0]
        in_context[taught] = True
        # with a demonstration at hand the words are often not needed: new tasks have new words
        unsaid = in_context & ~np.array(wrong) & (rng.random(count) < settings.unsaid)
        until, backwards = self._goals(np.array(good) & unsaid, settings, rng)
        shown = [self._demonstration(chosen[i], until[i], backwards[i], rng) for i in taught]
        # in use a demonstration is read under the instruction of the attempt, which may be wrong for both
        told = [
            int(rng.choice(self.others[d] or [self.index[self.text[d]]]))
            if wrong[i] and rng.random() < 0.5
            else self.index[self.text[d]]
            for i, (d, _) in zip(taught, shown, strict=True)
        ]
        share = []
        for i, (episode, picked) in enumerate(zip(chosen, rows, strict=True)):
            last = until[i] * self.done_from[episode]
            if until[i] < 1.0:  # what comes after the piece is not asked about
                picked[:] = np.round(picked * (last / max(1, len(self.emb[episode]) - 1)))
                picked[0] = round(last)
            elif backwards[i]:
                picked[0] = 0
            reached = np.minimum(1.0, picked / max(1.0, round(last)))
            share.append(1.0 - reached if backwards[i] else reached)
        done = [self._done(s, ok, settings) for s, ok in zip(share, good, strict=True)]
        emb = [self.emb[i][r] for i, r in zip(chosen, rows, strict=True)]
        reference = [self.emb[i][r] for i, r in shown]
        still = [self.still[i][np.ix_(r, r)] for i, r in zip(chosen, rows, strict=True)]

        def tensor(values: Sequence, kind: type = np.float32) -> torch.Tensor:
            return torch.from_numpy(np.stack(values).astype(kind)).to(self.eye.device)

        return Batch(
            views=tensor(emb).flatten(2),
            text=self._said(texts, unsaid, settings.forget, rng),
            progress=tensor(share),
            done=tensor(done),
            good=tensor(good, bool),
            wrong=tensor(wrong, bool),
            still=tensor(still, bool),
            reference=tensor(reference).flatten(2),
            reference_text=self._said(told, unsaid[taught], settings.forget, rng),
            in_context=torch.from_numpy(in_context).to(self.eye.device),
        )

    def _said(
        self, texts: Sequence[int], unsaid: np.ndarray, forget: float, rng: np.random.Generator
    ) -> torch.Tensor:
        words, hidden = self.words[list(texts)], torch.from_numpy(unsaid).to(self.words.device)
        heard = self.eye.heard(words, forget, rng)
        return torch.where(hidden[:, None], self.eye.unsaid(words), heard)

    @staticmethod
    def _goals(
        free: np.ndarray, settings: CriticTraining, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Which share of an episode is the task [E], and whether backwards, bool [E].

        Args:
            free: bool [E], whether nothing but a demonstration says what the task is.
        """
        other = free & (rng.random(len(free)) < settings.goals)
        backwards = other & (rng.random(len(free)) < 0.5)
        until = np.where(other & ~backwards, rng.uniform(_SHORTEST, 1.0, len(free)), 1.0)
        return until, backwards

    def _draw(self, among: np.ndarray, count: int, rng: np.random.Generator) -> list[int]:
        if not count:
            return []
        weight = self.weight[among]
        return [int(i) for i in rng.choice(among, count, p=weight / weight.sum())]

    def _demonstration(
        self, episode: int, until: float, backwards: bool, rng: np.random.Generator
    ) -> tuple[int, np.ndarray]:
        """Another success of the same kind, and the rows of it that are shown."""
        same = self.good[self.kind[self.good] == self.kind[episode]]
        other = same[same != episode]
        chosen = int(rng.choice(other if len(other) else (same if len(same) else self.good)))
        last = until * self.done_from[chosen] if until < 1.0 else len(self.emb[chosen]) - 1
        rows = np.linspace(0, last, REFERENCE).round().astype(int)
        return chosen, rows[::-1].copy() if backwards else rows

    def _done(self, share: np.ndarray, good: bool, settings: CriticTraining) -> np.ndarray:
        if not good:
            return np.zeros(len(share))
        return np.where(share >= 1.0, 1.0, np.where(share < settings.not_done_until, 0.0, np.nan))


def _still(emb: np.ndarray, most: float) -> np.ndarray:
    """Which pairs of frames [T, V, D] hardly differ, bool [T, T]."""
    flat = emb.reshape(len(emb), -1)[:, ::4].astype(np.float32)
    return np.stack([np.abs(flat - row).mean(axis=1) < most for row in flat])


def _one_word_off(text: str, said: Iterable[str]) -> list[str]:
    """Requests made in the same words but one, with this one's colours: another thing, another place."""
    own, found = parse(text), []
    for other in said:
        words = parse(other).words
        different = [i for i, pair in enumerate(zip(own.words, words, strict=False)) if pair[0] != pair[1]]
        if (
            len(words) != len(own.words)
            or len(different) != 1
            or len(parse(other).colours) > len(own.colours)
        ):
            continue
        filled = [own.colours[int(w[-1]) - 1] if w in _COLOUR_WORDS else w for w in words]
        found.append(' '.join(filled))
    return sorted(set(found))
