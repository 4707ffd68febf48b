"""Golden trainings for tests/suite/trained.rs: PyTorch in float64, every step on the same batch.

Run with `pip install torch numpy safetensors` and `python trained.py`; it writes trained.safetensors beside itself. For each case:
`case/x` and `case/y`, the first weights `case/before/…` by their names in nn, and for each optimizer the losses of the steps
`case/optimizer/losses` and the last weights `case/optimizer/after/…`.

`python trained.py --perturb` tells how far PyTorch's own curves leave themselves when the first weights move by 1e-15 of their size: what
no implementation can be asked to stay below.
"""

import math
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file
from torch import nn

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "..", "benches"))
import networks
from networks import Network, labels


class Convolutions(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 4, 3, padding=2, dilation=2)
        self.norm = nn.GroupNorm(2, 4)
        self.b = nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=4)
        self.b.depthwise = True
        self.c = nn.ConvTranspose2d(4, 4, 3, stride=2, padding=1)
        self.d = nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=False)
        self.head = nn.Linear(16, 3)
        self.head.places = 4

    def forward(self, x):
        x = self.d(self.c(self.b(self.norm(self.a(x)))))
        return self.head(F.avg_pool2d(F.instance_norm(x), 2).flatten(1))


class Volume(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.head = nn.Conv3d(2, 3, 3, padding=1), nn.Linear(3, 2)

    def forward(self, x):
        return self.head(F.gelu(self.a(x.movedim(-1, 1))).mean((2, 3, 4)))


class Sequence(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.norm = nn.Conv1d(3, 4, 3, padding=1), nn.LayerNorm(4)
        self.forth, self.back = nn.GRU(4, 3, batch_first=True), nn.GRU(4, 3, batch_first=True)
        self.b, self.rms = nn.RNN(6, 4, batch_first=True), nn.RMSNorm(4, eps=1e-6)
        self.c, self.head = nn.LSTM(4, 3, batch_first=True), nn.Linear(3, 2)
        for layer in [self.forth, self.back, self.b, self.c]:
            # One of the two biases is enough, but for what stands inside of r (...) in a GRU.
            kept = torch.zeros_like(layer.bias_hh_l0)
            if isinstance(layer, nn.GRU):
                kept[2 * layer.hidden_size :] = 1
            layer.bias_hh_l0.data *= kept
            layer.bias_hh_l0.register_hook(lambda g, kept=kept: g * kept)

    def forward(self, x):
        x = self.norm(self.a(x.transpose(1, 2)).transpose(1, 2))
        x = torch.cat([self.forth(x)[0], self.back(x.flip(1))[0].flip(1)], -1)
        return self.head(self.c(self.rms(self.b(x)[0]))[0][:, -1])


def convolutions():
    names = {"a": "conv2d_0", "norm": "group_norm_0", "b": "depthwise_conv2d_0", "c": "conv_transpose2d_0", "d": "conv2d_1"}
    return Network(Convolutions(), [torch.randn(2, 3, 6, 6)], labels(3, 2), names | {"head": "linear_0"})


def volume():
    return Network(Volume(), [torch.randn(2, 3, 3, 3, 2)], labels(2, 2), {"a": "conv3d_0", "head": "linear_0"})


def sequence():
    names = {"a": "conv1d_0", "norm": "layer_norm_0", "forth": "bidirectional_0.gru_0", "back": "bidirectional_0.gru_1"}
    names |= {"b": "rnn_0", "rms": "rms_norm_0", "c": "lstm_0", "head": "linear_0"}
    return Network(Sequence(), [torch.randn(3, 5, 3)], labels(2, 3), names)


def transformer():
    """With tables of size 0.5. At the 0.02 of networks.gpt, layer norm divides four entries by almost nothing, and a training is chaos:
    at a rate of 0.01 the perturbed one has another loss after 100 steps."""
    network = networks.gpt(3, 7, 5, 4, 2, 2)
    with torch.no_grad():
        network.module.words.mul_(25)
        network.module.places.mul_(25)
    return network


class Lion(torch.optim.Optimizer):
    """Chen et al. 2023, algorithm 2."""

    def __init__(self, parameters, lr, beta1=0.9, beta2=0.99, decay=0.0):
        super().__init__(parameters, dict(lr=lr, beta1=beta1, beta2=beta2, decay=decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for w in group["params"]:
                m = self.state[w].setdefault("m", torch.zeros_like(w))
                direction = torch.sign(group["beta1"] * m + (1 - group["beta1"]) * w.grad)
                m.mul_(group["beta2"]).add_((1 - group["beta2"]) * w.grad)
                w.sub_(group["lr"] * (direction + group["decay"] * w))


class Lamb(torch.optim.Optimizer):
    """You et al. 2019, algorithm 2, with the identity for its function of the norm."""

    def __init__(self, parameters, lr, beta1=0.9, beta2=0.999, eps=1e-6, decay=0.0):
        super().__init__(parameters, dict(lr=lr, beta1=beta1, beta2=beta2, eps=eps, decay=decay))
        self.t = 0

    @torch.no_grad()
    def step(self):
        self.t += 1
        for group in self.param_groups:
            for w in group["params"]:
                m = self.state[w].setdefault("m", torch.zeros_like(w))
                v = self.state[w].setdefault("v", torch.zeros_like(w))
                m.mul_(group["beta1"]).add_((1 - group["beta1"]) * w.grad)
                v.mul_(group["beta2"]).add_((1 - group["beta2"]) * w.grad**2)
                r = m / (1 - group["beta1"] ** self.t) / ((v / (1 - group["beta2"] ** self.t)).sqrt() + group["eps"])
                r = r + group["decay"] * w
                trust = w.norm() / r.norm() if w.norm() > 0 and r.norm() > 0 else 1.0
                w.sub_(group["lr"] * trust * r)


class Clipped(torch.optim.SGD):
    def step(self):
        torch.nn.utils.clip_grad_norm_(self.param_groups[0]["params"], 0.1)
        super().step()


class Scheduled:
    """SGD whose rate a schedule sets anew after every step."""

    def __init__(self, parameters, schedule):
        self.rule = torch.optim.SGD(parameters, 0.1)
        self.schedule = schedule(self.rule)

    def zero_grad(self):
        self.rule.zero_grad()

    def step(self):
        self.rule.step()
        self.schedule.step()


class Averaged:
    """SGD whose weights are averaged after every step from `start` on; the averages take their place at the end."""

    def __init__(self, parameters, average, start=0):
        self.rule, self.parameters, self.average, self.start = torch.optim.SGD(parameters, 0.1), parameters, average, start
        self.averages, self.steps = [p.detach().clone() for p in parameters], 0

    def zero_grad(self):
        self.rule.zero_grad()

    def step(self):
        self.rule.step()
        with torch.no_grad():
            count = torch.tensor(self.steps - self.start)
            if self.steps >= self.start:
                self.average(self.averages, [p.detach() for p in self.parameters], count)
            else:
                self.averages = [p.detach().clone() for p in self.parameters]
        self.steps += 1

    def finish(self):
        with torch.no_grad():
            for p, average in zip(self.parameters, self.averages):
                p.copy_(average)


def warmed(after):
    """The rate of the linear warm-up in 4 steps, then `after` of the steps behind it."""
    return lambda step: (step + 1) / 4 if step < 4 else after(step - 4)


def scheduled(make):
    return lambda p: Scheduled(p, make)


SGD, O, R = torch.optim.SGD, torch.optim, torch.optim.lr_scheduler
A = torch.optim.swa_utils
OPTIMIZERS = {
    "sgd(0.1)": lambda p: SGD(p, 0.1),
    "sgd(0.1, decay: 0.1)": lambda p: SGD(p, 0.1, weight_decay=0.1),
    "sgd(0.1, momentum: 0.9)": lambda p: SGD(p, 0.1, momentum=0.9),
    "sgd(0.1, momentum: 0.9, nesterov: true)": lambda p: SGD(p, 0.1, momentum=0.9, nesterov=True),
    "sgd(0.1, clip: 0.1)": lambda p: Clipped(p, 0.1),
    "adagrad(0.1)": lambda p: O.Adagrad(p, 0.1),
    "rmsprop(0.01)": lambda p: O.RMSprop(p, 0.01),
    "rmsprop(0.01, momentum: 0.9)": lambda p: O.RMSprop(p, 0.01, momentum=0.9),
    "adadelta(1.0)": lambda p: O.Adadelta(p, 1.0),
    "adam(0.01)": lambda p: O.Adam(p, 0.01),
    "adam(0.01, decay: 0.1)": lambda p: O.Adam(p, 0.01, weight_decay=0.1),
    "adamw(0.01, decay: 0.1)": lambda p: O.AdamW(p, 0.01, weight_decay=0.1),
    "adamax(0.01)": lambda p: O.Adamax(p, 0.01),
    "nadam(0.01)": lambda p: O.NAdam(p, 0.01),
    "adagrad(0.1, initial: 0.1, decay: 0.05)": lambda p: O.Adagrad(p, 0.1, initial_accumulator_value=0.1, weight_decay=0.05),
    "rmsprop(0.01, alpha: 0.9, momentum: 0.8, decay: 0.1, centred: true)": lambda p: O.RMSprop(
        p, 0.01, alpha=0.9, momentum=0.8, weight_decay=0.1, centered=True),
    "sgd(step_decay(0.1, 3, factor: 0.5))": scheduled(lambda o: R.StepLR(o, 3, 0.5)),
    "sgd(exponential_decay(0.1, 0.8))": scheduled(lambda o: R.ExponentialLR(o, 0.8)),
    "sgd(cosine(0.1))": scheduled(lambda o: R.CosineAnnealingLR(o, 8)),
    "sgd(cosine(0.1, last: 0.02))": scheduled(lambda o: R.CosineAnnealingLR(o, 8, eta_min=0.02)),
    "sgd(linear_decay(0.1, last: 0.02))": scheduled(lambda o: R.LinearLR(o, 1.0, 0.2, 8)),
    "sgd(warm_up(0.1, 4))": scheduled(lambda o: R.LinearLR(o, 0.25, 1.0, 3)),
    "sgd(cosine(0.1, warmup: 4))": scheduled(lambda o: R.LambdaLR(o, warmed(lambda s: 0.5 * (1 + math.cos(math.pi * s / 4))))),
    "sgd(one_cycle(0.1))": scheduled(lambda o: R.OneCycleLR(o, 0.1, total_steps=8, cycle_momentum=False)),
    "sgd(one_cycle(0.1, rise: 0.5))": scheduled(lambda o: R.OneCycleLR(o, 0.1, total_steps=8, pct_start=0.5, cycle_momentum=False)),
    "sgd(inverse_sqrt(0.2, warmup: 3.0))": scheduled(
        lambda o: R.LambdaLR(o, lambda s: 2 * min((s + 1) ** -0.5, (s + 1) * 3**-1.5))),
    "sgd(0.1)\n  average ema(0.8)": lambda p: Averaged(p, A.get_ema_multi_avg_fn(0.8)),
    "sgd(0.1)\n  average swa(start: 0.5)": lambda p: Averaged(p, A.get_swa_multi_avg_fn(), 4),
    "lion(0.01, decay: 0.1)": lambda p: Lion(p, 0.01, decay=0.1),
    "lamb(0.01, decay: 0.1)": lambda p: Lamb(p, 0.01, decay=0.1),
}
"""What the stdlib's optimizers do in the tests, one program each: name in nn, and the same in PyTorch."""


def train(network, optimizer, steps):
    """The losses of the steps, with the weights that they lead to left in the network."""
    module, losses = network.module.train(), []
    rule = optimizer([p for p in module.parameters() if p.requires_grad])
    for _ in range(steps):
        rule.zero_grad()
        loss = network.loss(module(*network.inputs), network.target)
        loss.backward()
        losses.append(loss.item())
        rule.step()
    getattr(rule, "finish", lambda: None)()
    return np.array(losses)


CASES = {
    "mlp": (lambda: networks.mlp(6, (5, 6, 4, 3)), {"adam(0.01)": (OPTIMIZERS["adam(0.01)"], 200)}),
    "lenet": (lambda: networks.lenet(3, (2, 3), 16, (6, 5, 3)), {"sgd(0.05)": (lambda p: SGD(p, 0.05), 20)}),
    "deepsets": (lambda: networks.deepsets(4, 5, (3, 4, 4), (4, 4, 3)), {"adam(0.01)": (OPTIMIZERS["adam(0.01)"], 20)}),
    "lstm": (lambda: networks.lstm(4, 6, 3, 4, 3), {"adam(0.01)": (OPTIMIZERS["adam(0.01)"], 200)}),
    "gpt": (transformer, {"adam(0.01)": (OPTIMIZERS["adam(0.01)"], 200)}),
    "resnet20": (lambda: networks.resnet20(4, 8, (2, 3), 1, 3), {"adam(0.01)": (OPTIMIZERS["adam(0.01)"], 200)}),
    "convolutions": (convolutions, {"sgd(0.1)": (OPTIMIZERS["sgd(0.1)"], 5)}),
    "volume": (volume, {"sgd(0.1)": (OPTIMIZERS["sgd(0.1)"], 5)}),
    "sequence": (sequence, {"sgd(0.1)": (OPTIMIZERS["sgd(0.1)"], 5)}),
    "optimizers": (lambda: networks.mlp(5, (3, 4, 2)), {name: (rule, 8) for name, rule in OPTIMIZERS.items()}),
}


def prepared(case, make):
    torch.manual_seed(3)
    torch.set_default_dtype(torch.float64)
    network = make()
    if case == "lstm":
        network.module.lstm.bias_hh_l0.data.zero_()
    return network


def perturb():
    for case, (make, rules) in CASES.items():
        for name, (rule, steps) in rules.items():
            plain, most = train(prepared(case, make), rule, steps), 0.0
            for seed in range(4):
                network, numbers = prepared(case, make), torch.Generator().manual_seed(seed)
                with torch.no_grad():
                    for p in network.module.parameters():
                        p.mul_(1 + 1e-15 * (2 * torch.rand(p.shape, generator=numbers) - 1))
                most = max(most, np.max(np.abs(train(network, rule, steps) / plain - 1)))
            print(f"{case:14} {name:40} {steps:4} steps: {most:.1e}")


def main():
    arrays = {}
    for case, (make, rules) in CASES.items():
        for name, (rule, steps) in rules.items():
            network = prepared(case, make)
            x = network.inputs[0].numpy()
            arrays[f"{case}/x"] = np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if x.ndim == 4 else x.copy()
            arrays[f"{case}/y"] = network.target.numpy().copy()
            arrays |= {f"{case}/before/{key}": array.copy() for key, array in network.tensors().items()}
            arrays[f"{case}/{name}/losses"] = train(network, rule, steps)
            arrays |= {f"{case}/{name}/after/{key}": array.copy() for key, array in network.tensors().items()}
    save_file(arrays, os.path.join(HERE, "trained.safetensors"))


if __name__ == "__main__":
    perturb() if "--perturb" in sys.argv else main()
