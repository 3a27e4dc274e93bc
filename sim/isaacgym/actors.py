# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A compiled MuJoCo scene as Isaac Gym sees it: actors, each a tree of links with joints.

Isaac Gym builds a scene of actors from asset files. A tree of bodies with joints becomes one actor (fixed, or
floating where its root is free), each free body another, and what never moves one actor a geom (a colour
belongs to a link there). What the engine cannot do raises ValueError that names the object.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import mujoco
import numpy as np

_FREE = int(mujoco.mjtJoint.mjJNT_FREE)
_BALL = int(mujoco.mjtJoint.mjJNT_BALL)
_PLANE = int(mujoco.mjtGeom.mjGEOM_PLANE)
_SHAPES = tuple(
    int(kind)
    for kind in (
        mujoco.mjtGeom.mjGEOM_SPHERE,
        mujoco.mjtGeom.mjGEOM_CAPSULE,
        mujoco.mjtGeom.mjGEOM_CYLINDER,
        mujoco.mjtGeom.mjGEOM_BOX,
        mujoco.mjtGeom.mjGEOM_MESH,
        _PLANE,
    )
)
_JOINT_EQUALITY = int(mujoco.mjtEq.mjEQ_JOINT)
_ON_JOINT = int(mujoco.mjtTrn.mjTRN_JOINT)
_AFFINE = int(mujoco.mjtBias.mjBIAS_AFFINE)
_PLAIN = int(mujoco.mjtGain.mjGAIN_FIXED), int(mujoco.mjtDyn.mjDYN_NONE)


@dataclass
class Link:
    """One rigid body of an actor.

    Attributes:
        name: unique in the scene, letters and digits only.
        body: MuJoCo's body, or -1 for a base that only Isaac Gym needs.
        parent: index of the parent in the actor's links, or -1.
        position, quaternion: pose in the parent's frame (m; wxyz).
        geoms, joints: MuJoCo's geoms and hinge or slide joints.
        tracked: whether MuJoCo's body has this link's pose.
    """

    name: str
    body: int
    parent: int
    position: np.ndarray
    quaternion: np.ndarray
    geoms: list[int]
    joints: list[int] = field(default_factory=list)
    tracked: bool = True


@dataclass
class Actor:
    """A tree of links, parents first; ``free`` is its free joint or -1 (fixed to the world).

    Attributes:
        position, quaternion: pose of the root link where the simulation starts (m; wxyz).
        gravity: whether any link is pulled down; MuJoCo's ``gravcomp`` of 1 switches it off for one.
    """

    name: str
    links: list[Link]
    free: int
    position: np.ndarray
    quaternion: np.ndarray
    gravity: bool


@dataclass(frozen=True)
class Drive:
    """How one joint is driven: force = stiffness * (target - q) - damping * q'.

    The target is ``gain @ ctrl + offset`` with ``ctrl`` inside ``ctrl_range``, then through ``polynomial``
    (highest power first) where an equality couples the joint to another. q is counted from qpos0, as Isaac
    Gym counts it. Units: N m / rad or N / m.
    """

    joint: int
    actuator: int
    gain: float
    offset: float
    polynomial: tuple[float, ...]
    stiffness: float
    damping: float
    effort: float


def scene_actors(model: mujoco.MjModel) -> list[Actor]:
    """The actors of a scene. Raises ValueError for what Isaac Gym has no counterpart of."""
    check_supported(model)
    actors = [_static(model, 0, geom) for geom in _geoms(model, 0)]
    for root in (i for i in range(1, model.nbody) if int(model.body_parentid[i]) == 0):
        bodies = [i for i in range(model.nbody) if int(model.body_rootid[i]) == root]
        if any(int(model.body_jntnum[i]) for i in bodies):
            actors.append(_tree(model, root, bodies))
        else:
            actors += [_static(model, body, geom) for body in bodies for geom in _geoms(model, body)]
    return actors


def check_supported(model: mujoco.MjModel) -> None:
    """Raise ValueError naming the first object that the adapter cannot translate."""

    def refuse(what: str, instead: str) -> None:
        raise ValueError(f'Isaac Gym adapter: {what} has no counterpart; {instead}')

    for i in range(model.njnt):
        if int(model.jnt_type[i]) == _BALL:
            refuse(f'ball joint {model.joint(i).name!r}', 'use three hinges')
    for i in range(model.ngeom):
        if int(model.geom_type[i]) not in _SHAPES:
            refuse(f'geom {model.geom(i).name!r} (type {model.geom_type[i]})', 'use primitives or a mesh')
        if int(model.geom_type[i]) == _PLANE and int(model.geom_bodyid[i]) != 0:
            refuse(f'plane {model.geom(i).name!r} on a body', 'put it into the world body, or use a box')
    for i in range(model.nbody):
        if int(model.body_mocapid[i]) >= 0:
            refuse(f'mocap body {model.body(i).name!r}', 'drive a joint instead')
    for i in range(model.neq):
        if int(model.eq_type[i]) != _JOINT_EQUALITY or int(model.eq_obj2id[i]) < 0:
            refuse(f'equality {model.equality(i).name or i!r}', 'only joint couplings are translated')
        if int(model.eq_obj2id[i]) not in model.actuator_trnid[:, 0]:
            leader = model.joint(int(model.eq_obj2id[i])).name
            refuse(f'a joint coupled to {leader!r}', 'give that joint a position actuator')
    if model.npair:
        bodies = model.geom_bodyid[[int(model.pair_geom1[0]), int(model.pair_geom2[0])]]
        names = ' and '.join(repr(model.body(int(body)).name) for body in bodies)
        refuse(f'contact pair of bodies {names}', 'use contype, conaffinity and exclude')
    if model.ntendon:
        refuse(f'tendon {model.tendon(0).name!r}', 'drive joints')
    for i in range(model.nu):
        gain, bias = model.actuator_gainprm[i], model.actuator_biasprm[i]
        plain = (int(model.actuator_gaintype[i]), int(model.actuator_dyntype[i])) == _PLAIN
        position = (
            int(model.actuator_biastype[i]) == _AFFINE and np.isclose(gain[0], -bias[1]) and not bias[0]
        )
        on_joint = int(model.actuator_trntype[i]) == _ON_JOINT and model.actuator_gear[i, 0] == 1
        if not (plain and position and on_joint):
            refuse(f'actuator {model.actuator(i).name!r}', 'use a position actuator of gear 1 on a joint')


def drives(model: mujoco.MjModel) -> dict[int, Drive]:
    """How each hinge and slide joint is driven, from actuators, passive springs and joint couplings.

    A coupled joint without an actuator gets the leader's target, and both share the actuator's strength.
    """
    actuators = {int(model.actuator_trnid[i, 0]): i for i in range(model.nu)}
    coupled = {
        int(model.eq_obj1id[i]): (int(model.eq_obj2id[i]), tuple(model.eq_data[i, 4::-1].tolist()))
        for i in range(model.neq)
    }
    found = {}
    for joint in range(model.njnt):
        if int(model.jnt_type[joint]) == _FREE:
            continue
        leader, polynomial = coupled.get(joint, (joint, ()))
        if joint in actuators:
            leader, polynomial = joint, ()
        sharing = 1 + sum(of == leader and who not in actuators for who, (of, _) in coupled.items())
        found[joint] = _drive(model, joint, leader, polynomial, actuators.get(leader, -1), sharing)
    return found


def _drive(
    model: mujoco.MjModel, joint: int, leader: int, polynomial: tuple, actuator: int, sharing: int
) -> Drive:
    address = int(model.jnt_qposadr[leader])
    reference, rest = float(model.qpos0[address]), float(model.qpos_spring[address])
    spring = float(model.jnt_stiffness[joint]) if joint == leader else 0.0
    damping = float(model.dof_damping[int(model.jnt_dofadr[joint])])
    motor, effort = 0.0, 1e9
    if actuator >= 0:
        motor = float(model.actuator_gainprm[actuator, 0]) / sharing
        damping -= float(model.actuator_biasprm[actuator, 2]) / sharing
        if model.actuator_forcelimited[actuator]:
            effort = float(np.abs(model.actuator_forcerange[actuator]).max()) / sharing
    total = motor + spring
    gain = motor / total if total else 0.0
    offset = (motor * -reference + spring * (rest - reference)) / total if total else 0.0
    return Drive(joint, actuator, gain, offset, polynomial, total, damping, effort)


def targets(model: mujoco.MjModel, drive: Drive, ctrl: np.ndarray, blend: np.ndarray) -> np.ndarray:
    """Target [N] of one joint, from qpos0, for ctrl [N, nu] and each simulation's (gain, offset) [N, 2]."""
    wanted = blend[:, 1]
    if drive.actuator >= 0:
        value = ctrl[:, drive.actuator]
        if model.actuator_ctrllimited[drive.actuator]:
            value = np.clip(value, *model.actuator_ctrlrange[drive.actuator])
        wanted = wanted + blend[:, 0] * value
    return np.polyval(drive.polynomial, wanted) if drive.polynomial else wanted


def _tree(model: mujoco.MjModel, root: int, bodies: list[int]) -> Actor:
    joints = {i: _joints(model, i) for i in bodies}
    free = next((j for j in joints[root] if int(model.jnt_type[j]) == _FREE), -1)
    compensation = model.body_gravcomp[bodies]
    if not np.isin(compensation, (0, 1)).all():
        raise ValueError(
            'Isaac Gym adapter: gravity acts on a link or does not; '
            f'set gravcomp of every body below {model.body(root).name!r} to 0 or to 1'
        )
    position, quaternion = model.body_pos[root].copy(), model.body_quat[root].copy()
    links: list[Link] = []
    if free >= 0:
        pose = model.qpos0[int(model.jnt_qposadr[free]) :][:7]
        position, quaternion = pose[:3].copy(), pose[3:].copy()
    elif joints[root]:  # the joint needs something to turn against
        links.append(Link(f'base{root}', -1, -1, np.zeros(3), np.array([1.0, 0, 0, 0]), [], tracked=False))
    index: dict[int, int] = {}
    for i in bodies:
        at_root = i == root
        link = Link(
            name=f'body{i}',
            body=i,
            parent=len(links) - 1 if at_root else index[int(model.body_parentid[i])],
            position=np.zeros(3) if at_root else model.body_pos[i].copy(),
            quaternion=np.array([1.0, 0, 0, 0]) if at_root else model.body_quat[i].copy(),
            geoms=_geoms(model, i),
            joints=[j for j in joints[i] if j != free],
        )
        index[i] = len(links)
        links.append(link)
    return Actor(f'actor{root}', links, free, position, quaternion, gravity=bool((compensation == 0).any()))


def _static(model: mujoco.MjModel, body: int, geom: int) -> Actor:
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    link = Link(f'fixed{geom}', body, -1, np.zeros(3), np.array([1.0, 0, 0, 0]), [geom], tracked=False)
    return Actor(f'static{geom}', [link], -1, data.xpos[body].copy(), data.xquat[body].copy(), gravity=False)


def collides(model: mujoco.MjModel, geom: int) -> bool:
    """Whether anything can touch a geom."""
    return bool(model.geom_contype[geom] or model.geom_conaffinity[geom])


def _geoms(model: mujoco.MjModel, body: int) -> list[int]:
    """A body's geoms, without planes and without what is neither felt nor seen."""
    first, count = int(model.body_geomadr[body]), int(model.body_geomnum[body])
    present = (i for i in range(first, first + count) if int(model.geom_type[i]) != _PLANE)
    return [i for i in present if collides(model, i) or model.geom_rgba[i, 3] > 0]


def _joints(model: mujoco.MjModel, body: int) -> list[int]:
    first, count = int(model.body_jntadr[body]), int(model.body_jntnum[body])
    return list(range(first, first + count))
