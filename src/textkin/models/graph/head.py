"""After the encoder: pooling, then dense layers, norms and scaling, as the model's modules say."""

from __future__ import annotations

from pathlib import Path

from textkin.errors import UnsupportedModelError, WeightsError
from textkin.models.graph.parts import Parts, find
from textkin.models.layout import CURE, Dense, LayerNorm, Normalize, Pooling, Step
from textkin.models.settings import is_there

_ACTIVATIONS = {
    "Identity": (),
    "Tanh": ("Tanh",),
    "ReLU": ("Relu",),
    "Sigmoid": ("Sigmoid",),
    "GELU": ("Gelu",),
    "LeakyReLU": ("LeakyRelu",),
    "ELU": ("Elu",),
    "Softplus": ("Softplus",),
    "Hardswish": ("HardSwish",),
}


def pool(parts: Parts, rows: str, pooling: Pooling, hidden: int) -> tuple[str, int]:
    """Token rows ``(tokens, hidden)`` to text rows; their name and length.

    Every pooling but ``max`` is a product with a matrix of weights (input ``shares``, one sheet
    ``(texts, tokens)`` for each such mode, made by ``batching``); ``max`` adds the input ``bans``
    (0, or minus infinity where a place does not count) to the padded form.
    """
    joined = []
    linear = [mode for mode in pooling.modes if mode != "max"]
    sheets = parts.node("MatMul", "shares", rows) if linear else ""
    for mode in pooling.modes:
        if mode == "max":
            padded = parts.node("Add", parts.node("Gather", rows, "slots"), "bans")
            joined.append(parts.node("ReduceMax", padded, parts.ints(1), keepdims=0))
        else:
            joined.append(parts.node("Gather", sheets, parts.scalar(linear.index(mode))))
    if len(joined) == 1:
        return joined[0], hidden
    return parts.node("Concat", *joined, axis=-1), hidden * len(joined)


def finish(parts: Parts, rows: str, width: int, steps: tuple[Step, ...], folder: Path) -> tuple[str, int]:
    """Apply the modules after pooling; the name and length of the rows that come out."""
    for number, step in enumerate(steps):
        if isinstance(step, Normalize):
            rows = scale_to_one(parts, rows)
        elif isinstance(step, LayerNorm):
            own = parts.open([weights_file(folder / step.folder)])
            scale = parts.weight(f"step{number}.scale", find(own, "", "norm.weight", (width,)))
            shift = parts.weight(f"step{number}.shift", find(own, "", "norm.bias", (width,)))
            rows = parts.node("LayerNormalization", rows, scale, shift, epsilon=1e-5)
        else:
            rows, width = _dense(parts, rows, width, step, folder, f"step{number}")
    return rows, width


def scale_to_one(parts: Parts, rows: str) -> str:
    """Rows of unit length; a zero row stays zero."""
    length = parts.node("ReduceL2", rows, parts.ints(-1), keepdims=1)
    return parts.node("Div", rows, parts.node("Max", length, parts.floats(1e-12)))


def weights_file(folder: Path) -> Path:
    """The one safetensors file of a small module."""
    path = folder / "model.safetensors"
    if is_there(path):
        return path
    if (folder / "pytorch_model.bin").is_file():
        raise UnsupportedModelError(
            f"{folder} has its weights only as a pickle, which textkin never opens; {CURE}"
        )
    raise WeightsError(f"{path} is missing; fetch the model again")


def _dense(parts: Parts, rows: str, width: int, step: Dense, folder: Path, name: str) -> tuple[str, int]:
    if step.activation not in _ACTIVATIONS:
        raise UnsupportedModelError(
            f"the module {folder / step.folder} has the activation {step.activation}; "
            f"expected one of {', '.join(sorted(_ACTIVATIONS))}; {CURE}"
        )
    own = parts.open([weights_file(folder / step.folder)])
    weight = find(own, "", "linear.weight", (None, width))
    out = int(weight.shape[0])
    inputs = [rows, parts.weight(f"{name}.weight", weight)]
    if step.bias:
        inputs.append(parts.weight(f"{name}.bias", find(own, "", "linear.bias", (out,))))
    result = parts.node("Gemm", *inputs, transB=1)
    for op in _ACTIVATIONS[step.activation]:
        result = parts.node(op, result)
    if step.residual:
        if out != width:
            other = parts.weight(f"{name}.residual", find(own, "", "residual.weight", (out, width)))
            rows = parts.node("Gemm", rows, other, transB=1)
        result = parts.node("Add", result, rows)
    return result, out
