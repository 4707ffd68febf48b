"""Equal numbers: one training step and three updates of each network of this folder, by nnc and by PyTorch.

    python equal.py [--nnc ../target/release/nnc] [--float f64] [--dump FOLDER] [NAME …]

Draws weights and samples, or takes them from FOLDER/NAME.npz (p_… parameters in the order of the module, x0, y; loss and g_…
gradients are then compared too); writes data/NAME.npz and data/NAME.safetensors for NAME.nn; trains one step with an optimizer
that puts the gradient in the place of the weights, and three as the program says; and prints the greatest differences, relative
to the largest entry of each tensor. Needs `pip install torch numpy safetensors`.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

import networks

HERE = os.path.dirname(os.path.abspath(__file__))
GRADIENT = "\noptimizer gradient(w: f32[..S], g: f32[..S]) -> f32[..S] = g + 0 * w\n"


def arranged(x):
    """An array of samples as nn has it: images with their features last."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if x.ndim == 4 else x


def from_dump(network, path):
    """Puts the dump's parameters and samples into the network; gives the dump."""
    dump = np.load(path)
    given = [torch.from_numpy(dump[key]) for key in dump.files if key.startswith("p_") and not key.endswith(("_rm", "_rv"))]
    own = list(network.module.parameters())
    assert [p.shape for p in own] == [p.shape for p in given], path
    for parameter, value in zip(own, given):
        parameter.data = value.clone()
    network.inputs, network.target = [torch.from_numpy(dump["x0"])], torch.from_numpy(dump["y"])
    return dump


def merge_biases(network):
    """PyTorch's LSTM has two biases, of which only the sum counts: the first one takes both."""
    for layer in network.module.modules():
        if isinstance(layer, torch.nn.LSTM):
            layer.bias_ih_l0.data += layer.bias_hh_l0.data
            layer.bias_hh_l0.data.zero_()


def reference(network, steps=3):
    """The loss and gradients of the first step, and what `steps` updates make of every tensor."""
    module, optimizer, losses = network.module.train(), network.optimizer(list(network.module.parameters())), []
    for step in range(steps):
        optimizer.zero_grad()
        loss = network.loss(module(*network.inputs), network.target)
        loss.backward()
        losses.append(loss.item())
        if step == 0:
            gradients = network.tensors(lambda tensor: tensor.grad if tensor.requires_grad else tensor)
            gradients = {name: array.copy() for name, array in gradients.items()}
        optimizer.step()
    return losses, gradients, {name: array.copy() for name, array in network.tensors().items()}


def run(nnc, program, name, epochs, float_):
    """Trains a program that stands beside NAME.nn for so many steps: its losses and all its tensors."""
    with tempfile.TemporaryDirectory() as out, tempfile.NamedTemporaryFile("w", suffix=".nn", dir=HERE) as file:
        file.write(program)
        file.flush()
        command = [nnc, "train", f"{file.name}:{name}", "--steps", str(epochs), "--float", float_, "--out", out]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
        with open(os.path.join(out, "metrics.jsonl")) as lines:
            losses = [json.loads(line)["train_loss"] for line in lines]
        return losses, load_file(os.path.join(out, "weights.safetensors"))


def difference(found, expected):
    """The greatest difference of any tensor, relative to its largest entry, and the tensor's name."""
    assert found.keys() == expected.keys(), found.keys() ^ expected.keys()
    of = lambda a, b: np.abs(a.astype(np.float64) - b).max() / max(np.abs(b).max(), 1e-30)
    return max((float(of(found[name], expected[name])), name) for name in expected)


def compare(name, nnc, float_, dump):
    torch.manual_seed(0)
    network = networks.TRAINED[name]()
    given = from_dump(network, os.path.join(dump, f"{name}.npz")) if dump else None
    merge_biases(network)
    # In f64 everything begins with the same numbers of f32.
    network.double()
    dtype = np.float64 if float_ == "f64" else np.float32
    before = {key: array.copy() for key, array in network.tensors().items()}
    os.makedirs(os.path.join(HERE, "data"), exist_ok=True)
    arrays = dict(zip(network.columns, (arranged(x.numpy()) for x in network.inputs))) | {"y": arranged(network.target.numpy())}
    arrays = {key: x.astype(dtype) if x.dtype.kind == "f" else x for key, x in arrays.items()}
    np.savez(os.path.join(HERE, "data", f"{name}.npz"), **arrays)
    save_file({key: array.astype(dtype) for key, array in before.items()}, os.path.join(HERE, "data", f"{name}.safetensors"))
    losses, gradients, after = reference(network)
    with open(os.path.join(HERE, f"{name}.nn")) as file:
        program = file.read()
    first = re.sub(r"(?m)^( *optim +).*$", r"\1gradient()", program) + GRADIENT
    loss, found = run(nnc, first, name, 1, float_)
    trained, updated = run(nnc, program, name, 3, float_)
    moved = lambda tensors: {key: tensors[key].astype(np.float64) - before[key] for key in before}
    result = {"name": name, "float": float_, "loss": abs(loss[0] - losses[0]) / abs(losses[0])}
    result["gradients"], result["worst"] = difference(found, gradients)
    result["losses"] = max(abs(a - b) / abs(b) for a, b in zip(trained, losses))
    result["updated"], _ = difference(updated, after)
    result["updates"], result["worst_update"] = difference(moved(updated), moved(after))
    if given is not None:
        result["dumped_loss"] = abs(loss[0] - float(given["loss"])) / abs(float(given["loss"]))
    return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--nnc", default=os.path.join(HERE, "..", "target", "release", "nnc"))
    parser.add_argument("--float", default="f32", choices=["f32", "f64"])
    parser.add_argument("--dump")
    parser.add_argument("names", nargs="*", default=list(networks.TRAINED))
    arguments = parser.parse_args()
    for name in arguments.names:
        print(json.dumps(compare(name, os.path.abspath(arguments.nnc), arguments.float, arguments.dump)), flush=True)


if __name__ == "__main__":
    main()
