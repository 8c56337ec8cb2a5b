"""The graph's parts: valid ONNX, safetensors read in place, buckets, rounding."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from textkin.errors import UnsupportedModelError, WeightsError
from textkin.models.graph import cache, proto
from textkin.models.graph.build import build
from textkin.models.graph.families import family, relative_buckets
from textkin.models.graph.linear import quantized
from textkin.models.graph.parts import Parts
from textkin.models.graph.session import Session
from textkin.models.graph.tensors import Tensors
from textkin.models.layout import read_layout

onnx = pytest.importorskip("onnx")
TINY = Path(__file__).parent.parent / "golden" / "tiny"


@pytest.mark.parametrize("name", sorted(folder.name for folder in TINY.iterdir()))
def test_the_bytes_are_the_model_that_the_onnx_package_reads(name: str) -> None:
    layout = read_layout(TINY / name)
    graph = build(layout, family(layout.config), "float32", [])
    model = onnx.load_from_string(graph.model.proto)
    assert [value.name for value in model.graph.input] == list(graph.inputs)
    assert [value.name for value in model.graph.output] == ["vectors"]
    assert model.SerializeToString(deterministic=True)
    made = {name for node in model.graph.node for name in node.output}
    known = (
        made | {value.name for value in model.graph.input} | {tensor.name for tensor in model.graph.initializer}
    )
    used = {name for node in model.graph.node for name in node.input if name}
    assert used <= known
    assert sum(tensor.data_location for tensor in model.graph.initializer) > 0


def test_every_message_survives_the_round_trip() -> None:
    node = onnx.NodeProto.FromString(
        proto.node("Op", ["a", "", "b"], ["c"], "com.microsoft", whole=-3, real=0.5, word="é", row=(1, -2, 300))
    )
    assert (node.op_type, node.domain, list(node.input), list(node.output)) == (
        "Op",
        "com.microsoft",
        ["a", "", "b"],
        ["c"],
    )
    found = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    assert found == {"whole": -3, "real": 0.5, "word": "é".encode(), "row": [1, -2, 300]}
    for dtype in (np.float32, np.int8, np.uint8, np.int32, np.int64):
        array = np.arange(6).reshape(2, 3).astype(dtype)
        back = onnx.numpy_helper.to_array(onnx.TensorProto.FromString(proto.tensor("t", array)))
        assert back.dtype == dtype
        assert (back == array).all()
    value = onnx.ValueInfoProto.FromString(proto.value("v", proto.INT64, ["n", 7]))
    dims = value.type.tensor_type.shape.dim
    assert (value.name, dims[0].dim_param, dims[1].dim_value) == ("v", "n", 7)


def test_a_small_graph_computes(tmp_path: Path) -> None:
    from textkin.models.graph.build import Graph

    parts = Parts()
    big = np.arange(1024, dtype=np.float32).reshape(2, 512)
    result = parts.node("Gemm", "x", parts.weight("w", big), transB=1)
    model = parts.model([proto.value("x", proto.FLOAT, ["n", 512])], result, ["n", 2])
    assert model.folder is None
    assert list(model.given) == ["w"]
    run = Session(Graph(model, 2, ("x",), 0), ["CPUExecutionProvider"])
    x = np.ones((3, 512), dtype=np.float32)
    np.testing.assert_allclose(run({"x": x}), x @ big.T)


def safetensors(path: Path, header: object, data: bytes = b"\x00" * 16) -> Path:
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + data)
    return path


def entry(dtype: str, shape: list[int], start: int, end: int) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def test_tensors_are_read_in_place(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    rows = np.arange(12, dtype=np.float32).reshape(3, 4)
    half = np.array([1.5, -2.0], dtype=np.float16)
    save_file({"rows": rows, "half": half}, tmp_path / "a.safetensors")
    found = Tensors([tmp_path / "a.safetensors"])
    assert sorted(found) == ["half", "rows"]
    assert (found["rows"] == rows).all()
    assert found["half"].dtype == np.float32
    assert found["half"].tolist() == [1.5, -2.0]
    place = found.origin(found["rows"])
    assert place is not None
    assert np.fromfile(place[0], dtype=np.float32, count=12, offset=place[1]).tolist() == list(range(12))
    assert found.origin(found["half"]) is None
    assert found.origin(found["rows"].T) is None


def test_bfloat16(tmp_path: Path) -> None:
    wanted = np.array([1.0, -0.5, 3.25, 1e30], dtype=np.float32)
    data = (wanted.view(np.uint32) >> 16).astype(np.uint16)
    found = Tensors([safetensors(tmp_path / "a", {"t": entry("BF16", [4], 0, 8)}, data.tobytes())])["t"]
    np.testing.assert_allclose(found, wanted, rtol=0.01)


@pytest.mark.parametrize(
    "header",
    [
        b"{",
        b"[]",
        b"\xff\xfe",
        {"t": entry("F32", [4], 0, 20)},
        {"t": entry("F32", [4], 8, 24)},
        {"t": entry("F32", [4], -8, 8)},
        {"t": entry("F32", [3], 0, 16)},
        {"t": entry("F32", [-4], 0, 16)},
        {"t": {"dtype": "F32"}},
        {"t": 5},
    ],
)
def test_hostile_headers(tmp_path: Path, header: object) -> None:
    with pytest.raises(WeightsError):
        Tensors([safetensors(tmp_path / "a", header)])


def test_a_header_longer_than_the_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(struct.pack("<Q", 1 << 62) + b"{}")
    with pytest.raises(WeightsError):
        Tensors([tmp_path / "a"])


def test_a_kind_of_number_that_can_not_be_read(tmp_path: Path) -> None:
    found = Tensors([safetensors(tmp_path / "a", {"t": entry("F8_E4M3", [16], 0, 16)})])
    with pytest.raises(UnsupportedModelError, match="F8_E4M3"):
        found["t"]


def test_relative_buckets_by_hand() -> None:
    found = dict(zip(range(-299, 300), relative_buckets(300).tolist(), strict=True))
    # Keys before the query count from 0, keys after it from 16; eight near ones apart, then by the logarithm.
    assert [found[-k] for k in range(8)] == list(range(8))
    assert [found[k] for k in range(1, 8)] == list(range(17, 24))
    assert found[-8] == 8
    assert found[8] == 24
    assert found[-128] == found[-299] == 15
    assert found[128] == found[299] == 31


def test_rounding_of_weights() -> None:
    weight = np.random.default_rng(0).standard_normal((5, 40)).astype(np.float32)
    weight[3] = 0
    numbers, scale = quantized(weight)
    assert numbers.shape == (40, 5)
    assert numbers.dtype == np.int8
    assert np.abs(numbers).max() == 63
    assert np.abs(numbers.T * scale[:, None] - weight).max() <= scale.max() / 2 + 1e-7
    # The promise that keeps processors without VNNI exact: two products fit 16 bits.
    assert 2 * 255 * int(np.abs(numbers.astype(int)).max()) < 2**15


def test_cache_round_trip(own_places: Path) -> None:
    arrays = {"a": np.arange(6, dtype=np.int8).reshape(2, 3), "b": np.array([0.5], dtype=np.float32)}
    assert cache.find("key") is None
    cache.save("key", arrays)
    kept = cache.find("key")
    assert kept is not None
    place = kept.path
    found = Tensors([place])
    assert all((found[name] == array).all() for name, array in arrays.items())
    assert [path.name for path in place.parent.iterdir()] == ["key.safetensors"]
