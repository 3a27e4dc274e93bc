# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A MuJoCo scene as actors, asset files, drives and collision filters; and frame conventions."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest
from isaacgym_scenes import scene

from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.sim.isaacgym import actors, assets, frames
from apprentice.sim.scene import Scene
from apprentice.sim.tasks import load_task


@pytest.fixture(scope='module')
def model():
    return scene()


def describe(model, folder):
    drives = actors.drives(model)
    filters = assets.collision_filters(model)
    found = {}
    for actor in actors.scene_actors(model):
        file = assets.write_asset(model, actor, folder)
        found[actor.name] = assets.describe(model, actor, file, drives, filters)
    return found


def test_the_scene_becomes_trees_free_bodies_and_what_never_moves(model):
    found = actors.scene_actors(model)
    links = {actor.name: [link.body for link in actor.links] for actor in found}
    body = {name: model.body(name).id for name in ('cabinet', 'drawer', 'lever', 'wedge', 'ball', 'marker')}
    assert links[f'static{model.geom("block").id}'] == [0]
    assert links[f'actor{body["cabinet"]}'] == [body['cabinet'], body['drawer']]
    assert links[f'actor{body["lever"]}'] == [-1, *range(body['lever'], body['marker'] + 1)]  # -1: a base
    floating = {actor.name for actor in found if actor.free >= 0}
    assert floating == {f'actor{body["wedge"]}', f'actor{body["ball"]}'}
    gravity = {actor.name: actor.gravity for actor in found}
    assert not gravity[f'actor{body["lever"]}']
    assert gravity[f'actor{body["ball"]}']
    assert all(model.geom('floor').id not in link.geoms for actor in found for link in actor.links)
    (ground,) = assets.ground(model)
    assert ground == {'normal': [0, 0, 1], 'distance': pytest.approx(0.1), 'friction': pytest.approx(0.7)}


def test_files_load_in_mujoco_with_the_same_kinematics(model, tmp_path):
    data = mujoco.MjData(model)
    rng = np.random.default_rng(0)
    for joint in range(model.njnt):
        if model.jnt_limited[joint]:
            data.qpos[model.jnt_qposadr[joint]] = rng.uniform(*model.jnt_range[joint])
    mujoco.mj_kinematics(model, data)
    describe(model, tmp_path)
    for actor in actors.scene_actors(model):
        copy = mujoco.MjModel.from_xml_path(str(tmp_path / f'{actor.name}.xml'))
        state = mujoco.MjData(copy)
        for link in actor.links:
            for joint in link.joints:
                address = model.jnt_qposadr[joint]
                state.qpos[copy.joint(f'joint{joint}').qposadr] = data.qpos[address] - model.qpos0[address]
        if actor.free >= 0:
            state.qpos[:3], state.qpos[3:7] = actor.position, actor.quaternion
        mujoco.mj_kinematics(copy, state)
        at_origin = actor.free >= 0  # the root of a fixed actor is placed by create_actor
        frame = np.eye(3) if at_origin else frames.matrices(actor.quaternion)
        place = np.zeros(3) if at_origin else actor.position
        for link in (link for link in actor.links if link.tracked):
            np.testing.assert_allclose(
                place + frame @ state.body(link.name).xpos, data.xpos[link.body], atol=1e-6
            )
            for geom in link.geoms:
                centre = place + frame @ state.geom(f'geom{geom}').xpos
                np.testing.assert_allclose(centre, data.geom_xpos[geom], atol=1e-5)


def test_masses_and_inertias_are_the_compiled_ones(model, tmp_path):
    bodies = {b['name']: b for actor in describe(model, tmp_path).values() for b in actor['bodies']}
    number = model.body('twist').id
    inertia = np.array(bodies[f'body{number}']['inertia']).reshape(3, 3)
    np.testing.assert_allclose(np.sort(np.linalg.eigvalsh(inertia)), np.sort(model.body_inertia[number]))
    axes = frames.matrices(model.body_iquat[number])
    np.testing.assert_allclose(axes.T @ inertia @ axes, np.diag(model.body_inertia[number]), atol=1e-9)
    assert [bodies[f'body{number}']['gravity'], bodies[f'body{model.body("ball").id}']['gravity']] == [
        False,
        True,
    ]
    assert bodies[f'body{number}']['mass'] == pytest.approx(0.2)
    assert bodies[f'body{model.body("marker").id}']['mass'] > 0  # PhysX refuses zero


def test_drives_hold_gains_springs_and_couplings(model):
    drives = {model.joint(joint).name: drive for joint, drive in actors.drives(model).items()}
    lever = drives['lever']  # a motor of 24 and a spring of 8 that rests at 0.2, counted from ref 0.1
    assert (lever.stiffness, lever.damping) == (32, 2)
    blend = np.array([[lever.gain, lever.offset]])
    target = actors.targets(model, lever, np.array([[0.5, 0, 0, 0]]), blend)[0]
    assert target == pytest.approx((24 * 0.5 + 8 * 0.2) / 32 - 0.1)
    beyond = actors.targets(model, lever, np.array([[5.0, 0, 0, 0]]), blend)[0]
    assert beyond == pytest.approx((24 * 1.0 + 8 * 0.2) / 32 - 0.1)  # ctrlrange
    left, right = drives['left'], drives['right']
    assert (left.stiffness, left.effort) == (right.stiffness, right.effort) == (50, 3)  # they share the motor
    ctrl, blend = np.array([[0, 0, 0, 0.03]]), np.array([[right.gain, right.offset]])
    assert actors.targets(model, right, ctrl, blend)[0] == pytest.approx(0.002 + 0.5 * 0.03)
    drawer = drives['drawer']
    assert (drawer.actuator, drawer.stiffness, drawer.damping) == (-1, 0, 3)


def test_a_force_of_friction_is_no_coefficient(model, tmp_path):
    found = {dof['name']: dof for actor in describe(model, tmp_path).values() for dof in actor['dofs']}
    assert model.dof_frictionloss[model.joint('drawer').dofadr[0]] == 0.1
    assert found[f'joint{model.joint("drawer").id}']['friction'] == 0.0


LINKS = """
<mujoco>
  <option><flag {flag}/></option>
  <worldbody>
    <geom name="floor" type="plane" size="2 2 0.1"/>
    <geom name="wall" type="box" size="0.1 0.1 0.1"/>
    <body name="foot">
      <geom name="foot" size="0.1"/>
      <body name="shin"><joint/><geom name="shin" type="capsule" size="0.1 0.1"/>
        <body name="knee"><geom name="knee" size="0.1"/>
          <body name="thigh"><joint/><geom name="thigh" type="box" size="0.1 0.1 0.1"/>
            <body name="hip"><joint/><geom name="hip" size="0.1"/><geom name="ghost" size="0.1" contype="0"/>
            </body>
          </body>
        </body>
      </body>
    </body>
    <body name="ball"><freejoint/><geom name="ball" size="0.1" contype="2"/>
      <body name="handle"><geom name="handle" size="0.1" conaffinity="2"/></body>
    </body>
  </worldbody>
  <contact><exclude body1="hip" body2="shin"/><exclude body1="knee" body2="ball"/></contact>
</mujoco>"""
KINDS = {
    'scene': scene,
    'links': lambda: mujoco.MjModel.from_xml_string(LINKS.format(flag='filterparent="enable"')),
    'parents too': lambda: mujoco.MjModel.from_xml_string(LINKS.format(flag='filterparent="disable"')),
}


def touching(model):
    """Pairs of geoms between which MuJoCo makes contacts when all of them are in one place."""
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    found = set()
    for a in range(model.ngeom):  # two at a time: their neighbourhood does not matter
        for b in range(a):
            data.geom_xpos[:] = 10.0 * np.arange(model.ngeom)[:, None]
            data.geom_xpos[[a, b]] = [[0, 0, 0], [0.003, 0.002, 0.001]]
            mujoco.mj_collision(model, data)
            found |= {frozenset(map(int, contact.geom)) for contact in data.contact}
    return found


@pytest.mark.parametrize('kind', KINDS)
def test_filters_let_exactly_those_geoms_collide_that_mujoco_lets(kind):
    model = KINDS[kind]()
    model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_MIDPHASE)
    filters, pairs = assets.collision_filters(model), touching(model)
    assert model.geom('floor').id not in filters
    assert len(pairs) > 5
    for a in filters:
        for b in filters:
            owners = model.geom_bodyid[[a, b]]
            if owners[0] == owners[1] or not model.body_weldid[owners].any():
                continue  # of one body, or both fixed to the world: it does not matter
            names = model.geom(a).name, model.geom(b).name
            assert (frozenset((a, b)) in pairs) == (not filters[a] & filters[b]), names


@pytest.mark.parametrize('task', ['pick', 'place', 'press', 'stack', 'drawer', 'peg', 'wipe'])
def test_filters_suffice_for_the_scenes_of_tasks(task):
    spec = RobotSpec.load(share('robots', 'sim_arm.yaml'))
    model = Scene(spec, load_task(task)).model
    actors.scene_actors(model)
    assert max(assets.collision_filters(model).values()) < 1 << assets.FILTER_BITS


def test_too_many_filters_are_refused():
    fixed = '<geom size="0.1"/>' * 40
    ghost = '<body><freejoint/><geom size="0.1" mass="1" contype="0" conaffinity="0"/></body>'
    ball = '<body><freejoint/><geom size="0.1"/></body>'
    xml = '<mujoco><worldbody>{}</worldbody></mujoco>'
    assets.collision_filters(mujoco.MjModel.from_xml_string(xml.format(fixed + ghost)))
    model = mujoco.MjModel.from_xml_string(xml.format(40 * ball + ghost))
    with pytest.raises(ValueError, match='fewer values of contype'):
        assets.collision_filters(model)


SLIDE = '<joint name="j" type="slide"/><geom size="0.1"/>'
JOINT = f'<body name="b">{SLIDE}</body>'
REFUSED = {
    'ball joint': ('<body><joint name="hip" type="ball"/><geom size="0.1"/></body>', '', "ball joint 'hip'"),
    'ellipsoid': ('<geom name="egg" type="ellipsoid" size="0.1 0.2 0.1"/>', '', "geom 'egg'"),
    'mocap': ('<body name="hand" mocap="true"><geom size="0.1"/></body>', '', "mocap body 'hand'"),
    'motor': (JOINT, '<actuator><motor name="pull" joint="j"/></actuator>', "actuator 'pull'"),
    'gear': (JOINT, '<actuator><position name="pull" joint="j" gear="2"/></actuator>', "actuator 'pull'"),
    'weld': (JOINT, '<equality><weld name="glue" body1="b"/></equality>', "equality 'glue'"),
    'tendon': (JOINT, '<tendon><fixed name="t"><joint joint="j" coef="1"/></fixed></tendon>', "tendon 't'"),
    'pair': (
        '<body name="b"><freejoint/><geom name="g" size="0.1"/></body><geom name="h" size="0.1"/>',
        '<contact><pair geom1="g" geom2="h"/></contact>',
        'contact pair of bodies',
    ),
    'half of gravity': (
        f'<body name="b">{SLIDE}<body gravcomp="0.5"><joint/><geom size="0.1"/></body></body>',
        '',
        "below 'b'",
    ),
    'coupling without a motor': (
        JOINT + '<body><joint name="k"/><geom size="0.1"/></body>',
        '<equality><joint joint1="j" joint2="k"/></equality>',
        "coupled to 'k'",
    ),
}


@pytest.mark.parametrize('kind', REFUSED)
def test_what_has_no_counterpart_is_named(kind):
    world, rest, message = REFUSED[kind]
    model = mujoco.MjModel.from_xml_string(f'<mujoco><worldbody>{world}</worldbody>{rest}</mujoco>')
    with pytest.raises(ValueError, match=message):
        actors.scene_actors(model)


def test_cameras_look_along_x_with_z_up():
    rng = np.random.default_rng(1)
    quaternion = rng.normal(size=4)
    quaternion /= np.linalg.norm(quaternion)
    mine = frames.matrices(quaternion)
    theirs = frames.matrices(frames.to_wxyz(frames.camera_rotation(quaternion)))
    np.testing.assert_allclose(theirs[:, 0], -mine[:, 2], atol=1e-12)  # forward
    np.testing.assert_allclose(theirs[:, 1], -mine[:, 0], atol=1e-12)  # left
    np.testing.assert_allclose(theirs[:, 2], mine[:, 1], atol=1e-12)  # up
    np.testing.assert_array_equal(frames.to_wxyz(frames.to_xyzw(quaternion)), quaternion)
    assert frames.horizontal_field_of_view(60, 64, 64) == pytest.approx(60)
    assert frames.horizontal_field_of_view(60, 128, 64) == pytest.approx(98.21, abs=0.01)


def test_matrices_and_products_are_mujocos():
    rng = np.random.default_rng(2)
    first, second = rng.normal(size=(2, 4))
    first, second = first / np.linalg.norm(first), second / np.linalg.norm(second)
    product, matrix = np.zeros(4), np.zeros(9)
    mujoco.mju_mulQuat(product, first, second)
    np.testing.assert_allclose(frames.multiply(first, second), product)
    mujoco.mju_quat2Mat(matrix, first)
    np.testing.assert_allclose(frames.matrices(first).reshape(-1), matrix, atol=1e-12)
