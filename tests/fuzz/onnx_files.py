"""Change ONNX files at random and read them: each gives a network or an error of quantloom, in little time and memory.

    python -m tests.fuzz.onnx_files [FILE.onnx] [--cases 2000] [--seed 1] [--module]

With --module they are read with their weights, as `search` reads them, traced, and run on zeros.

Half of the cases change bytes, half change fields of the decoded file (dims, names, numbers, operators, what is left
out). Without a file a small one is made. Anything else than a network or a QuantloomError is printed and kept.
"""

from __future__ import annotations

import argparse
import collections
import resource
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

import onnx
from onnx import TensorProto, helper
from tests.fuzz.mutate import changed_bytes

from quantloom.errors import QuantloomError
from quantloom.workload.load import load_network

NUMBERS = (0, 1, -1, 2, 3, 7, 128, 1_000_003, 1 << 31, (1 << 31) + 1, 1 << 40, 1 << 62, -(1 << 63))
OPERATORS = (
    *("Add", "Attention", "Concat", "ConstantOfShape", "Conv", "ConvTranspose", "Einsum", "Expand", "Foo", "GRU"),
    *("Gather", "Gemm", "If", "LSTM", "Loop", "MatMul", "MaxPool", "Pad", "Range", "Reshape", "Resize", "Shape"),
    *("Slice", "Softmax", "Split", "Squeeze", "Tile", "TopK", "Unsqueeze"),
)


def small_model() -> bytes:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Shape", ["a"], ["s"], "shape"),
        helper.make_node("Gather", ["s", "first"], ["b"], "gather"),
        helper.make_node("Unsqueeze", ["b", "axes"], ["u"], "unsqueeze"),
        helper.make_node("Concat", ["u", "rest"], ["target"], "concat", axis=0),
        helper.make_node("Reshape", ["a", "target"], ["r"], "reshape"),
        helper.make_node("Slice", ["r", "starts", "ends", "axes1"], ["l"], "slice"),
        helper.make_node("Transpose", ["l"], ["t"], "transpose", perm=[0, 2, 1]),
        helper.make_node("MatMul", ["l", "t"], ["p"], "matmul"),
        helper.make_node("ConvTranspose", ["p", "v"], ["y"], "up", strides=[2], group=1),
    ]
    numbers = {"first": (0, []), "axes": (0, [1]), "rest": ([4, -1], [2]), "starts": (0, [1]), "ends": (3, [1])}
    weights = [
        helper.make_tensor(name, TensorProto.FLOAT, dims, bytes(4 * size), raw=True)
        for name, dims, size in (("w", [4, 3, 3, 3], 108), ("v", [3, 2, 3], 18))
    ]
    ints = [
        helper.make_tensor(name, TensorProto.INT64, dims, value if isinstance(value, list) else [value])
        for name, (value, dims) in {**numbers, "axes1": (1, [1])}.items()
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [*weights, *ints],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


def fields(message: Any) -> list[tuple[Any, Any, Any]]:
    found = []
    for descriptor, value in message.ListFields():
        if descriptor.name == "raw_data":
            continue
        found.append((message, descriptor, value))
        is_list = hasattr(value, "append") or hasattr(value, "add")
        if descriptor.message_type:
            for each in value if is_list else [value]:
                found += fields(each)
    return found


def changed_fields(data: bytes, rng: Random) -> bytes:
    model = onnx.ModelProto.FromString(data)
    names = [name for node in model.graph.node for name in node.output] + [t.name for t in model.graph.initializer]
    for _ in range(rng.randrange(1, 4)):
        message, descriptor, value = rng.choice(fields(model))
        try:
            if hasattr(value, "append") or hasattr(value, "add"):
                at = rng.randrange(max(1, len(value)))
                if rng.random() < 0.5 or descriptor.message_type:
                    del value[at]
                else:
                    value[at] = rng.choice(NUMBERS) if isinstance(value[at], int) else rng.choice([*names, ""])
            elif isinstance(value, int):
                setattr(message, descriptor.name, rng.choice([*NUMBERS, rng.randrange(20)]))
            elif isinstance(value, str):
                setattr(message, descriptor.name, rng.choice(OPERATORS if descriptor.name == "op_type" else names))
            elif descriptor.message_type:
                message.ClearField(descriptor.name)
        except (ValueError, TypeError, IndexError):
            continue  # protobuf does not take the value: the file stays as it is
    return model.SerializeToString()


def run_module(path: str) -> None:
    """Read a file as the search does."""
    from quantloom.workload.from_torch import trace
    from quantloom.workload.onnx_module import module_from_onnx
    from quantloom.workload.onnx_sizes import OnnxSizes

    module, shape = module_from_onnx(path, OnnxSizes())
    trace(module, shape, name="net")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--module", action="store_true", help="read the weights too, and run the module")
    parser.add_argument("--options", default="", help="behind the file, such as batch=1")
    args = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    data = small_model() if args.file is None else args.file.read_bytes()
    rng, outcomes, slowest, faults = Random(args.seed), collections.Counter[str](), 0.0, 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "case.onnx"
        for case in range(args.cases):
            path.write_bytes((changed_bytes if case % 2 else changed_fields)(data, rng))
            start = time.process_time()
            try:
                if args.module:
                    run_module(str(path))
                else:
                    load_network(f"{path}:{args.options}" if args.options else str(path))
                outcomes["module" if args.module else "network"] += 1
            except QuantloomError as error:
                outcomes[type(error).__name__] += 1
            except Exception as error:
                faults += 1
                kept = Path(tempfile.gettempdir()) / f"fault-{args.seed}-{case}.onnx"
                kept.write_bytes(path.read_bytes())
                sys.stdout.write(f"case {case}: {type(error).__name__}: {error}; kept as {kept}\n")
            slowest = max(slowest, time.process_time() - start)
    counts = ", ".join(f"{name} {count}" for name, count in outcomes.most_common())
    sys.stdout.write(f"{args.cases} cases: {counts}; {faults} faults; slowest {slowest:.2f} s of CPU\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
