"""What is documented of ComfyUI's V3 interface (docs.comfy.org/custom-nodes/v3_migration), as strict classes.

An argument, a type or an attribute that is not documented raises TypeError or AttributeError, as a misspelt
one would in ComfyUI itself.
"""

import types
from dataclasses import dataclass, field
from typing import Any


@dataclass(kw_only=True)
class Schema:
    node_id: str
    display_name: str | None = None
    category: str = "sd"
    inputs: list = field(default_factory=list)
    outputs: list = field(default_factory=list)
    hidden: list = field(default_factory=list)
    description: str = ""
    is_input_list: bool = False
    is_output_node: bool = False
    is_deprecated: bool = False
    is_experimental: bool = False
    is_api_node: bool = False
    not_idempotent: bool = False


@dataclass
class Input:
    id: str
    display_name: str | None = None
    optional: bool = False
    tooltip: str | None = None
    lazy: bool | None = None


@dataclass(kw_only=True)
class FloatInput(Input):
    id: str = field(kw_only=False)
    default: float
    min: float
    max: float
    step: float
    round: float | None = None
    display_mode: Any = None


@dataclass(kw_only=True)
class ComboInput(Input):
    id: str = field(kw_only=False)
    options: list[str]
    default: str

    def __post_init__(self):
        assert self.default in self.options


@dataclass
class Output:
    id: str | None = None
    display_name: str | None = None
    tooltip: str | None = None
    is_output_list: bool = False


class NodeOutput:
    def __init__(self, *args):
        self.args = args


class ComfyNode:
    """As ComfyUI treats a node: class methods only, inputs by name."""

    @classmethod
    def run(cls, **inputs):
        schema = cls.define_schema()
        missing = {i.id for i in schema.inputs if not i.optional} - set(inputs)
        assert not missing, missing
        found = cls.execute(**inputs)
        assert isinstance(found, NodeOutput)
        assert len(found.args) == len(schema.outputs)
        return found.args


class ComfyExtension:
    async def get_node_list(self):
        raise NotImplementedError  # as in ComfyUI: an extension says what its nodes are


def modules() -> dict[str, types.ModuleType]:
    """`comfy_api.latest` to put into sys.modules."""
    package, latest = types.ModuleType("comfy_api"), types.ModuleType("comfy_api.latest")
    kinds = {"Image": Input, "Mask": Input, "Float": FloatInput, "Combo": ComboInput}
    types_of = {name: types.SimpleNamespace(Input=kind, Output=Output) for name, kind in kinds.items()}
    latest.io = types.SimpleNamespace(ComfyNode=ComfyNode, NodeOutput=NodeOutput, Schema=Schema, **types_of)
    latest.ComfyExtension = ComfyExtension
    package.latest = latest
    return {"comfy_api": package, "comfy_api.latest": latest}
