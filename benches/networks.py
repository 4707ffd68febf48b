"""The networks of the comparison in PyTorch, at any size, and how their tensors are called and laid out in nn.

equal.py compares at full size, tests/golden/numbers/make.py writes down small ones.
"""

from dataclasses import dataclass, field
from typing import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class Perceptron(nn.Module):
    def __init__(self, widths):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:]))

    def forward(self, x):
        for k, layer in enumerate(self.layers):
            x = layer(x if k == 0 else F.relu(x))
        return x


class LeNet(nn.Module):
    def __init__(self, channels, image, widths):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, channels[0], 5, padding=2), nn.Conv2d(channels[0], channels[1], 5)
        self.places = ((image // 2 - 4) // 2) ** 2
        self.dense = Perceptron([channels[1] * self.places, *widths])

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.first(x)), 2)
        x = F.max_pool2d(F.relu(self.second(x)), 2)
        return self.dense(x.flatten(1))


class DeepSet(nn.Module):
    def __init__(self, phi, rho):
        super().__init__()
        self.phi, self.rho = Perceptron(phi), Perceptron(rho)

    def forward(self, x):
        return self.rho(self.phi(x).sum(1))


class Reader(nn.Module):
    def __init__(self, features, width, classes):
        super().__init__()
        self.lstm, self.head = nn.LSTM(features, width, batch_first=True), nn.Linear(width, classes)

    def forward(self, x):
        return self.head(self.lstm(x)[1][0][0])


class Block(nn.Module):
    """A transformer's block; `pre`: the norms stand before attention and layers, else after the sums."""

    def __init__(self, width, hidden, heads, causal, pre):
        super().__init__()
        self.heads, self.causal, self.pre = heads, causal, pre
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def attention(self, x):
        q, k, v = (z.unflatten(-1, (self.heads, -1)).transpose(1, 2) for z in self.qkv(x).chunk(3, -1))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out(y.transpose(1, 2).flatten(2))

    def forward(self, x):
        feed = lambda x: self.down(F.gelu(self.up(x)))
        if self.pre:
            x = x + self.attention(self.first(x))
            return x + feed(self.second(x))
        x = self.first(x + self.attention(x))
        return self.second(x + feed(x))


class Gpt(nn.Module):
    def __init__(self, words, length, width, depth, heads):
        super().__init__()
        self.words, self.places = nn.Parameter(torch.randn(words, width) * 0.02), nn.Parameter(torch.randn(length, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, 4 * width, heads, True, True) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, i):
        x = self.words[i] + self.places
        for block in self.blocks:
            x = block(x)
        return self.norm(x) @ self.words.T


class Sines(nn.Module):
    """Layers of sin(30 (x W + b)), then a linear one."""

    def __init__(self, widths):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:]))
        for k, layer in enumerate(self.layers):
            bound = 1 / layer.in_features if k == 0 else (6 / layer.in_features) ** 0.5 / 30
            nn.init.uniform_(layer.weight, -bound, bound)

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = torch.sin(30 * layer(x))
        return self.layers[-1](x)


class Chain(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.w, self.b, self.norm = nn.Parameter(torch.randn(width)), nn.Parameter(torch.randn(width)), nn.LayerNorm(width)

    def forward(self, x):
        return self.norm(F.gelu(x * self.w + self.b))


class Convolution(nn.Module):
    """D^-1/2 (A + I) D^-1/2 x W + b of a graph."""

    def __init__(self, before, width):
        super().__init__()
        self.linear, self.bias = nn.Linear(before, width, bias=False), nn.Parameter(torch.zeros(width))

    def forward(self, x, source, target, weight):
        h = self.linear(x)
        return torch.zeros_like(h).index_add(0, target, weight * h[source]) + self.bias


class Graphs(nn.Module):
    def __init__(self, widths):
        super().__init__()
        self.layers = nn.ModuleList(Convolution(a, b) for a, b in zip(widths, widths[1:]))

    def forward(self, x, source, target):
        loops = torch.arange(len(x))
        source, target = torch.cat([source, loops]), torch.cat([target, loops])
        root = torch.bincount(target).to(x.dtype) ** -0.5
        weight = (root[source] * root[target])[:, None]
        for k, layer in enumerate(self.layers):
            x = layer(x if k == 0 else F.relu(x), source, target, weight)
        return x


class Residual(nn.Module):
    def __init__(self, before, width, stride):
        super().__init__()
        self.a, self.m = nn.Conv2d(before, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.b, self.n = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        if before != width:
            self.c, self.o = nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width)

    def forward(self, x):
        y = self.n(self.b(F.relu(self.m(self.a(x)))))
        return F.relu(y + (self.o(self.c(x)) if hasattr(self, "c") else x))


class ResNet(nn.Module):
    def __init__(self, widths, blocks, classes, stem=3):
        super().__init__()
        self.large = stem > 3
        self.stem, self.norm = nn.Conv2d(3, widths[0], stem, 2 if self.large else 1, stem // 2, bias=False), nn.BatchNorm2d(widths[0])
        layers, before = [], widths[0]
        for width in widths:
            for _ in range(blocks):
                layers.append(Residual(before, width, 1 if before == width else 2))
                before = width
        self.blocks, self.head = nn.ModuleList(layers), nn.Linear(before, classes)

    def forward(self, x):
        x = F.relu(self.norm(self.stem(x)))
        x = F.max_pool2d(x, 3, 2, 1) if self.large else x
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))


class ConvBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)

    def forward(self, x):
        return F.relu(self.norm(self.conv(x)))


@dataclass
class Network:
    """A network, what it is trained on, and the names of its layers in nn, in the order of `module.named_modules()`."""

    module: nn.Module
    inputs: list
    target: torch.Tensor
    names: dict
    optimizer: Callable = lambda parameters: torch.optim.SGD(parameters, 1e-4)
    loss: Callable = lambda out, y: F.cross_entropy(out.flatten(0, -2) if out.dim() == 3 else out, y.flatten() if out.dim() == 3 else y)
    """Parameters that do not move: nn has one where PyTorch has two."""
    frozen: list = field(default_factory=list)
    """What the inputs are called in the file of samples."""
    columns: tuple = ("x",)

    def __post_init__(self):
        for name in self.frozen:
            self.module.get_parameter(name).requires_grad_(False)

    def double(self):
        self.module.double()
        self.inputs = [x.double() if x.is_floating_point() else x for x in self.inputs]
        self.target = self.target.double() if self.target.is_floating_point() else self.target
        return self

    def tensors(self, of=lambda tensor: tensor):
        """Every tensor of the network by its name and in its layout in nn; `of` maps a tensor to what is asked of it."""
        found = {}
        for path, name in self.names.items():
            if path.startswith(":"):
                found[name] = of(self.module.get_parameter(path[1:])).detach().numpy()
                continue
            layer = self.module.get_submodule(path) if not path.startswith("=") else self.module.get_parameter(path[1:])
            for own, array in of_layer(layer, of):
                found[f"{name}.{own}" if name else own] = np.ascontiguousarray(array)
        return found


def of_layer(layer, of):
    """The tensors of one layer as nn has them: features come last, an image is (height, width, features)."""
    get = lambda tensor: of(tensor).detach().numpy()
    if isinstance(layer, nn.Parameter):
        yield "w", get(layer)
    elif isinstance(layer, nn.Linear):
        places = getattr(layer, "places", 1)
        w = get(layer.weight)
        yield "w", w.reshape(len(w), -1, places).swapaxes(1, 2).reshape(w.shape).T
        if layer.bias is not None:
            yield "b", get(layer.bias)
    elif isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        w = np.moveaxis(get(layer.weight), (1, 0), (-2, -1))
        yield "w", w.squeeze(-2) if getattr(layer, "depthwise", False) else w
        if layer.bias is not None:
            yield "b", get(layer.bias)
    elif isinstance(layer, nn.ConvTranspose2d):
        yield "w", get(layer.weight).transpose(2, 3, 0, 1)
        yield "b", get(layer.bias)
    elif isinstance(layer, nn.RNNBase):
        suffix = "_reverse" if getattr(layer, "backward", False) else ""
        for name, own in [("w", "weight_ih_l0"), ("u", "weight_hh_l0"), ("b", "bias_ih_l0")]:
            yield name, get(getattr(layer, own + suffix)).T
        if isinstance(layer, nn.GRU):
            # Of the second bias only the part inside of r (...) is apart in nn.
            yield "bn", get(getattr(layer, "bias_hh_l0" + suffix))[2 * layer.hidden_size :]
    elif isinstance(layer, nn.RMSNorm):
        yield "scale", get(layer.weight)
    elif isinstance(layer, (nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)):
        yield "scale", get(layer.weight)
        yield "shift", get(layer.bias)
        if isinstance(layer, nn.BatchNorm2d):
            yield "running_mean", get(layer.running_mean)
            yield "running_variance", get(layer.running_var)
    else:
        raise TypeError(type(layer))


def adam(parameters):
    return torch.optim.Adam([p for p in parameters if p.requires_grad], 1e-4)


def dense(path, name, count):
    return {f"{path}.layers.{k}": f"{name}.linear_0.{k}" for k in range(count)}


def transformer(path, name):
    parts = [("first", "layer_norm_0"), ("second", "layer_norm_1"), ("qkv", "attention.linear_0"), ("out", "attention.linear_1")]
    return {f"{path}.{a}": f"{name}.{b}" for a, b in parts + [("up", "feed.linear_0"), ("down", "feed.linear_1")]}


def residual(module):
    names, block_norms = {"stem": "conv2d_0", "norm": "batch_norm_0"}, [("a", "conv2d_0"), ("m", "batch_norm_0"), ("b", "conv2d_1"), ("n", "batch_norm_1")]
    for k, block in enumerate(module.blocks):
        own = block_norms + ([("c", "conv2d_2"), ("o", "batch_norm_2")] if hasattr(block, "c") else [])
        names |= {f"blocks.{k}.{a}": f"block_0.{k}.{b}" for a, b in own}
    return names | {"head": "linear_0"}


def labels(classes, *shape):
    return torch.randint(classes, shape)


def mlp(batch=64, widths=(784, 256, 128, 10)):
    names = {f"layers.{k}": f"mlp_0.linear_0.{k}" for k in range(len(widths) - 1)}
    return Network(Perceptron(widths), [torch.randn(batch, widths[0])], labels(widths[-1], batch), names)


def lenet(batch=64, channels=(6, 16), image=28, widths=(120, 84, 10)):
    module = LeNet(channels, image, widths)
    module.dense.layers[0].places = module.places
    names = {"first": "conv2d_0", "second": "conv2d_1"} | dense("dense", "mlp_0", len(widths))
    return Network(module, [torch.randn(batch, 1, image, image)], labels(widths[-1], batch), names)


def deepsets(batch=64, points=100, phi=(3, 64, 64), rho=(64, 64, 10)):
    names = dense("phi", "deep_set_0.mlp_0", len(phi) - 1) | dense("rho", "deep_set_0.mlp_1", len(rho) - 1)
    return Network(DeepSet(phi, rho), [torch.randn(batch, points, phi[0])], labels(rho[-1], batch), names, adam)


def lstm(batch=32, steps=100, features=64, width=128, classes=10):
    x = torch.randn(batch, steps, features)
    names = {"lstm": "lstm_0", "head": "linear_0"}
    return Network(Reader(features, width, classes), [x], labels(classes, batch), names, adam, frozen=["lstm.bias_hh_l0"])


def gpt(batch=8, words=96, length=128, width=256, depth=4, heads=4):
    module = Gpt(words, length, width, depth, heads)
    names = {"=words": "words", "=places": "add_positions_0"}
    for k in range(depth):
        names |= transformer(f"blocks.{k}", f"stack_0.{k}")
    return Network(module, [labels(words, batch, length)], labels(words, batch, length), names | {"norm": "layer_norm_0"}, adam)


def resnet20(batch=32, image=32, widths=(16, 32, 64), blocks=3, classes=10):
    module = ResNet(widths, blocks, classes)
    return Network(module, [torch.randn(batch, 3, image, image)], labels(classes, batch), residual(module))


def siren(points=4096, widths=(3,) + 8 * (256,) + (3,)):
    last = len(widths) - 2
    names = {"layers.0": "sine_0", f"layers.{last}": "linear_0"} | {f"layers.{k}": f"stack_0.{k - 1}" for k in range(1, last)}
    return Network(Sines(widths), [torch.rand(points, widths[0]) * 2 - 1], torch.randn(points, widths[-1]), names, adam, F.mse_loss)


def elementwise(rows=4096, width=1024):
    names = {":w": "scaled_0.w", ":b": "scaled_0.b", "norm": "layer_norm_0"}
    loss = lambda out, y: (out * y).mean()
    return Network(Chain(width), [torch.randn(rows, width)], torch.randn(rows, width), names, loss=loss)


def gcn(nodes=2708, links=5278, widths=(1433, 16, 7)):
    ends = set()
    while len(ends) < links:
        i, j = torch.randint(nodes, (2,)).tolist()
        ends |= {(min(i, j), max(i, j))} if i != j else set()
    ends = torch.tensor(sorted([*ends, *((j, i) for i, j in ends)], key=lambda end: end[::-1]))
    names = {f"layers.{k}.linear": f"gcn_{k}" for k in range(2)} | {f":layers.{k}.bias": f"gcn_{k}.b" for k in range(2)}
    inputs = [torch.randn(nodes, widths[0]), ends[:, 0], ends[:, 1]]
    return Network(Graphs(widths), inputs, labels(widths[-1], nodes), names, adam, columns=("x", "from", "to"))


def vgg(batch=8, image=56, width=64):
    images = (batch, width, image, image)
    sgd = lambda parameters: torch.optim.SGD(parameters, 1e-4)
    names = {"conv": "conv2d_0", "norm": "batch_norm_0"}
    return Network(ConvBlock(width), [torch.randn(images)], torch.randn(images), names, sgd, lambda out, y: (out * y).mean())


TRAINED = {make.__name__: make for make in [mlp, lenet, deepsets, lstm, gpt, resnet20, vgg, siren, elementwise, gcn]}
