"""An exported model's file: ONNX, or torch.export's."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from mmlevelset.errors import InputError
from mmlevelset.experiments.export.comparison import Run

EXAMPLE = (96, 128)
"""Height and width of the image that is traced. Results do not depend on it."""
LARGEST_SIDE = 16384
OPSET = 18


def traced(network: Any) -> Any:
    """Return torch.export's program of a network from image (h, w, 3) and size (2,) to a dict.

    Sides of at least the network's ``smallest_side`` pixels give one program; an ONNX file takes
    smaller images too.
    """
    import torch
    from torch.export import Dim

    height, width = (
        Dim(name, min=network.smallest_side, max=LARGEST_SIDE) for name in ("height", "width")
    )
    image = torch.randint(256, (*EXAMPLE, 3), dtype=torch.uint8)
    size = torch.tensor([EXAMPLE[0] * 2, EXAMPLE[1] * 2 + 3])
    with torch.no_grad():
        return torch.export.export(
            network,
            (image, size),
            dynamic_shapes=({0: height, 1: width}, None),
            strict=False,
        )


def write_onnx(program: Any, path: str, about: dict[str, Any]) -> None:
    """Write a traced network as an ONNX file.

    Args:
        program: The result of :func:`traced`.
        path: The file.
        about: Metadata, which the file holds as JSON under ``mmlevelset``.
    """
    import logging

    import torch

    from mmlevelset.experiments.export import onnx_nodes, plain

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    replaced = plain.decompositions()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of torch's own use of its functions
        graphs = [each.graph for each in program.graph_module.modules() if hasattr(each, "graph")]
        if any(node.target in replaced for graph in graphs for node in graph.nodes):
            program = program.run_decompositions(replaced)
        made = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            custom_translation_table=onnx_nodes.translations(),
            input_names=["image", "size"],
            output_names=output_names(program),
            verbose=False,
        )
    assert made is not None
    made.model.metadata_props["mmlevelset"] = json.dumps(about)
    made.save(path, external_data=False)


def output_names(program: Any) -> list[str]:
    """Return the names of a traced network's outputs, in their order."""
    from torch.utils import _pytree as pytree

    structure = program.call_spec.out_spec
    return list(pytree.tree_unflatten(range(structure.num_leaves), structure))


def run_onnx(path: str) -> Run:
    """Return an ONNX file as a function."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]

    def run(image: np.ndarray, size: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(None, {"image": image, "size": size}), strict=True))

    return run


def write_pt2(program: Any, path: str, about: dict[str, Any]) -> None:
    """Write a traced network as torch.export's file; the arguments are :func:`write_onnx`'s."""
    import torch

    with open(path, "wb") as file:
        torch.export.save(program, file, extra_files={"mmlevelset": json.dumps(about)})


def run_pt2(path: str) -> Run:
    """Return a file of torch.export as a function."""
    import torch

    with open(path, "rb") as file:
        module = torch.export.load(file).module()

    def run(image: np.ndarray, size: np.ndarray) -> dict[str, np.ndarray]:
        with torch.no_grad():
            outputs = module(torch.from_numpy(image), torch.from_numpy(size))
        return {name: value.numpy() for name, value in outputs.items()}

    return run


FORMATS: dict[str, tuple[Callable[[Any, str, dict[str, Any]], None], Callable[[str], Run]]] = {
    ".onnx": (write_onnx, run_onnx),
    ".pt2": (write_pt2, run_pt2),
}
"""Suffix -> how the file is written and run."""


def require_libraries() -> None:
    """Raise InputError unless the libraries of an ONNX export are installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError(
            f'an .onnx file needs pip install "mmlevelset[export]": {error}'
        ) from error
