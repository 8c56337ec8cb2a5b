"""Open a graph in onnxruntime, on the device that was asked for."""

from __future__ import annotations

from textkin._optional import load_onnxruntime
from textkin.errors import InputError, ModelError, WeightsError
from textkin.models.batching import Feed
from textkin.models.graph.build import Graph
from textkin.types import Matrix

_PROVIDERS = {
    "cpu": ("CPUExecutionProvider", "onnxruntime"),
    "cuda": ("CUDAExecutionProvider", "onnxruntime-gpu"),
    "coreml": ("CoreMLExecutionProvider", "onnxruntime (on macOS)"),
    "directml": ("DmlExecutionProvider", "onnxruntime-directml (on Windows)"),
}
_BEST_FIRST = ("cuda", "directml", "coreml", "cpu")


def providers(device: str, precision: str) -> list[str]:
    """onnxruntime's engines for a device, the wanted one first.

    Raises:
        InputError: no such device, or eight-bit weights elsewhere than on the CPU.
        ModelError: the installed onnxruntime lacks it; names the package that brings it.
    """
    onnxruntime = load_onnxruntime()
    there = onnxruntime.get_available_providers()
    if device == "auto":
        device = next(name for name in _BEST_FIRST if _PROVIDERS[name][0] in there)
        if precision == "int8":
            device = "cpu"
    if device not in _PROVIDERS:
        raise InputError(f"no device {device!r}; expected auto, {', '.join(_PROVIDERS)}")
    provider, package = _PROVIDERS[device]
    if provider not in there:
        raise ModelError(
            f"the installed onnxruntime can't use {device}; run: pip uninstall onnxruntime; pip install {package}"
        )
    if device == "cpu":
        return [provider]
    if precision == "int8":
        raise InputError(f"precision int8 is for the CPU; use float32 on {device}")
    return [provider, "CPUExecutionProvider"]


class Session:
    """Runs a graph; may be called from several threads at once.

    Args:
        graph: what to run.
        engines: from ``providers``.

    Raises:
        ModelError: the device was found but does not work.
        WeightsError: the weights don't make a graph.
    """

    def __init__(self, graph: Graph, engines: list[str]) -> None:
        onnxruntime = load_onnxruntime()
        from onnxruntime.capi import onnxruntime_pybind11_state as errors

        options = onnxruntime.SessionOptions()
        # Batches run side by side, each on one thread: less waiting than one batch on all of them.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        if engines[0] == "CPUExecutionProvider":
            # The graph is already made of fused operators: looking for more only takes time.
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        if graph.model.folder is not None:
            options.add_session_config_entry(
                "session.model_external_initializers_file_folder_path", str(graph.model.folder)
            )
        self._given = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in graph.model.given.values()]
        options.add_external_initializers(list(graph.model.given), self._given)
        self._failures = tuple(
            kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)
        )
        try:
            self._session = onnxruntime.InferenceSession(graph.model.proto, options, providers=engines)
        except self._failures as error:
            raise WeightsError(
                f"onnxruntime can't open the model, its files don't fit together ({error!s:.300}); fetch it again"
            ) from error
        if self._session.get_providers()[0] != engines[0]:
            raise ModelError(
                f"onnxruntime could not start {engines[0]}; look at its libraries (CUDA, cuDNN) and drivers"
            )

    def __call__(self, feed: Feed) -> Matrix:
        try:
            result: Matrix = self._session.run(["vectors"], feed)[0]
        except self._failures as error:
            raise ModelError(
                f"onnxruntime failed while it ran the model ({error!s:.300}); fetch the model again, or use fewer "
                "threads if memory is short"
            ) from error
        return result
