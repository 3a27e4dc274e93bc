# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The imported library, as the worker hands it to its parts, and the few tensor operations they need.

Runs in the worker, under Python 3.6 to 3.8. Importing this file imports neither isaacgym nor torch.
"""

import sys

import numpy as np


class GymError(RuntimeError):
    """The library refused a call, or has a scene other than the one described."""


class Library:
    """isaacgym's modules and torch."""

    def __init__(self, gymapi, gymtorch, torch):
        self.gymapi, self.gymtorch, self._torch = gymapi, gymtorch, torch

    @classmethod
    def load(cls):
        """Raises ImportError where one of them is missing."""
        from isaacgym import gymapi, gymtorch  # isort: skip - the library refuses to come after torch
        import torch

        return cls(gymapi, gymtorch, torch)

    def versions(self):
        """What was imported, by name."""
        isaacgym = sys.modules['isaacgym']
        return {
            'isaacgym': str(getattr(isaacgym, '__version__', 'unknown')),
            'torch': str(self._torch.__version__),
            'path': str(getattr(isaacgym, '__file__', 'unknown')),
        }

    def to_numpy(self, tensor):
        """A tensor of any device as an array."""
        return tensor.cpu().numpy()

    def to_device(self, array, like):
        """An array as a tensor on the device of another."""
        return self._torch.from_numpy(array).to(like.device)

    def assign(self, tensor, rows, values):
        """Set rows of a tensor, in place."""
        index = self.to_device(np.ascontiguousarray(rows, np.int64), tensor)
        tensor[index] = self.to_device(np.ascontiguousarray(values, np.float32), tensor)


def done(result, call):
    """Raise GymError where a call of the library reports failure; most return a bool, some nothing."""
    if result is False:
        raise GymError(f'gym.{call} failed; the output of the worker may say why')
    return result


def made(result, call):
    """Raise GymError where the library made nothing."""
    if result is None:
        raise GymError(f'gym.{call} made nothing; the output of the worker may say why')
    return result
