# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What all off-policy algorithms share: critics on chunks, their targets, and a training that can be stored.

An executed chunk is an open-loop plan, so the sum of its rewards needs no correction (Q-chunking, arXiv
2507.07969). The target takes the smallest of a random subset of the target critics (REDQ, arXiv 2101.05982).
All in float32, but for what :attr:`CriticConfig.precision` says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import nn

from apprentice.learning.distributed import Ranks
from apprentice.learning.rl.base import ChunkBatch, Sizes
from apprentice.learning.rl.networks import Ensemble

_ALONE = Ranks()
PRECISIONS = {'float32': torch.float32, 'bfloat16': torch.bfloat16}


@dataclass(frozen=True)
class CriticConfig:
    """Sizes and training of the critics.

    Attributes:
        members: critics of the ensemble.
        subset: of the target critics, drawn anew for every target, whose smallest value counts.
        judges: target critics, drawn anew, that choose among chunks in a target; 0: all. Fewer are faster.
        hidden: widths of the hidden layers.
        activation: relu, silu or tanh.
        polyak: share of the critics that their targets take over at every update.
        clip: largest norm of the gradient.
        value_range: (lowest, highest) value there can be, to which targets are cut; empty: not cut.
        precision: float32 or bfloat16, of the products between the hidden layers of all networks of the
            algorithm. bfloat16 is faster on GPUs and on processors that have it (avx512_bf16 or amx in
            /proc/cpuinfo), and much slower on others.
    """

    members: int = 10
    subset: int = 2
    judges: int = 0
    hidden: tuple[int, ...] = (256, 256)
    layer_norm: bool = True
    activation: str = 'relu'
    learning_rate: float = 3e-4
    polyak: float = 0.005
    clip: float = 10.0
    value_range: tuple[float, ...] = ()
    precision: Literal['float32', 'bfloat16'] = 'float32'

    def __post_init__(self):
        if not 1 <= self.subset <= self.members:
            raise ValueError(f'subset is {self.subset}; give 1 to {self.members}, the number of members')
        if self.judges and not self.subset <= self.judges <= self.members:
            raise ValueError(f'judges is {self.judges}; give 0, or {self.subset} to {self.members}')
        if len(self.value_range) not in (0, 2):
            raise ValueError(f'value_range is {self.value_range}; give (lowest, highest) or nothing')
        if self.precision not in PRECISIONS:
            raise ValueError(f'precision is {self.precision!r}; use one of {list(PRECISIONS)}')


def backup(reward: torch.Tensor, discount: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
    """Targets [B]: the rewards of the valid rows, and from there on the value that follows.

    ``discount`` is gamma to the number of valid rows, and 0 after a terminal, whose value is then not looked
    at, even where it is not a number.
    """
    return reward + torch.where(discount > 0, discount * following, torch.zeros_like(reward))


class Critics:
    """An ensemble on (feature, chunk), its slowly following targets and its optimizer.

    Attributes:
        ranks: processes whose gradients are averaged.
    """

    def __init__(
        self,
        sizes: Sizes,
        config: CriticConfig,
        generator: torch.Generator,
        device: torch.device | str = 'cpu',
    ):
        self.config, self._generator, self.ranks = config, generator, _ALONE
        made = [
            Ensemble(
                config.members,
                sizes.feature,
                sizes.chunk,
                config.hidden,
                1,
                config.layer_norm,
                config.activation,
                generator,
            ).to(device)
            for _ in range(2)
        ]
        self.online, self.target = made
        self.target.load_state_dict(self.online.state_dict())
        self.target.requires_grad_(False)
        self.optimizer = adam(self.online, config.learning_rate)
        self._pairs = (list(self.target.parameters()), list(self.online.parameters()))

    def values(self, feature: torch.Tensor, chunks: torch.Tensor) -> torch.Tensor:
        """Values [E, B, N] of ``chunks`` [B, N, C, A]."""
        return self.online(feature, chunks.flatten(2))

    def target_values(self, feature: torch.Tensor, chunks: torch.Tensor) -> torch.Tensor:
        """The same of the target critics."""
        with torch.no_grad():
            return self.target(feature, chunks.flatten(2))

    def smallest(self, values: torch.Tensor) -> torch.Tensor:
        """Smallest over a random subset of the members: [E, ...] to [...]."""
        if self.config.subset == len(values):
            return values.amin(0)
        members = torch.randperm(len(values), generator=self._generator)[: self.config.subset]
        return values[members.to(values.device)].amin(0)

    @torch.no_grad()
    def best_of(self, feature: torch.Tensor, chunks: torch.Tensor) -> torch.Tensor:
        """Value [B] of the chunk [B, N, C, A] that the mean of the target critics likes best."""
        members = None
        if self.config.judges and self.config.judges < self.config.members:
            members = torch.randperm(self.config.members, generator=self._generator)[: self.config.judges]
            members = members.to(feature.device)
        values = self.target(feature, chunks.flatten(2), members)
        best = values.mean(0).argmax(1)
        return self.smallest(values.gather(2, best.expand(len(values), -1)[..., None])[..., 0])

    def fit(self, batch: ChunkBatch, following: torch.Tensor) -> dict[str, float]:
        """One step towards :func:`backup` with the value [B] that follows, then the targets follow."""
        with torch.no_grad():
            target = backup(batch.reward, batch.discount, following)
            if self.config.value_range:
                target = target.clamp(*self.config.value_range)
        values = self.values(batch.feature, batch.action[:, None])[..., 0]
        loss = (values - target).square().mean(1).sum()
        metrics = step(self.optimizer, loss, self.config.clip, self.ranks)
        if not metrics['skipped']:
            torch._foreach_lerp_(*self._pairs, self.config.polyak)
        with torch.no_grad():
            return {
                'critic_loss': metrics['loss'] / self.config.members,
                'value': float(values.mean()),
                'disagreement': float(values.std(0).mean()) if self.config.members > 1 else 0.0,
                'skipped': metrics['skipped'],
            }


def adam(module: nn.Module, rate: float) -> torch.optim.Adam:
    """Adam, all parameters in one call."""
    return torch.optim.Adam(module.parameters(), lr=rate, fused=True)


def step(
    optimizer: torch.optim.Optimizer, loss: torch.Tensor, clip: float, ranks: Ranks = _ALONE
) -> dict[str, float]:
    """One gradient step; one that is not finite is not applied, and ``skipped`` is 1.

    Args:
        ranks: processes, each with a loss of its own rows; all step with the mean of their gradients.
    """
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    loss = loss.detach()
    parameters = [p for group in optimizer.param_groups for p in group['params']]
    # with the loss, so that all skip what is not finite in one of them
    ranks.average([loss, *(p.grad for p in parameters if p.grad is not None)])
    norm = nn.utils.clip_grad_norm_(parameters, clip)
    finite = bool(torch.isfinite(norm) & torch.isfinite(loss))
    if finite:
        optimizer.step()
    return {'loss': float(loss), 'gradient_norm': float(norm), 'skipped': float(not finite)}


class Training:
    """Base of the algorithms: sizes, random numbers, and all that must be stored to go on.

    A subclass makes its networks in :meth:`build`. What :meth:`state_dict` gives is flat, name to tensor on
    the CPU, as safetensors takes it.

    Args:
        config: of the class ``Config``; None: its defaults.

    Attributes:
        ranks: processes that train together, see :meth:`join`.
    """

    Config: type
    ranks = _ALONE

    def __init__(self, sizes: Sizes, config: Any = None, seed: int = 0, device: torch.device | str = 'cpu'):
        self.sizes, self.config, self.device = sizes, config or type(self).Config(), torch.device(device)
        self.generator = torch.Generator().manual_seed(seed)
        self.steps = 0
        self._modules: dict[str, nn.Module] = {}
        self._optimizers: dict[str, torch.optim.Optimizer] = {}
        self._critics: list[Critics] = []
        self.build()

    def build(self) -> None:
        """Make the networks and :meth:`keep` them."""
        raise NotImplementedError

    def make_critics(self, config: CriticConfig, name: str = 'critic') -> Critics:
        """Critics that are stored with their targets and their optimizer."""
        critics = Critics(self.sizes, config, self.generator, self.device)
        self.keep(name, critics.online, critics.optimizer)
        self.keep(f'{name}_target', critics.target)
        self._critics.append(critics)
        return critics

    def join(self, ranks: Ranks) -> None:
        """Train with other processes, which began with the same seed or state and are given the same batches.

        Each learns from its rows of a batch (:meth:`mine`), draws what is random for the whole of it, and
        steps with the mean of all gradients. So all go on with the same networks and the same random state,
        those of one process with the whole batch but for rounding; the snapshot of one is that of all.
        """
        self.ranks = ranks
        for critics in self._critics:
            critics.ranks = ranks

    def mine(self, batch: ChunkBatch) -> ChunkBatch:
        """This process' rows of a batch. Raises ValueError for one that cannot be cut evenly."""
        if self.ranks.world == 1:
            return batch
        if len(batch) % self.ranks.world:
            raise ValueError(
                f'a batch of {len(batch)} transitions cannot be cut evenly into {self.ranks.world} '
                'processes; give a multiple of their number'
            )
        rows = self.ranks.share(len(batch))
        return batch.each(lambda tensor: tensor[rows])

    def step(self, optimizer: torch.optim.Optimizer, loss: torch.Tensor, clip: float) -> dict[str, float]:
        """:func:`step` of all processes."""
        return step(optimizer, loss, clip, self.ranks)

    def keep(
        self, name: str, module: nn.Module | None = None, optimizer: torch.optim.Optimizer | None = None
    ) -> None:
        """Store these with the rest."""
        if module is not None:
            self._modules[name] = module
            for part in module.modules():
                if isinstance(part, Ensemble):
                    part.precision = PRECISIONS[self.config.critic.precision]
        if optimizer is not None:
            self._optimizers[name] = optimizer

    def draw(self, size: int, *shape: int) -> torch.Tensor:
        """Normal random numbers [size, ...] of the training, on the device; ``size``: this process' rows."""
        return self._own(torch.randn(size * self.ranks.world, *shape, generator=self.generator))

    def draw_index(self, count: int, size: int) -> torch.Tensor:
        """Random int [size] below ``count``, in the same way."""
        return self._own(torch.randint(count, (size * self.ranks.world,), generator=self.generator))

    def _own(self, drawn: torch.Tensor) -> torch.Tensor:
        return drawn[self.ranks.share(len(drawn))].to(self.device)

    def state_dict(self) -> dict[str, Any]:
        """See :class:`~apprentice.learning.rl.base.Algorithm`."""
        state: dict[str, torch.Tensor] = {
            'generator': self.generator.get_state(),
            'steps': torch.tensor(self.steps),
            'sizes': torch.tensor(list(asdict(self.sizes).values())),
        }
        for name, module in self._modules.items():
            state |= {f'module.{name}.{key}': value for key, value in module.state_dict().items()}
        for name, optimizer in self._optimizers.items():
            for index, moments in optimizer.state_dict()['state'].items():
                state |= {f'optimizer.{name}.{index}.{key}': value for key, value in moments.items()}
        return {name: value.detach().to('cpu', copy=True).contiguous() for name, value in state.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See :class:`~apprentice.learning.rl.base.Algorithm`; what does not fit changes nothing."""
        own = self.state_dict()
        modules = {name for name in own if name.startswith('module.')}
        wrong = [
            name
            for name in sorted(modules | {'generator', 'steps', 'sizes'})
            if name not in state or state[name].shape != own[name].shape
        ]
        wrong += sorted(name for name in state if name.startswith('module.') and name not in own)
        if not wrong and not torch.equal(state['sizes'].cpu(), own['sizes']):
            wrong = ['sizes']
        if wrong:
            raise ValueError(
                f'the state is of another algorithm or other sizes: {wrong[:3]} do not fit; '
                'give the settings it was trained with'
            )
        for name, module in self._modules.items():
            module.load_state_dict(dict(_below(state, f'module.{name}.')))
        for name, optimizer in self._optimizers.items():
            moments: dict[int, dict[str, torch.Tensor]] = {}
            for key, value in _below(state, f'optimizer.{name}.'):
                index, _, moment = key.partition('.')
                moments.setdefault(int(index), {})[moment] = value
            optimizer.load_state_dict({**optimizer.state_dict(), 'state': moments})
        self.generator.set_state(state['generator'].cpu())
        self.steps = int(state['steps'])


def _below(state: dict[str, Any], prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
    return ((key[len(prefix) :], value) for key, value in state.items() if key.startswith(prefix))
