# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""How long a lock-step control step waits for the one in control, while simulated time stands still."""

from __future__ import annotations

from apprentice.robot.gate import Gate
from apprentice.robot.types import ActionChunk, ControlMode, Source

# between episodes time need not fly: every tick costs every node, and the learner wants the cores
IDLE_PERIOD_S = 0.2
_MOVING = (ControlMode.POLICY, ControlMode.HUMAN, ControlMode.RESET)


class LockstepWait:
    """Bounded waits on the wall clock, one control step at a time.

    In POLICY the step waits until less than ``execute_steps`` rows of the active chunk have been
    followed, in HUMAN for a command of this stamp, in PAUSED for the policy to plan afresh. Whoever
    lets a wait expire is waited for one control period only until they answer, so that
    simulated time then runs at most as fast as the wall clock and a slow answer is still young
    enough to be used. An expired wait for the policy in POLICY is a HOLD; a person's silence is
    judged by the gate's own latch. While nobody moves the robot, a step takes IDLE_PERIOD_S.
    """

    def __init__(self, gate: Gate, execute_steps: int, policy_wait_s: float, human_wait_s: float):
        self._gate, self._execute_steps = gate, execute_steps
        self._waits = {Source.POLICY: policy_wait_s, Source.HUMAN: human_wait_s}
        self._stamp = 0.0
        self._awaited: tuple[ControlMode, int] | None = None  # the wait going on, by mode and epoch
        self._since = 0.0
        self._answered = False
        self._tardy: tuple[ControlMode, int] | None = None  # the wait that expired

    def begin(self, stamp: float) -> None:
        """A new control step at ``stamp`` [s]."""
        self._stamp, self._awaited, self._answered = stamp, None, False

    def refused(self, chunk: ActionChunk) -> None:
        """The policy answered with a chunk that was refused; waiting for this step's plan is over."""
        if chunk.stamp >= self._stamp - 1e-6:
            self._answered = True

    def over(self, wall: float) -> bool:
        """Whether the step is due; ``wall`` is a monotonic clock [s]. Call again after every input."""
        gate = self._gate
        whom = gate.awaits(self._stamp, self._execute_steps)
        paused = gate.mode == ControlMode.PAUSED
        if whom == Source.NONE:
            self._tardy = None
            return gate.mode in _MOVING or self._waited(wall, IDLE_PERIOD_S)
        if paused and self._answered:
            return True
        key = (gate.mode, gate.epoch)
        rows = self._stamp / gate.spec.action_dt
        # the policy plans where there is an image, which is on the grid of action_dt
        short = key == self._tardy or (paused and abs(rows - round(rows)) > 1e-3)
        patience = min(gate.period, self._waits[whom]) if short else self._waits[whom]
        if not self._waited(wall, patience):
            return False
        if not short:
            self._tardy = key
        if gate.mode == ControlMode.POLICY:
            gate.hold(f'no fresh chunk within {patience:g} s: check the policy node, then arm', self._stamp)
        elif not short:
            gate.reason = f'no answer of the {whom.name.lower()} within {patience:g} s; still waiting'
        return True

    def _waited(self, wall: float, patience: float) -> bool:
        """Whether this step has waited ``patience`` seconds in the present mode and epoch."""
        key = (self._gate.mode, self._gate.epoch)
        if key != self._awaited:
            self._awaited, self._since = key, wall
        return wall - self._since >= patience
