# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The thread of a reward node that encodes and scores: frames of all its robots and cameras in one call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np

from apprentice.nodes import convert
from apprentice.nodes.reward_feed import Job
from apprentice.reward_models.base import stack_views
from apprentice.reward_models.cache.batcher import BatchConfig, Batcher, encode_together
from apprentice.reward_models.cache.still import StillFrames


class RewardWorker:
    """Takes batches of jobs, encodes what changed, and hands each job on with its embeddings, in order.

    Args:
        encode: of the model; uint8 [N, H, W, 3] to [N, D].
        cameras: views of a job, in the order of the model's.
        done: told a job and its embeddings [V, D], or what went wrong. What it raises ends nothing: it is
            called again with that error.
        config: of the batches.
        robots: how many send jobs.
        still: which frames need no encoding; None: all do.
        inference: held while the model runs.
    """

    def __init__(
        self,
        encode: Callable[[np.ndarray], np.ndarray],
        cameras: Sequence[str],
        done: Callable[[Job, np.ndarray | Exception], None],
        config: BatchConfig,
        robots: int = 1,
        still: StillFrames | None = None,
        inference: threading.Lock | None = None,
    ):
        self._encode, self._cameras, self._done = encode, cameras, done
        self.still = still or StillFrames(0.0)
        self.batcher: Batcher[Job] = Batcher(config, robots)
        self._inference = inference or threading.Lock()
        self._thread = threading.Thread(target=self._work, name='scorer', daemon=True)
        self._thread.start()

    def put(self, job: Job, keep: bool) -> None:
        self.batcher.put(job.feed.namespace, job, keep)

    def report(self) -> dict[str, int]:
        """Numbers for diagnostics, since the start."""
        counts = self.batcher.counts
        return {
            'queued': len(self.batcher),
            'dropped': counts.dropped,
            'lost': counts.lost,
            'batches': counts.batches,
            'still': self.still.skipped,
        }

    def close(self) -> None:
        """End the thread; jobs that wait are forgotten."""
        self.batcher.close()
        self._thread.join(2.0)

    def _work(self) -> None:
        while jobs := self.batcher.take():
            for job, embeddings in zip(jobs, self._embeddings(jobs), strict=True):
                try:
                    self._done(job, embeddings)
                except Exception as error:  # a failing model must neither end the thread nor stay unseen
                    self._done(job, error)

    def _embeddings(self, jobs: Sequence[Job]) -> list[np.ndarray | Exception]:
        """[V, D] of each job, or why there is none."""
        views: list[np.ndarray | Exception] = [self._views(job) for job in jobs]
        found: dict[tuple[int, int], np.ndarray | Exception] = {}
        frames: dict[tuple[int, int], np.ndarray] = {}
        for i, (job, each) in enumerate(zip(jobs, views, strict=True)):
            for j, frame in enumerate(() if isinstance(each, Exception) else each):
                camera = (job.feed.namespace, self._cameras[j])
                if job.first:
                    self.still.forget(camera)
                known = self.still.get(camera, frame)
                if known is None:
                    frames[i, j] = frame
                else:
                    found[i, j] = known
        if frames:
            with self._inference:
                made = encode_together(self._encode, list(frames.values()))
            for (i, j), embedding in zip(frames, made, strict=True):
                found[i, j] = embedding
                if not isinstance(embedding, Exception):
                    self.still.put((jobs[i].feed.namespace, self._cameras[j]), frames[i, j], embedding)
        return [
            each if isinstance(each, Exception) else self._stacked([found[i, j] for j in range(len(each))])
            for i, each in enumerate(views)
        ]

    def _views(self, job: Job) -> np.ndarray | Exception:
        try:
            images = {name: convert.image_array(message) for name, message in job.frames.images.items()}
            return stack_views(images, self._cameras)
        except Exception as error:
            return error

    @staticmethod
    def _stacked(embeddings: list[np.ndarray | Exception]) -> np.ndarray | Exception:
        for each in embeddings:
            if isinstance(each, Exception):
                return each
        return np.stack(embeddings)  # type: ignore[arg-type]
