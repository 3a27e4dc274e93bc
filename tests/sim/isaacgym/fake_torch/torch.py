# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The few tensor operations that the Isaac Gym worker uses, on numpy, where torch would only cost time."""

import numpy as np

__version__ = 'shim'


class Tensor:
    def __init__(self, values, device='cpu'):
        self.values, self.device = values, device

    @property
    def shape(self):
        return self.values.shape

    @property
    def dtype(self):
        return self.values.dtype

    def __len__(self):
        return len(self.values)

    def __setitem__(self, index, values):
        assert index.device == self.device
        assert values.device == self.device
        self.values[index.values] = values.values

    def view(self, *shape):
        return Tensor(self.values.reshape(shape), self.device)

    def to(self, device):
        return Tensor(self.values.copy(), device)

    def cpu(self):
        return Tensor(self.values.copy())

    def numpy(self):
        if self.device != 'cpu':
            raise TypeError('a tensor on a GPU has no numpy(); call cpu() first')
        return self.values


def from_numpy(array):
    assert isinstance(array, np.ndarray)
    return Tensor(array)
