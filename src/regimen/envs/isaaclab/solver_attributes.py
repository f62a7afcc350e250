"""Attributes of USD prims from which Newton's MuJoCo solver takes what UsdPhysics has no name for.

Their names are those that Newton reads: `mjc:…` as in MuJoCo's own USD schema. Friction is that of a physics material.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import mujoco


def write_robot(prim: Any) -> None:
    """Write that the robot does not collide with itself.

    Args:
        prim: root of the articulation.
    """
    from pxr import Sdf

    prim.CreateAttribute("newton:selfCollisionEnabled", Sdf.ValueTypeNames.Bool).Set(False)


def write_joint(prim: Any, model: mujoco.MjModel, joint: int) -> None:
    """Write passive damping, dry friction, and the parameters of the limit of a joint.

    Args:
        prim: of the joint.
        model: compiled MJCF.
        joint: its number there; a hinge or slide.
    """
    dof = int(model.jnt_dofadr[joint])
    _floats(prim, "mjc:damping", float(model.dof_damping[dof]))
    _floats(prim, "mjc:frictionloss", float(model.dof_frictionloss[dof]))
    _floats(prim, "mjc:solreflimit", model.jnt_solref[joint])
    _floats(prim, "mjc:solimplimit", model.jnt_solimp[joint])


def write_shape(prim: Any, root: Any, model: mujoco.MjModel, geom: int) -> None:
    """Write friction and the contact parameters of a colliding shape.

    Args:
        prim: of the shape.
        root: path of the robot; materials are its children.
        model: compiled MJCF.
        geom: number of the geom there.
    """
    from pxr import Sdf, UsdPhysics, UsdShade

    for name in ("priority", "condim"):
        value = int(getattr(model, f"geom_{name}")[geom])
        prim.CreateAttribute(f"mjc:{name}", Sdf.ValueTypeNames.Int).Set(value)
    for name in ("solref", "solimp"):
        _floats(prim, f"mjc:{name}", getattr(model, f"geom_{name}")[geom])
    _floats(prim, "mjc:solmix", float(model.geom_solmix[geom]))
    sliding, torsional, rolling = (float(x) for x in model.geom_friction[geom])
    material = UsdShade.Material.Define(prim.GetStage(), root.AppendChild(f"friction_{geom}"))
    physics = UsdPhysics.MaterialAPI.Apply(material.GetPrim())
    physics.CreateDynamicFrictionAttr(sliding)
    physics.CreateStaticFrictionAttr(sliding)
    physics.CreateRestitutionAttr(0.0)
    _floats(material.GetPrim(), "mjc:torsionalfriction", torsional)
    _floats(material.GetPrim(), "mjc:rollingfriction", rolling)
    binding = UsdShade.MaterialBindingAPI.Apply(prim)
    binding.Bind(material, UsdShade.Tokens.weakerThanDescendants, "physics")


def _floats(prim: Any, name: str, value: Any) -> None:
    """Write one number, or an array of them."""
    from pxr import Sdf

    if isinstance(value, float):
        prim.CreateAttribute(name, Sdf.ValueTypeNames.Double).Set(value)
    else:
        prim.CreateAttribute(name, Sdf.ValueTypeNames.DoubleArray).Set([float(x) for x in value])
