"""Architectures under examples/ against PyTorch: the same weights, the same input, the largest difference of what comes out.

    pip install torch torchvision numpy
    python tests/zoo/equal.py [target/release/nnc] [name ...]

Each model of torchvision (or a reference below) gets random weights; they are renamed to nn's paths and handed to `nnc run`. Both list
their layers in the order of application, so the k-th layer of one is the k-th of the other; images are f32[H, W, C] here, so kernels and
the first layer behind a flattened image are transposed. The result, with time and memory of `nnc run`, is tests/zoo/equal.json, from
which tests/suite/zoo.rs makes a table of examples/README.md. Not part of the tests: it takes minutes and 3 GB of memory.
"""

import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NNC = sys.argv[1] if len(sys.argv) > 1 else "target/release/nnc"
torch.manual_seed(0)


def nn_layers(program, dims):
    """Paths of parameters and states by layer, in the order of application; members of a stack one after the other."""
    out = subprocess.run([NNC, "compile", program, "--emit", "graph", *dims], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    sizes = dict(re.findall(r"(?:axis |, )([^=,]+?) = (\d+)(?=,|\n)", out))
    owned = re.findall(r"^%\d+ = (?:param|state) (\S+) : \w+(?:\[([^\]]*)\])?", out, re.M)
    blocks, layers = [], {}
    for path, axes in owned:
        layer, _, leaf = path.rpartition(".")
        stack = re.match(r"(.*?)\.\*", layer)
        members = int(sizes[axes.split(",")[0].strip()]) if stack else 1
        key = stack.group(0) if stack else layer
        if key not in layers:
            layers[key] = (members, {})
            blocks.append(key)
        layers[key][1].setdefault(layer, []).append(leaf)
    for key in blocks:
        members, inner = layers[key]
        for member in range(members):
            for layer, leaves in inner.items():
                yield layer.replace(".*", f".{member}"), leaves


def torch_layers(model):
    """Layers with parameters in the order of application: registration, but the way past a residual block comes first."""
    named = dict(model.named_children())
    names = sorted(named, key=lambda name: name not in ("downsample", "past"))
    if not named and any(True for _ in model.parameters()):
        yield model
    for name in names:
        yield from torch_layers(named[name])


def weights(path, layer, leaves, flat):
    """nn's tensors of one layer of PyTorch's."""
    w = layer.weight.detach()
    if isinstance(layer, nn.ConvTranspose2d):
        w = w.permute(2, 3, 0, 1)
    elif isinstance(layer, nn.Conv2d):
        line = 1 in w.shape[2:] and w.shape[2] != w.shape[3]
        w = w.permute(2, 3, 1, 0)
        w = w.squeeze() if line else w
        if layer.groups == layer.in_channels > 1:
            w = w[:, :, 0]
        elif "linear" in path:
            w = w[0, 0]
    elif isinstance(layer, nn.Linear):
        if layer in flat:
            w = w.reshape(len(w), *flat[layer]).permute(0, 2, 3, 1).reshape(len(w), -1)
        w = w.T
    bias = None if layer.bias is None else layer.bias.detach()
    named = dict(w=w, b=bias, scale=w, shift=bias)
    if isinstance(layer, nn.BatchNorm2d):
        named |= dict(running_mean=layer.running_mean, running_variance=layer.running_var)
    return {leaf: named[leaf] for leaf in leaves}


def save(path, tensors):
    """A file of safetensors."""
    header, start = {}, 0
    tensors = {name: np.ascontiguousarray(tensor.float().numpy()) for name, tensor in tensors.items()}
    for name, array in tensors.items():
        header[name] = dict(dtype="F32", shape=list(array.shape), data_offsets=[start, start + array.nbytes])
        start += array.nbytes
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in tensors.values():
            file.write(array.tobytes())


def run(program, tensors, inputs, dims):
    """The output of `nnc run`, its seconds and its gigabytes."""
    with tempfile.TemporaryDirectory() as folder:
        save(f"{folder}/w.safetensors", tensors)
        arguments = []
        for name, array in inputs.items():
            np.save(f"{folder}/{name}.npy", array)
            arguments += ["--input", f"{name}={folder}/{name}.npy"]
        output = program.split(":")[1]
        start = time.time()
        command = [NNC, "run", program, "--weights", f"{folder}/w.safetensors", *arguments, "--output", f"{output}={folder}/y.npy", *dims]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        most = 0
        while process.poll() is None:
            # What the process itself has had at most: that of its resource usage counts the fork of this one, too.
            with open(f"/proc/{process.pid}/status") as status:
                most = max([most, *(int(line.split()[1]) for line in status if line.startswith("VmHWM"))])
            time.sleep(0.01)
        seconds = time.time() - start
        if process.returncode:
            raise SystemExit(f"{' '.join(command)}\n{process.stdout.read()}")
        return np.load(f"{folder}/y.npy"), seconds, most / 2**20


def awake(model):
    """Weights under which values neither vanish nor explode, and norms that do something."""
    for layer in model.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.normal_(layer.bias, std=0.1)
        elif isinstance(layer, (nn.BatchNorm2d, nn.LayerNorm)):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, std=0.1)
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.normal_(layer.running_mean, std=0.1)
                nn.init.uniform_(layer.running_var, 0.5, 1.5)
    return model.eval()


def image(program, model, size, flat=None, channels=3, batched=False, dims=()):
    """A network that reads images; `flat` is the shape that its first linear layer reads flattened."""
    model = awake(model)
    first = next((layer for layer in model.modules() if isinstance(layer, nn.Linear)), None)
    flat = {first: flat} if flat else {}
    theirs = list(torch_layers(model))
    tensors = {}
    ours = list(nn_layers(program, dims))
    assert len(ours) == len(theirs), (program, len(ours), len(theirs))
    for (path, leaves), layer in zip(ours, theirs):
        tensors |= {f"{path}.{leaf}": value for leaf, value in weights(path, layer, leaves, flat).items()}
    x = torch.randn(1, channels, size, size)
    with torch.no_grad():
        y = model(x)
    y = y.permute(0, 2, 3, 1) if y.dim() == 4 else y
    x = x.permute(0, 2, 3, 1).contiguous().numpy()
    return program, tensors, {"x": x}, y.numpy(), dims


class Double(nn.Sequential):
    def __init__(self, i, o, padding):
        super().__init__(nn.Conv2d(i, o, 3, 1, padding), nn.ReLU(), nn.Conv2d(o, o, 3, 1, padding), nn.ReLU())


class UNet(nn.Module):
    """Ronneberger et al. 2015, with padding."""

    def __init__(self, i=1, width=64, levels=4):
        super().__init__()
        self.down = Double(i, width, 1)
        if levels:
            self.below = UNet(width, 2 * width, levels - 1)
            self.up = nn.ConvTranspose2d(2 * width, width, 2, 2)
            self.join = Double(2 * width, width, 1)

    def forward(self, x):
        a = self.down(x)
        if not hasattr(self, "below"):
            return a
        return self.join(torch.cat([a, self.up(self.below(F.max_pool2d(a, 2)))], 1))


def block(prefix, layer, heads_in, theirs):
    """nn's tensors of a transformer's block from the modules norm 1, in, out, norm 2, feed 1, feed 2 of PyTorch's."""
    names = ["layer_norm_0", "attention.linear_0", "attention.linear_1", "layer_norm_1", "feed.linear_0", "feed.linear_1"]
    tensors = {}
    for name, (w, b) in zip(names, theirs):
        leaves = ("scale", "shift") if "norm" in name else ("w", "b")
        tensors[f"{prefix}.{name}.{leaves[0]}"] = w if "norm" in name else w.T
        tensors[f"{prefix}.{name}.{leaves[1]}"] = b
    return tensors


def pair(layer):
    return layer.weight.detach(), layer.bias.detach()


def vit():
    model = awake(torchvision.models.vit_b_16())
    for layer in model.encoder.layers:
        nn.init.normal_(layer.self_attention.in_proj_bias, std=0.1)
    nn.init.normal_(model.class_token)
    tensors = {
        "class": model.class_token.detach()[0],
        "conv2d_0.w": model.conv_proj.weight.detach().permute(2, 3, 1, 0),
        "conv2d_0.b": model.conv_proj.bias.detach(),
        "add_positions_0.w": model.encoder.pos_embedding.detach()[0],
        "layer_norm_0.scale": model.encoder.ln.weight.detach(),
        "layer_norm_0.shift": model.encoder.ln.bias.detach(),
        "linear_0.w": model.heads.head.weight.detach().T,
        "linear_0.b": model.heads.head.bias.detach(),
    }
    for k, layer in enumerate(model.encoder.layers):
        attention = layer.self_attention
        tensors |= block(f"stack_0.{k}", layer, 12, [
            pair(layer.ln_1), (attention.in_proj_weight.detach(), attention.in_proj_bias.detach()), pair(attention.out_proj),
            pair(layer.ln_2), pair(layer.mlp[0]), pair(layer.mlp[3]),
        ])
    x = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        y = model(x)
    return "examples/vision/vit.nn:vit", tensors, {"x": x.permute(0, 2, 3, 1).contiguous().numpy()}, y.numpy(), ()


def encoder(program, norm_first, activation, vocabulary, length, eps=1e-5):
    """GPT-2 and BERT by PyTorch's own encoder layers."""
    layer = nn.TransformerEncoderLayer(768, 12, 3072, 0.0, activation, norm_first=norm_first, batch_first=True)
    model = awake(nn.TransformerEncoder(layer, 12, enable_nested_tensor=False))
    words, places, segments = torch.randn(vocabulary, 768) * 0.02, torch.randn(length, 768) * 0.02, torch.randn(2, 768) * 0.02
    tensors = {}
    for k, layer in enumerate(model.layers):
        attention = layer.self_attn
        tensors |= block(f"{'' if norm_first else 'encode_0.'}stack_0.{k}", layer, 12, [
            pair(layer.norm1), (attention.in_proj_weight.detach(), attention.in_proj_bias.detach()), pair(attention.out_proj),
            pair(layer.norm2), pair(layer.linear1), pair(layer.linear2),
        ])
    return model, words, places, segments, tensors


def gpt2():
    model, words, places, _, tensors = encoder("gpt2", True, lambda x: F.gelu(x, approximate="tanh"), 50257, 1024)
    norm = awake(nn.Sequential(nn.LayerNorm(768)))[0]
    i = torch.randint(0, 50257, (64,))
    with torch.no_grad():
        mask = nn.Transformer.generate_square_subsequent_mask(64)
        y = norm(model((words[i] + places[:64])[None], mask=mask, is_causal=True)[0]) @ words.T
    tensors |= {"words.w": words, "add_positions_0.w": places, "layer_norm_0.scale": norm.weight.detach(), "layer_norm_0.shift": norm.bias.detach()}
    return "examples/language/gpt2.nn:gpt2", tensors, {"i": i.numpy()}, y.numpy(), ()


def bert():
    model, words, places, segments, tensors = encoder("bert", False, "gelu", 30522, 512)
    norm, head, last = awake(nn.Sequential(nn.LayerNorm(768, 1e-12), nn.Linear(768, 768), nn.LayerNorm(768, 1e-12)))
    shift = torch.randn(30522) * 0.1
    i, segment = torch.randint(0, 30522, (128,)), (torch.arange(128) > 70).long()
    with torch.no_grad():
        h = model(norm(words[i] + segments[segment] + places[:128])[None])[0]
        y = last(F.gelu(head(h))) @ words.T + shift
    tensors |= {
        "words.w": words, "encode_0.embedding_0.w": segments, "encode_0.add_positions_0.w": places, "shift": shift,
        "encode_0.layer_norm_0.scale": norm.weight.detach(), "encode_0.layer_norm_0.shift": norm.bias.detach(),
        "linear_0.w": head.weight.detach().T, "linear_0.b": head.bias.detach(),
        "layer_norm_0.scale": last.weight.detach(), "layer_norm_0.shift": last.bias.detach(),
    }
    return "examples/language/bert.nn:bert_words", tensors, {"i": i.numpy(), "segment": segment.numpy()}, y.numpy(), ()


def recurrent(kind, name):
    model = kind(128, 256, batch_first=True)
    x = torch.randn(1, 50, 128)
    with torch.no_grad():
        y, _ = model(x)
    path = f"{name}_0"
    tensors = {
        f"{path}.w": model.weight_ih_l0.detach().T,
        f"{path}.u": model.weight_hh_l0.detach().T,
        f"{path}.b": (model.bias_ih_l0 + model.bias_hh_l0).detach(),
    }
    return f"examples/sequences/recurrent.nn:{name}_states", tensors, {"x": x[0].numpy()}, y[0].numpy(), ()


def lenet():
    pool = lambda: nn.AvgPool2d(2)
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.Tanh(), pool(), nn.Conv2d(6, 16, 5), nn.Tanh(), pool(), nn.Flatten(),
        nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10),
    )


def tv(name, file, model, size=224, **more):
    build = getattr(torchvision.models, name)
    options = dict(aux_logits=False, init_weights=False) if name in ("googlenet", "inception_v3") else {}
    return lambda: image(f"examples/vision/{file}.nn:{model}", build(**options), size, **more)


import torchvision

CASES = {
    "LeNet-5 of today": lambda: image("examples/vision/lenet5.nn:lenet5", lenet(), 32, flat=(16, 5, 5), channels=1),
    "AlexNet on one card": tv("alexnet", "alexnet", "alexnet", flat=(256, 6, 6)),
    "VGG-16": tv("vgg16", "vgg", "vgg16", flat=(512, 7, 7)),
    "SqueezeNet 1.1": tv("squeezenet1_1", "squeezenet", "squeezenet_1_1"),
    "SqueezeNet": tv("squeezenet1_0", "squeezenet", "squeezenet"),
    "ResNet-18": tv("resnet18", "resnet", "resnet18"),
    "ResNet-50 v1.5": tv("resnet50", "resnet", "resnet50_late"),
    "ResNet-152 v1.5": tv("resnet152", "resnet", "resnet152_late"),
    "DenseNet-121": tv("densenet121", "densenet", "densenet121"),
    "GoogLeNet with batch_norm": tv("googlenet", "googlenet", "googlenet_norm"),
    "Inception v3": tv("inception_v3", "inception", "inception_v3", size=299),
    "EfficientNet-B0": tv("efficientnet_b0", "efficientnet", "efficientnet_b0"),
    "U-Net with padding": lambda: image("examples/vision/unet.nn:unet_padded", nn.Sequential(UNet(), nn.Conv2d(64, 1, 1)), 128, channels=1),
    "Vision transformer": vit,
    "GPT-2": gpt2,
    "BERT that fills in words": bert,
    "RNN": lambda: recurrent(nn.RNN, "rnn"),
    "LSTM": lambda: recurrent(nn.LSTM, "lstm"),
}

if __name__ == "__main__":
    result = os.path.join(ROOT, "tests", "zoo", "equal.json")
    table = json.load(open(result)) if os.path.exists(result) else {}
    for name in sys.argv[2:] or CASES:
        program, tensors, inputs, expected, dims = CASES[name]()
        got, seconds, memory = run(program, tensors, inputs, dims)
        assert got.shape == expected.shape, (name, got.shape, expected.shape)
        difference = float(np.abs(got - expected).max() / np.abs(expected).max())
        print(f"{name}: {difference:.1e} of {np.abs(expected).max():.2g}, {seconds:.1f} s, {memory:.2f} GB", flush=True)
        assert difference < 1e-4, name
        table[name] = dict(difference=f"{difference:.0e}", seconds=round(seconds, 1), gigabytes=round(memory, 2))
        with open(result, "w") as file:
            json.dump({name: table[name] for name in CASES if name in table}, file, indent=1)
            file.write("\n")
