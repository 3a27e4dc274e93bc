# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The simulated robot, a driver like any other: publishes its senses, obeys the controller topic.

Live it runs on the wall clock. In lock-step it owns /clock and waits for the command of each control
tick, so that simulated time runs as fast as the slowest node allows and nothing is ever late.
"""

from __future__ import annotations

import io
import time

import numpy as np
from apprentice_interfaces.msg import RewardSample
from apprentice_interfaces.srv import ResetWorld
from PIL import Image as PillowImage
from rclpy.node import Node
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from apprentice.nodes import convert, qos
from apprentice.nodes.fault_injection import DEVICE_FAULTS, Faults
from apprentice.nodes.robot_file import load_simulated
from apprentice.nodes.runtime import Diagnostics, StartupError, parameter, run, wall_timer
from apprentice.nodes.sim_poses import PosePublisher
from apprentice.nodes.steady_world import SteadyWorld
from apprentice.robot.types import Reward, RewardKind

_SAME_NS = 1000  # stamps pass through float64 seconds


class SimRobotNode(Node):
    """MuJoCo behind the topics of a real arm; see the module text."""

    def __init__(self, name: str = 'sim_robot') -> None:
        super().__init__(name)
        self.spec = load_simulated(self)
        seed = parameter(self, 'seed', 0, 'seed of the first start', 0, 2**31)
        self._lockstep = parameter(self, 'lockstep', False, 'own /clock and wait for each command')
        rate = parameter(
            self, 'rate_hz', 0.0, 'control rate; 0 takes control_hz of the robot file', 0.0, 1000.0
        )
        self._timeout = parameter(
            self,
            'lockstep_timeout_s',
            1.0,
            'wall seconds without a command before the tick is repeated',
            0.05,
            60.0,
        )
        rate = rate or self.spec.control_hz
        if self._lockstep and self.spec.command.type != 'joint_trajectory':
            raise StartupError('lock-step needs stamped commands: set command.type to joint_trajectory')
        self.world = SteadyWorld(self.make_world(seed))
        self.world.render()  # GL problems show at start, not in the first callback
        self._period_ns = round(1e9 / rate)
        self._due_ns = {c.name: round(1e9 / c.rate_hz) for c in self.spec.cameras}
        # whole seconds of the wall clock: simulated stamps of successive runs never overlap backwards
        self._now_ns = int(time.time()) * 1_000_000_000
        self._next_frame_ns = dict.fromkeys(self._due_ns, 0)
        self._target = self.world.state()
        self._last_tick = self._last_wall = time.monotonic()
        self._frames = self._ticks = self._repeats = self._refused = 0
        self._faults = Faults(self, self.spec, lambda: self._now_ns * 1e-9, DEVICE_FAULTS)
        self._make_topics()
        Diagnostics(self, self._report, self.spec.name)
        if self._lockstep:
            wall_timer(self, 0.1, self._watch)
        else:
            wall_timer(self, 1 / rate, self._live_tick)
        self._sense()

    def make_world(self, seed: int):
        """What is behind the topics; a World or the like."""
        from apprentice.sim.world import make_world  # MuJoCo only where it is used

        about = 'domain randomisation: none, mild, strong or a YAML file, see apprentice.sim.randomize'
        level = parameter(self, 'randomization', 'none', about)
        # an environment of somebody else's has its own
        return make_world(self.spec, seed, **({} if level == 'none' else {'randomization': level}))

    @property
    def _stamp_ns(self) -> int:
        """Time as the robot's clock shows it."""
        return self._now_ns + round(1e9 * self._faults.robot.clock_error(self._faults.now))

    def _make_topics(self) -> None:
        spec = self.spec
        sensor = qos.SENSOR_LOCKSTEP if self._lockstep else qos.SENSOR_PUBLISHER
        self._clock_topic = self.create_publisher(ClockMessage, '/clock', 10) if self._lockstep else None
        self._joints = self.create_publisher(JointState, spec.joint_states_topic, sensor)
        self._poses = PosePublisher(self, self.world, spec.base_frame)
        self._truth = self.create_publisher(RewardSample, 'sim/truth', qos.LOG)
        self._images = {c.name: self.create_publisher(Image, c.topic, sensor) for c in spec.cameras}
        self._compressed = {
            c.name: self.create_publisher(CompressedImage, f'{c.topic}/compressed', qos.SENSOR_PUBLISHER)
            for c in spec.cameras
        }
        if spec.command.type == 'joint_trajectory':
            self.create_subscription(JointTrajectory, spec.command.topic, self._on_trajectory, qos.COMMAND)
        else:
            self.create_subscription(Float64MultiArray, spec.command.topic, self._on_positions, qos.COMMAND)
        self.create_service(ResetWorld, 'reset_world', self._on_reset)

    def _on_trajectory(self, message: JointTrajectory) -> None:
        index = {name: i for i, name in enumerate(message.joint_names)}
        positions = message.points[-1].positions if message.points else ()
        if set(index) != set(self.spec.joint_names) or len(positions) != len(index):
            self._refuse(
                f'trajectory for joints {list(message.joint_names)}, expected {self.spec.joint_names}'
            )
            return
        stamp = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
        if self._lockstep and abs(stamp - self._stamp_ns) > _SAME_NS:
            return  # an answer to a repeated tick
        self._command(np.array([positions[index[name]] for name in self.spec.joint_names]))

    def _on_positions(self, message: Float64MultiArray) -> None:
        if len(message.data) != self.spec.dim:
            self._refuse(f'{len(message.data)} positions for {self.spec.dim} joints')
            return
        self._command(np.array(message.data))

    def _command(self, target: np.ndarray) -> None:
        if not np.all(np.isfinite(target)):
            self._refuse('command is not finite; holding the last one')
            target = self._target
        self._target = target
        if self._lockstep:
            self._advance()

    def _advance(self) -> None:
        self._move(self._period_ns * 1e-9)
        self._now_ns += self._period_ns
        self._sense()

    def _move(self, duration_s: float) -> None:
        moving = not self.world.problem
        target = self._faults.robot.obey(self._target, self.world.state(), self._faults.now)
        self.world.step(target, duration_s)
        if moving and self.world.problem:
            self.get_logger().error(self.world.problem)

    def _refuse(self, why: str) -> None:
        self._refused += 1
        self.get_logger().error(f'refused command: {why}', throttle_duration_sec=1.0)

    def _live_tick(self) -> None:
        wall = time.monotonic()
        # catch up with the wall clock after a late wake-up, but never by more than 0.1 s at once
        self._move(min(0.1, max(1e-3, wall - self._last_wall)))
        self._last_wall = wall
        self._now_ns = self.get_clock().now().nanoseconds
        self._sense()

    def _watch(self) -> None:
        if self._faults.robot.silent(self._faults.now):
            self._advance()  # without joint states there is no tick to answer, and time must end the fault
        elif time.monotonic() - self._last_tick > self._timeout:
            self._repeats += 1
            self._publish_joints()

    def _sense(self) -> None:
        """Publish everything that is due at the present time.

        In lock-step the joint states come last, they are the tick; live they must not wait for rendering.
        """
        stamp = self._stamp_ns * 1e-9
        due = [name for name, at in self._next_frame_ns.items() if self._now_ns >= at - self._period_ns // 2]
        if self._clock_topic and (due or not self._due_ns):
            # with the frames rather than with every tick: it wakes every node of the graph
            message = ClockMessage()
            message.clock.sec, message.clock.nanosec = divmod(self._stamp_ns, 1_000_000_000)
            self._clock_topic.publish(message)
        if not self._lockstep:
            self._publish_joints()
        if due:
            frames = self.world.render()
            for camera in self.spec.cameras:
                if camera.name in due:
                    self._capture(camera.name, frames[camera.name], stamp)
            progress = self.world.progress()
            reward = Reward(stamp, stamp, RewardKind.TRUTH, progress, progress, model='simulator')
            reward.done_prob = float(self.world.success())
            sample = convert.reward_msg(reward, '', self.world.instruction)
            sample.done = bool(reward.done_prob)
            self._truth.publish(sample)
        for camera in self.spec.cameras:
            for frame, captured in self._faults.robot.arriving(camera.name, self._faults.now):
                self._publish_frame(camera, frame, captured)
        if due or not self._lockstep or not self._due_ns:
            self._poses.publish(stamp)  # in lock-step with the frames, which is when somebody plans
        if self._clock_topic:
            self._publish_joints()
        self._ticks += 1
        self._last_tick = time.monotonic()

    def _capture(self, name: str, frame: np.ndarray, stamp: float) -> None:
        due, step = self._next_frame_ns[name], self._due_ns[name]
        # keep the nominal grid, also after a frame that was early, unless we fell behind by a frame or more
        self._next_frame_ns[name] = (due if abs(self._now_ns - due) < step else self._now_ns) + step
        faults = self._faults
        faults.robot.send(name, faults.robot.capture(name, frame, faults.now), stamp, faults.now)

    def _publish_frame(self, camera, frame: np.ndarray, stamp: float) -> None:
        message = convert.image_msg(frame, stamp, camera.frame_id)
        self._images[camera.name].publish(message)
        self._frames += 1
        if self._compressed[camera.name].get_subscription_count():
            buffer = io.BytesIO()
            PillowImage.fromarray(frame).save(buffer, 'JPEG', quality=90)
            self._compressed[camera.name].publish(
                CompressedImage(
                    header=message.header, format='rgb8; jpeg compressed bgr8', data=buffer.getvalue()
                )
            )

    def _publish_joints(self) -> None:
        if self._faults.robot.silent(self._faults.now):
            return
        stamp = self._stamp_ns * 1e-9
        names = self.spec.joint_names
        self._joints.publish(convert.joint_state_msg(stamp, names, self.world.state(), self.world.velocity()))

    def _on_reset(self, request: ResetWorld.Request, response: ResetWorld.Response) -> ResetWorld.Response:
        try:
            response.task = self.world.reset(request.seed, request.task)
        except ValueError as error:
            response.success, response.message = False, str(error)
            return response
        self._target = self.world.state()
        if self._lockstep:
            # the next frame of the grid shows the new start; stale stamps never repeat with new content
            grid = max(self._due_ns.values(), default=self._period_ns)
            self._now_ns = (self._now_ns // grid + 1) * grid
            self._next_frame_ns = dict.fromkeys(self._due_ns, self._now_ns)
            self._sense()
        response.success = True
        return response

    def _report(self) -> tuple[bytes, str, dict]:
        waiting = time.monotonic() - self._last_tick
        values = {
            'frames': self._frames,
            'ticks': self._ticks,
            'repeated_ticks': self._repeats,
            'refused_commands': self._refused,
            'lockstep': self._lockstep,
        }
        if self.world.problem:
            return Diagnostics.ERROR, self.world.problem, values
        if waiting > 3.0:
            return Diagnostics.WARN, f'no command for {waiting:.1f} s; is the gate running?', values
        return Diagnostics.OK, 'running', values

    def close(self) -> None:
        self.world.close()


def main() -> None:
    """Entry point of ``sim_robot_node``."""
    run(SimRobotNode)


if __name__ == '__main__':
    main()
