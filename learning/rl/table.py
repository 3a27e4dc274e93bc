# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Columns of tensors that grow, on one device."""

from __future__ import annotations

import torch


class Table:
    """Rows of named tensors; space is doubled when it is used up."""

    def __init__(self, device: torch.device | str = 'cpu'):
        self._device = device
        self._columns: dict[str, torch.Tensor] = {}
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, name: str) -> torch.Tensor:
        """A column, as far as it is filled. It is a view."""
        return self._columns[name][: self._length]

    def append(self, **columns: torch.Tensor) -> slice:
        """Add rows [R, ...]; returns where they are. Raises ValueError unless all columns fit."""
        counts = {len(column) for column in columns.values()}
        if len(counts) != 1 or (self._columns and set(columns) != set(self._columns)):
            raise ValueError(f'columns {sorted(columns)} of lengths {sorted(counts)} do not fit the table')
        for name, column in columns.items():
            own = self._columns.get(name)
            if own is not None and own.shape[1:] != column.shape[1:]:
                raise ValueError(f'{name} is {tuple(column.shape[1:])} a row, not {tuple(own.shape[1:])}')
        begin, end = self._length, self._length + counts.pop()
        for name, column in columns.items():
            own = self._columns.get(name)
            if own is None or end > len(own):
                room = column.new_zeros(max(2 * end, 1024), *column.shape[1:], device=self._device)
                if own is not None:
                    room[:begin] = own[:begin]
                self._columns[name] = own = room
            own[begin:end] = column.to(own)
        self._length = end
        return slice(begin, end)

    def put(self, where: slice, **columns: torch.Tensor) -> None:
        """Overwrite some columns of rows."""
        for name, column in columns.items():
            own = self._columns[name]
            own[where] = column.to(own)

    def rows(self, index: torch.Tensor) -> dict[str, torch.Tensor]:
        """Copies of the rows at ``index`` int [B]."""
        return {name: column.index_select(0, index) for name, column in self._columns.items()}
