"""Samples of operators and of the library for tests/suite/samples.rs: values, gradients and gradients of gradients by PyTorch in float64.

Run with `pip install torch numpy safetensors` and `python samples.py`; it writes samples.nn and samples.safetensors beside itself.

A sample is a function of tensors `x…` that may own weights. Everything that it reads is a parameter in nn, also the cotangent t of its
result y and directions v for its arguments, and the program's optimizer puts the gradient in the place of the weight. So one step of
`train values_…`, whose loss is Σ y t, gives y itself (by t) and all gradients; one step of `train slopes_…`, whose loss is Σ v dx for the
gradients dx of Σ y t, gives the gradients again (by v), and the derivatives of gradients by everything.
"""

import math
import os

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
RANDOM = np.random.default_rng(5)
torch.set_default_dtype(torch.float64)
# Only this form of attention has second derivatives.
for kind in ["flash", "mem_efficient", "cudnn"]:
    getattr(torch.backends.cuda, f"enable_{kind}_sdp")(False)

SECTIONS = {}
SECTION = None


def section(name):
    global SECTION
    SECTION = name
    SECTIONS[name] = []


def normal(shape):
    return RANDOM.standard_normal(shape)


def small(shape):
    return 0.4 * RANDOM.standard_normal(shape)


def positive(shape):
    return RANDOM.uniform(0.3, 1.7, shape)


def probability(shape):
    return RANDOM.uniform(0.1, 0.9, shape)


def S(name, nn, function, slopes=True, draw=normal, draws={}, states={}, own={}, **shapes):
    """A sample: its expression in nn, the same in PyTorch, the shapes of its arguments and (`own`) of its weights in nn's layout."""
    of = lambda key, shape: draws.get(key, draw if key in shapes else small)(shape)
    arrays = {key: np.asarray(of(key, shape)) for key, shape in (shapes | own).items()}
    SECTIONS[SECTION].append((name, nn, function, slopes, list(shapes), list(own), states, arrays))


def last(x, function):
    """With features last, as nn has them, where PyTorch has them behind the batch."""
    return function(x.movedim(-1, 1)).movedim(1, -1)


def weight(w):
    """A kernel [k…, I, O] as PyTorch's [O, I, k…]."""
    return w.movedim((-1, -2), (0, 1))


section("activations")
for name, nn, function in [
    ("relu", "relu(x)", F.relu),
    ("relu6", "relu6(4 * x)", lambda x: F.relu6(4 * x)),
    ("leaky_relu", "leaky_relu(0.2)(x)", lambda x: F.leaky_relu(x, 0.2)),
    ("elu", "elu(1.5)(x)", lambda x: F.elu(x, 1.5)),
    ("selu", "selu(x)", F.selu),
    ("celu", "celu(2.0)(x)", lambda x: F.celu(x, 2.0)),
    ("gelu", "gelu(x)", F.gelu),
    ("gelu_tanh", "gelu_tanh(x)", lambda x: F.gelu(x, approximate="tanh")),
    ("silu", "silu(x)", F.silu),
    ("softplus", "softplus(3 * x)", lambda x: F.softplus(3 * x)),
    ("log_sigmoid", "log_sigmoid(3 * x)", lambda x: F.logsigmoid(3 * x)),
    ("mish", "mish(x)", F.mish),
    ("softsign", "softsign(x)", F.softsign),
    ("clamp", "clamp(-0.5, 0.7)(x)", lambda x: x.clamp(-0.5, 0.7)),
    ("hardtanh", "hardtanh(x)", F.hardtanh),
    ("hardsigmoid", "hardsigmoid(3 * x)", lambda x: F.relu6(3 * x + 3) / 6),
    ("hardswish", "hardswish(3 * x)", lambda x: x / 2 * F.relu6(3 * x + 3)),
    ("glu", "glu(x)", lambda x: F.glu(x, -1)),
    ("softmax", "for i: 3 => softmax(x[i])", lambda x: F.softmax(x, -1)),
    ("log_softmax", "log_softmax(x)", lambda x: F.log_softmax(x, -1)),
    ("sigmoid", "sigmoid(x)", torch.sigmoid),
    ("tanh", "tanh(x)", torch.tanh),
]:
    S(name, nn, function, x=(3, 4))

section("scalars")
for name, nn, function in [
    ("abs", "abs(x)", torch.abs),
    ("exp", "exp(x)", torch.exp),
    ("sin", "sin(x)", torch.sin),
    ("cos", "cos(x)", torch.cos),
    ("erf", "erf(x)", torch.erf),
    ("square", "x ** 2", lambda x: x**2),
    ("cube", "x ** 3", lambda x: x**3),
    ("reciprocal", "1 / (x * x + 1)", lambda x: (x * x + 1).reciprocal()),
    ("staircase", "x * floor(3 * x) + x * ceil(x) - x * round(2 * x) + x * sign(x)",
     lambda x: x * torch.floor(3 * x) + x * torch.ceil(x) - x * torch.round(2 * x) + x * torch.sign(x)),
]:
    S(name, nn, function, x=(7,))
S("sqrt", "sqrt(x)", torch.sqrt, x=(7,), draw=positive)
S("log", "log(x)", torch.log, x=(7,), draw=positive)
S("power", "x ** y", torch.pow, x=(7,), y=(7,), draw=positive)
S("scalar_power", "2.0 ** x", lambda x: 2.0**x, x=(7,))
S("remainder", "x % 0.7", lambda x: torch.remainder(x, 0.7), x=(7,))
S("quotient", "x / y", torch.div, x=(5,), y=(5,), draws={"y": positive})
S("maximum", "max(x, y)", torch.maximum, x=(7,), y=(7,))
S("minimum", "min(x, y)", torch.minimum, x=(7,), y=(7,))
S("choice", "if x > y { x * y } else { y * y }", lambda x, y: torch.where(x > y, x * y, y * y), x=(7,), y=(7,))
S("erf_inverse", "erf_inverse(x)", torch.special.erfinv, x=(7,), draws={"x": lambda shape: RANDOM.uniform(-0.95, 0.95, shape)})

section("reductions")
I = torch.tensor
MASK = I([[True, False, True, True], [False, True, False, False], [False, False, False, False]])
MASK_NN = "([[1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]] > 0)"
for name in ["sum", "mean", "prod"]:
    S(f"{name}_of_rows", f"for i: 3 => {name}(x[i])", lambda x, name=name: getattr(x, name)(-1), x=(3, 4))
    S(f"{name}_of_all", f"{name}(x)", lambda x, name=name: getattr(x, name)(), x=(3, 4))
S("sum_of_columns", "for j: 4 => sum i: 3 => x[i, j]", lambda x: x.sum(0), x=(3, 4))
S("max_of_rows", "for i: 3 => max(x[i])", lambda x: x.amax(-1), x=(3, 4))
S("min_of_columns", "for j: 4 => min i: 3 => x[i, j]", lambda x: x.amin(0), x=(3, 4))
S("logsumexp", "for i: 3 => logsumexp(x[i])", lambda x: x.logsumexp(-1), x=(3, 4))
S("logsumexp_where", f"for i: 2 => logsumexp j: 4 where {MASK_NN}[i, j] => x[i, j]",
  lambda x: x.masked_fill(~MASK[:2], -torch.inf).logsumexp(-1), x=(2, 4))
S("softmax_where", f"for i: 3 => softmax j: 4 where {MASK_NN}[i, j] => x[i, j]",
  lambda x: torch.where(MASK, F.softmax(x.masked_fill(~MASK, -1e30), -1), 0.0), x=(3, 4))
S("mean_where", f"for i: 2 => mean j: 4 where {MASK_NN}[i, j] => x[i, j]", lambda x: (x * MASK[:2]).sum(-1) / MASK[:2].sum(-1), x=(2, 4))
S("sum_where", f"for i: 3 => sum j: 4 where {MASK_NN}[i, j] => x[i, j] ** 2", lambda x: (x**2 * MASK).sum(-1), x=(3, 4))
S("variance", "for i: 3 => mean((x[i] - mean(x[i])) ** 2)", lambda x: x.var(-1, unbiased=False), x=(3, 4))
S("norm", "for i: 3 => sqrt(sum(x[i] ** 2))", lambda x: x.norm(dim=-1), x=(3, 4))
S("greatest", "for i: 3 => x[i, argmax(x[i])] ** 2", lambda x: x.gather(-1, x.argmax(-1, keepdim=True))[:, 0] ** 2, x=(3, 4))
S("least", "for i: 3 => x[i, argmin(x[i])] ** 2", lambda x: x.gather(-1, x.argmin(-1, keepdim=True))[:, 0] ** 2, x=(3, 4))
S("cumsum", "for t: 5, d: 2 => sum s where s <= t => x[s, d]", lambda x: x.cumsum(0), x=(5, 2))
S("cumsum_reverse", "for t: 5, d: 2 => sum s where s >= t => x[s, d]", lambda x: x.flip(0).cumsum(0).flip(0), x=(5, 2))
S("cumprod", "for t: 5, d: 2 => prod s: 5 where s <= t => x[s, d]", lambda x: x.cumprod(0), x=(5, 2))
S("cummax", "for t: 5, d: 2 => max s: 5 where s <= t => x[s, d]", lambda x: x.cummax(0)[0], x=(5, 2))
S("cummin", "for t: 5, d: 2 => min s: 5 where s <= t => x[s, d]", lambda x: x.cummin(0)[0], x=(5, 2))
S("logcumsumexp", "for t: 5, d: 2 => logsumexp s: 5 where s <= t => x[s, d]", lambda x: x.logcumsumexp(0), x=(5, 2))

section("contractions")
E = torch.einsum
for name, nn, text, shapes in [
    ("matmul", "x @ y", "mk,kn->mn", dict(x=(3, 4), y=(4, 2))),
    ("matrix_vector", "x @ y", "mk,k->m", dict(x=(3, 4), y=(4,))),
    ("dot", "x @ y", "k,k->", dict(x=(4,), y=(4,))),
    ("outer", "for i: 3, j: 4 => x[i] * y[j]", "i,j->ij", dict(x=(3,), y=(4,))),
    ("batched", "for b: 2, m: 3, n: 2 => sum k => x[b, m, k] * y[b, k, n]", "bmk,bkn->bmn", dict(x=(2, 3, 4), y=(2, 4, 2))),
    ("transposed", "for m: 3, n: 2 => sum k => x[k, m] * y[n, k]", "km,nk->mn", dict(x=(4, 3), y=(2, 4))),
    ("two_axes", "for m: 2 => sum k: 3, l: 2 => x[m, k, l] * y[l, k]", "mkl,lk->m", dict(x=(2, 3, 2), y=(2, 3))),
    ("diagonal", "for i: 3 => x[i, i] * y[i]", "ii,i->i", dict(x=(3, 3), y=(3,))),
    ("trace", "sum i: 3 => x[i, i]", "ii->", dict(x=(3, 3))),
    ("permuted", "for k: 4, i: 2, j: 3 => x[i, j, k]", "ijk->kij", dict(x=(2, 3, 4))),
    ("three_factors", "for o: 3 => sum i: 2, j: 4 => x[i] * y[i, j, o] * z[j]", "i,ijo,j->o", dict(x=(2,), y=(2, 4, 3), z=(4,))),
    ("chain", "x @ y @ z", "ij,jk,kl->il", dict(x=(2, 3), y=(3, 4), z=(4, 2))),
    ("squares", "for i: 3, j: 3 => sum k: 4 => x[i, k] * x[j, k]", "ik,jk->ij", dict(x=(3, 4))),
]:
    count = text.split("->")[0].count(",") + 1
    S(name, nn, (lambda x, text=text: E(text, *[x] * (2 if text.startswith("ik,jk") else 1))) if len(shapes) == 1 else (lambda *a, text=text: E(text, *a)), **shapes)

section("reading")
S("slices", "concat(x[1..3], x[0..2])", lambda x: torch.cat([x[1:3], x[0:2]]), x=(4,))
S("concat", "concat(x, y)", lambda x, y: torch.cat([x, y], -1), x=(2, 3), y=(2, 2))
S("split", "{ let (a, b) = split(x, 2)\n    a * b }", lambda x: x[:, :3] * x[:, 3:], x=(2, 6))
S("flatten", "flatten(x) ** 2", lambda x: x.flatten() ** 2, x=(2, 3))
S("reshape", "(x as f32[3, 4]) ** 2", lambda x: x.reshape(3, 4) ** 2, x=(2, 6))
S("shift", "for t: 5 => if t >= 2 { x[t - 2] * x[t] } else { 0.5 * x[t] }", lambda x: torch.cat([0.5 * x[:2], x[:-2] * x[2:]]), x=(5,))
S("gather_rows", "for e: 4 => x[([2, 0, 2, 1] as Idx[3])[e]]", lambda x: x[[2, 0, 2, 1]], x=(3, 2))
S("gather_along", "for i: 3, j: 2 => x[i, ([1, 0, 3, 3, 2, 0] as Idx[4])[2 * i + j]] ** 2",
  lambda x: x.gather(1, I([[1, 0], [3, 3], [2, 0]])) ** 2, x=(3, 4))
TO, TO_NN = I([1, 0, 1, 3, 1]), "([1, 0, 1, 3, 1] as Idx[4])"
S("segment_sum", f"for n: 4, d: 2 => sum e: 5 where {TO_NN}[e] == n => x[e, d] ** 2", lambda x: torch.zeros(4, 2).index_add(0, TO, x**2), x=(5, 2))
S("segment_mean", "for n: 2, d: 2 => mean e: 5 where ([1, 0, 1, 0, 1] as Idx[2])[e] == n => x[e, d] ** 2",
  lambda x: torch.zeros(2, 2).index_reduce(0, I([1, 0, 1, 0, 1]), x**2, "mean", include_self=False), slopes=False, x=(5, 2))
S("segment_max", "for n: 2, d: 2 => max e: 5 where ([1, 0, 1, 0, 1] as Idx[2])[e] == n => x[e, d] ** 2",
  lambda x: torch.stack([(x**2)[[1, 3]].amax(0), (x**2)[[0, 2, 4]].amax(0)]), x=(5, 2))
S("segment_softmax", "for e: 5 => exp(x[e]) / sum f: 5 where ([1, 0, 1, 0, 1] as Idx[2])[f] == ([1, 0, 1, 0, 1] as Idx[2])[e] => exp(x[f])",
  lambda x: x.exp() / (x.exp() @ (I([1, 0, 1, 0, 1])[:, None] == I([1, 0, 1, 0, 1])[None]).double()), x=(5,))
S("sort", "{ let s = sort(x)\n    for i: 2 => sum r => s[i, r] ** 2 * (position(r) as f32) }", lambda x: (x.sort(-1)[0] ** 2 * torch.arange(5)).sum(-1), x=(2, 5))
S("sort_descending", "{ let s = sort(x, descending: true)\n    sum r => s[r] ** 2 * (position(r) as f32) }",
  lambda x: (x.sort(-1, descending=True)[0] ** 2 * torch.arange(5)).sum(-1), x=(5,))
S("argsort", "{ let order = argsort(x)\n    sum r => y[order[r]] ** 2 * (position(r) as f32) }", lambda x, y: (y[x.argsort()] ** 2 * torch.arange(5)).sum(), x=(5,), y=(5,))
S("top_k", "top_k(x, 2).values ** 2", lambda x: x.topk(2)[0] ** 2, x=(3, 5))
S("median", "{ let s = sort(x)\n    s[2] ** 2 }", lambda x: x.median() ** 2, x=(5,))

section("convolutions")
S("conv1d", "conv1d(4)(x)", lambda x, w, b: last(x, lambda x: F.conv1d(x, weight(w), b, padding=1)), x=(2, 5, 3), own={"conv1d_0.w": (3, 3, 4), "conv1d_0.b": (4,)})
S("conv1d_stride", "conv1d(2, 4, stride: 2, padding: 2)(x)", lambda x, w, b: last(x, lambda x: F.conv1d(x, weight(w), b, 2, 2)),
  x=(2, 7, 3), own={"conv1d_0.w": (4, 3, 2), "conv1d_0.b": (2,)})
S("conv1d_dilation", "conv1d(2, 3, dilation: 2, padding: 1, bias: false)(x)", lambda x, w: last(x, lambda x: F.conv1d(x, weight(w), None, 1, 1, 2)),
  x=(1, 7, 2), own={"conv1d_0.w": (3, 2, 2)})
S("conv1d_groups", "conv1d(4, 3, groups: 2)(x)", lambda x, w, b: last(x, lambda x: F.conv1d(x, weight(w), b, padding=1, groups=2)),
  x=(1, 5, 4), own={"conv1d_0.w": (3, 2, 4), "conv1d_0.b": (4,)})
S("causal_conv1d", "causal_conv1d(2, 3, dilation: 2)(x)", lambda x, w, b: last(x, lambda x: F.conv1d(F.pad(x, (4, 0)), weight(w).flip(-1), b, dilation=2)),
  x=(1, 6, 3), own={"causal_conv1d_0.w": (3, 3, 2), "causal_conv1d_0.b": (2,)})
S("conv2d", "conv2d(3)(x)", lambda x, w, b: last(x, lambda x: F.conv2d(x, weight(w), b, padding=1)), x=(2, 4, 5, 2), own={"conv2d_0.w": (3, 3, 2, 3), "conv2d_0.b": (3,)})
S("conv2d_stride", "conv2d(2, 3, stride: 2, padding: 1)(x)", lambda x, w, b: last(x, lambda x: F.conv2d(x, weight(w), b, 2, 1)),
  x=(1, 5, 6, 2), own={"conv2d_0.w": (3, 3, 2, 2), "conv2d_0.b": (2,)})
S("conv2d_dilation", "conv2d(2, 2, padding: 1, dilation: 2)(x)", lambda x, w, b: last(x, lambda x: F.conv2d(x, weight(w), b, 1, 1, 2)),
  x=(1, 4, 5, 2), own={"conv2d_0.w": (2, 2, 2, 2), "conv2d_0.b": (2,)})
S("conv2d_groups", "conv2d(4, 3, groups: 2, stride: 2)(x)", lambda x, w, b: last(x, lambda x: F.conv2d(x, weight(w), b, 2, 1, 1, 2)),
  x=(1, 4, 4, 4), own={"conv2d_0.w": (3, 3, 2, 4), "conv2d_0.b": (4,)})
S("depthwise_conv2d", "depthwise_conv2d(3)(x)", lambda x, w, b: last(x, lambda x: F.conv2d(x, weight(w[:, :, None]), b, 1, 1, 1, 3)),
  x=(1, 4, 3, 3), own={"depthwise_conv2d_0.w": (3, 3, 3), "depthwise_conv2d_0.b": (3,)})
S("separable_conv2d", "separable_conv2d(2)(x)", lambda x, d, w, b: last(x, lambda x: F.conv2d(F.conv2d(x, weight(d[:, :, None]), None, 1, 1, 1, 3), weight(w), b)),
  x=(1, 3, 3, 3), own={"separable_conv2d_0.depthwise_conv2d_0.w": (3, 3, 3), "separable_conv2d_0.conv2d_0.w": (1, 1, 3, 2), "separable_conv2d_0.conv2d_0.b": (2,)})
S("conv_transpose1d", "conv_transpose1d(3, 4, stride: 2, padding: 1)(x)", lambda x, w, b: last(x, lambda x: F.conv_transpose1d(x, w.permute(1, 2, 0), b, 2, 1)),
  x=(1, 4, 2), own={"conv_transpose1d_0.w": (4, 2, 3), "conv_transpose1d_0.b": (3,)})
S("conv_transpose2d", "conv_transpose2d(3)(x)", lambda x, w, b: last(x, lambda x: F.conv_transpose2d(x, w.permute(2, 3, 0, 1), b, 2)),
  x=(1, 2, 3, 2), own={"conv_transpose2d_0.w": (2, 2, 2, 3), "conv_transpose2d_0.b": (3,)})
S("conv_transpose2d_extra", "conv_transpose2d(2, 3, stride: 2, padding: 1, extra: 1)(x)", lambda x, w, b: last(x, lambda x: F.conv_transpose2d(x, w.permute(2, 3, 0, 1), b, 2, 1, 1)),
  x=(1, 3, 2, 2), own={"conv_transpose2d_0.w": (3, 3, 2, 2), "conv_transpose2d_0.b": (2,)})
# Every pair of values of these is in one of them.
for k, stride, padding, dilation, groups in [(1, 1, 0, 1, 1), (1, 2, 1, 2, 2), (1, 3, 2, 1, 2), (2, 1, 1, 2, 2), (2, 2, 2, 1, 1), (2, 3, 0, 2, 1), (3, 1, 2, 1, 2), (3, 2, 0, 2, 1), (3, 3, 1, 1, 2), (4, 2, 1, 1, 2), (4, 1, 2, 2, 1), (4, 3, 0, 1, 2)]:
    arguments = f"{k}, stride: {stride}, padding: {padding}, dilation: {dilation}, groups: {groups}"
    name = f"k{k}_s{stride}_p{padding}_d{dilation}_g{groups}"
    of = lambda f, *given: lambda x, w, b: last(x, lambda x: f(x, weight(w), b, *given))
    S(f"conv1d_{name}", f"conv1d(4, {arguments})(x)", of(F.conv1d, stride, padding, dilation, groups),
      x=(1, 8, 4), own={"conv1d_0.w": (k, 4 // groups, 4), "conv1d_0.b": (4,)})
    S(f"conv2d_{name}", f"conv2d(2, {arguments})(x)", of(F.conv2d, stride, padding, dilation, groups),
      x=(1, 8, 7, 2), own={"conv2d_0.w": (k, k, 2 // groups, 2), "conv2d_0.b": (2,)})
for k, stride, padding, extra in [(1, 1, 0, 0), (1, 2, 0, 1), (2, 1, 1, 0), (2, 3, 0, 2), (3, 2, 1, 0), (3, 3, 2, 1), (4, 1, 2, 0), (4, 2, 0, 1), (4, 3, 1, 2)]:
    arguments = f"{k}, stride: {stride}, padding: {padding}, extra: {extra}"
    name = f"k{k}_s{stride}_p{padding}_e{extra}"
    across = lambda stride, padding, extra: lambda x, w, b: last(x, lambda x: F.conv_transpose2d(x, w.permute(2, 3, 0, 1), b, stride, padding, extra))
    S(f"conv_transpose2d_{name}", f"conv_transpose2d(2, {arguments})(x)", across(stride, padding, extra),
      x=(1, 3, 4, 2), own={"conv_transpose2d_0.w": (k, k, 2, 2), "conv_transpose2d_0.b": (2,)})
S("conv3d", "conv3d(2)(x)", lambda x, w, b: last(x, lambda x: F.conv3d(x, weight(w), b, padding=1)), x=(1, 3, 2, 3, 2), own={"conv3d_0.w": (3, 3, 3, 2, 2), "conv3d_0.b": (2,)})
S("conv3d_all", "conv3d(2, 2, stride: 2, padding: 1, dilation: 2, groups: 2)(x)", lambda x, w, b: last(x, lambda x: F.conv3d(x, weight(w), b, 2, 1, 2, 2)),
  x=(1, 3, 4, 3, 2), own={"conv3d_0.w": (2, 2, 2, 1, 2), "conv3d_0.b": (2,)})
S("conv_transpose3d", "conv_transpose3d(2)(x)", lambda x, w, b: last(x, lambda x: F.conv_transpose3d(x, w.permute(3, 4, 0, 1, 2), b, 2)),
  x=(1, 2, 1, 2, 2), own={"conv_transpose3d_0.w": (2, 2, 2, 2, 2), "conv_transpose3d_0.b": (2,)})

section("pooling")
S("max_pool", "max_pool(2)(x)", lambda x: last(x, lambda x: F.max_pool2d(x, 2)), x=(1, 4, 5, 2))
S("max_pool_padding", "max_pool(3, stride: 2, padding: 1)(x)", lambda x: last(x, lambda x: F.max_pool2d(x, 3, 2, 1)), x=(1, 5, 4, 2))
S("max_pool_beyond", "max_pool(2, beyond: 1)(x)", lambda x: last(x, lambda x: F.max_pool2d(x, 2, ceil_mode=True)), x=(1, 3, 5, 1))
S("average_pool", "average_pool(2)(x)", lambda x: last(x, lambda x: F.avg_pool2d(x, 2)), x=(1, 4, 5, 2))
S("average_pool_padding", "average_pool(3, stride: 2, padding: 1)(x)", lambda x: last(x, lambda x: F.avg_pool2d(x, 3, 2, 1)), x=(1, 5, 4, 2))
S("max_pool1d", "max_pool1d(3, stride: 2, padding: 1)(x)", lambda x: last(x, lambda x: F.max_pool1d(x, 3, 2, 1)), x=(1, 6, 2))
S("average_pool1d", "average_pool1d(3, stride: 2, padding: 1)(x)", lambda x: last(x, lambda x: F.avg_pool1d(x, 3, 2, 1)), x=(1, 6, 2))
S("max_pool3d", "max_pool3d(2)(x)", lambda x: last(x, lambda x: F.max_pool3d(x, 2)), x=(1, 2, 4, 3, 2))
S("average_pool3d", "average_pool3d(2)(x)", lambda x: last(x, lambda x: F.avg_pool3d(x, 2)), x=(1, 2, 4, 3, 2))
S("global_average_pool", "global_average_pool(x)", lambda x: x.mean((1, 2)), x=(2, 2, 3, 2))
S("global_max_pool", "global_max_pool(x)", lambda x: x.amax((1, 2)), x=(2, 2, 3, 2))
S("adaptive_average_pool", "adaptive_average_pool(2, 3)(x)", lambda x: last(x, lambda x: F.adaptive_avg_pool2d(x, (2, 3))), x=(1, 5, 4, 2))
S("adaptive_max_pool", "adaptive_max_pool(2, 3)(x)", lambda x: last(x, lambda x: F.adaptive_max_pool2d(x, (2, 3))), x=(1, 5, 4, 2))
S("max_unpool", "max_unpool(2)(max_pool(2)(x), max_pool_places(2)(x))",
  lambda x: last(x, lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2)), slopes=False, x=(1, 4, 4, 2))
S("local_response_norm", "local_response_norm(3, alpha: 0.5)(x)", lambda x: last(x, lambda x: F.local_response_norm(x, 3, 0.5)), x=(2, 2, 5))


def bilinear_at(x, u, v):
    """x[C, H, W] at rows u and columns v, with zeros outside."""
    height, width = x.shape[-2:]
    total = 0
    for a in (0, 1):
        for b in (0, 1):
            i, j = u.floor() + a, v.floor() + b
            inside = (i >= 0) & (i < height) & (j >= 0) & (j < width)
            pixel = x[:, i.clamp(0, height - 1).long(), j.clamp(0, width - 1).long()]
            total = total + pixel * inside * (1 - (u - i).abs()) * (1 - (v - j).abs())
    return total


def roi_align(x, box, rows, columns, samples):
    """He et al. 2017, with `aligned` as in torchvision."""
    height, width = x.shape[:2]
    corner = box - 0.5
    bin_height, bin_width = (corner[3] - corner[1]) / rows, (corner[2] - corner[0]) / columns
    steps = lambda count: (torch.arange(count * samples) // samples) + (torch.arange(count * samples) % samples + 0.5) / samples
    u, v = corner[1] + bin_height * steps(rows), corner[0] + bin_width * steps(columns)
    u, v = torch.meshgrid(u.clamp(0, height - 1), v.clamp(0, width - 1), indexing="ij")
    y = bilinear_at(x.movedim(-1, 0), u, v)
    return y.unflatten(2, (columns, samples)).unflatten(1, (rows, samples)).mean((2, 4)).movedim(0, -1)


def roi_pool(x, box, rows, columns):
    """Girshick 2015."""
    left, top, right, bottom = (int(c.round()) for c in box)
    height, width = max(bottom - top + 1, 1), max(right - left + 1, 1)
    y = []
    for i in range(rows):
        for j in range(columns):
            h = range(max(top + i * height // rows, 0), min(top - (-(i + 1) * height // rows), x.shape[0]))
            w = range(max(left + j * width // columns, 0), min(left - (-(j + 1) * width // columns), x.shape[1]))
            y.append(x[h][:, w].amax((0, 1)) if len(h) and len(w) else torch.zeros(x.shape[2]))
    return torch.stack(y).unflatten(0, (rows, columns))


section("images")
S("upsample", "upsample(2)(x)", lambda x: last(x, lambda x: F.interpolate(x, scale_factor=2)), x=(1, 2, 3, 2))
S("resize_nearest", "resize_nearest(3, 5)(x)", lambda x: last(x, lambda x: F.interpolate(x, (3, 5))), x=(1, 4, 3, 2))
S("resize_bilinear_corners", "resize_bilinear(3, 5, align_corners: true)(x)", lambda x: last(x, lambda x: F.interpolate(x, (3, 5), mode="bilinear", align_corners=True)), x=(1, 4, 3, 2))
S("resize_bilinear_smaller", "resize_bilinear(2, 1, align_corners: true)(x)", lambda x: last(x, lambda x: F.interpolate(x, (2, 1), mode="bilinear", align_corners=True)), x=(1, 4, 3, 2))
S("resize_bilinear", "resize_bilinear(3, 5)(x)", lambda x: last(x, lambda x: F.interpolate(x, (3, 5), mode="bilinear")), x=(1, 4, 3, 2))
S("space_to_depth", "space_to_depth(2)(x)", lambda x: x.reshape(1, 2, 2, 1, 2, 2).permute(0, 1, 3, 2, 4, 5).reshape(1, 2, 1, 8), x=(1, 4, 2, 2))
S("depth_to_space", "depth_to_space(2)(x)", lambda x: x.reshape(1, 2, 1, 2, 2, 2).permute(0, 1, 3, 2, 4, 5).reshape(1, 4, 2, 2), x=(1, 2, 1, 8))
S("affine_grid", "affine_grid(2, 3)(x)", lambda x: F.affine_grid(x[None], (1, 1, 2, 3), align_corners=False)[0], x=(2, 3))
S("grid_sample", "grid_sample(x, y)", lambda x, y: F.grid_sample(x.movedim(-1, 0)[None], y[None], align_corners=False)[0].movedim(0, -1), x=(4, 3, 2), y=(2, 3, 2), draws={"y": small}, slopes=False)
S("spatial_transformer", "grid_sample(x, affine_grid(3)(y))", lambda x, y: F.grid_sample(x.movedim(-1, 0)[None], F.affine_grid(y[None], (1, 2, 3, 3), align_corners=False), align_corners=False)[0].movedim(0, -1),
  x=(3, 4, 2), y=(2, 3), slopes=False)
S("sample_bilinear", "for p: 4 => sample_bilinear(x, y[p], z[p])", lambda x, y, z: bilinear_at(x.movedim(-1, 0), y, z).T, x=(3, 4, 2), y=(4,), z=(4,))
S("roi_align", "roi_align(2, 3)(x, y)", lambda x, y: roi_align(x, y, 2, 3, 2), x=(5, 6, 2), y=(4,), draws={"y": lambda _: np.array([0.7, 1.2, 5.3, 4.1])})
S("roi_pool", "roi_pool(2)(x, y)", lambda x, y: roi_pool(x, y, 2, 2), x=(5, 6, 2), y=(4,), draws={"y": lambda _: np.array([0.7, 1.2, 4.3, 4.1])})

section("losses")
Y, Y_NN = I([2, 0, 3]), "([2, 0, 3] as Idx[4])"
LABEL, LABEL_NN = I([1.0, 0.0, 1.0, 1.0]), "[1.0, 0.0, 1.0, 1.0]"
ROWS = "for i: 3 =>"
S("cross_entropy", f"cross_entropy(x, {Y_NN})", lambda x: F.cross_entropy(x, Y, reduction="none"), x=(3, 4))
S("cross_entropy_smoothing", f"cross_entropy(x, {Y_NN}, smoothing: 0.1)", lambda x: F.cross_entropy(x, Y, reduction="none", label_smoothing=0.1), x=(3, 4))
S("cross_entropy_masked", f"masked_mean(cross_entropy(x, {Y_NN}), [1.0, 0.0, 1.0] > 0)", lambda x: F.cross_entropy(x, I([2, -100, 3])), x=(3, 4))
S("soft_cross_entropy", "for i: 3 => soft_cross_entropy(x[i], softmax(y[i]))", lambda x, y: F.cross_entropy(x, F.softmax(y, -1), reduction="none"), x=(3, 4), y=(3, 4))
S("nll", f"nll(log_softmax(x), {Y_NN})", lambda x: F.nll_loss(F.log_softmax(x, -1), Y, reduction="none"), x=(3, 4))
S("bce_with_logits", f"bce_with_logits(3 * x, {LABEL_NN})", lambda x: F.binary_cross_entropy_with_logits(3 * x, LABEL), x=(4,))
S("binary_cross_entropy", f"binary_cross_entropy(x, {LABEL_NN})", lambda x: F.binary_cross_entropy(x, LABEL), x=(4,), draw=probability)
S("mse", "mse(x, y)", F.mse_loss, x=(2, 3), y=(2, 3))
S("mae", "mae(x, y)", F.l1_loss, x=(2, 3), y=(2, 3))
S("huber", "huber(0.7)(x, y)", lambda x, y: F.huber_loss(x, y, delta=0.7), x=(2, 4), y=(2, 4))
S("smooth_l1", "smooth_l1(0.7)(x, y)", lambda x, y: F.smooth_l1_loss(x, y, beta=0.7), x=(2, 4), y=(2, 4))
S("log_cosh", "log_cosh(x, y)", lambda x, y: torch.log(torch.cosh(x - y)).mean(), x=(2, 3), y=(2, 3))
S("kl_divergence", f"for i: 3 => kl_divergence(log_softmax(x[i]), log_softmax(y[i]))",
  lambda x, y: F.kl_div(F.log_softmax(y, -1), F.log_softmax(x, -1), reduction="none", log_target=True).sum(-1), x=(3, 4), y=(3, 4))
S("kl_normal", "kl_normal(x, y)", lambda x, y: torch.distributions.kl_divergence(torch.distributions.Normal(x, (y / 2).exp()), torch.distributions.Normal(0.0, 1.0)).sum(), x=(3,), y=(3,))
S("gaussian_nll", "gaussian_nll(x, y, z)", lambda x, y, z: F.gaussian_nll_loss(x, z, y.clone()), x=(5,), y=(5,), z=(5,), draws={"y": positive})
S("poisson_nll", "poisson_nll(x, y)", lambda x, y: F.poisson_nll_loss(x, y), x=(5,), y=(5,), draws={"y": positive})
S("hinge", "hinge(x, [1.0, -1.0, 1.0, -1.0])", lambda x: (1 - I([1.0, -1.0, 1.0, -1.0]) * x).clamp(min=0).mean(), x=(4,))
S("multi_margin", f"multi_margin(x, {Y_NN})", lambda x: torch.stack([F.multi_margin_loss(r[None], y[None]) for r, y in zip(x, Y)]), slopes=False, x=(3, 4))
S("cosine_similarity", "cosine_similarity(x, y)", lambda x, y: F.cosine_similarity(x, y, -1), x=(3, 4), y=(3, 4))
S("cosine_embedding", "cosine_embedding(0.1)(x, y, 1.0 * [1.0, -1.0, -1.0])", lambda x, y: F.cosine_embedding_loss(x, y, I([1.0, -1.0, -1.0]), 0.1, reduction="none"), x=(3, 4), y=(3, 4))
S("contrastive", "contrastive(2.0)(x, y, 1.0 * [1.0, 0.0, 0.0])",
  lambda x, y: I([1.0, 0, 0]) * (x - y).norm(dim=-1) ** 2 + (1 - I([1.0, 0, 0])) * (2 - (x - y).norm(dim=-1)).clamp(min=0) ** 2, x=(3, 2), y=(3, 2))
S("triplet", "for i: 3 => triplet(x[i], y[i], z[i])", lambda x, y, z: F.triplet_margin_loss(x, y, z, reduction="none", eps=0), x=(3, 4), y=(3, 4), z=(3, 4))
S("distance", "distance(x, y)", lambda x, y: F.pairwise_distance(x, y, eps=0), x=(3, 4), y=(3, 4))
S("clip_loss", "clip_loss(normalise(x), normalise(y), exp(z))", lambda x, y, z: (lambda s: (F.cross_entropy(s, torch.arange(3)) + F.cross_entropy(s.T, torch.arange(3))) / 2)(
  z.exp() * F.normalize(x, dim=-1) @ F.normalize(y, dim=-1).T), x=(3, 4), y=(3, 4), z=())
S("rmse", "rmse(x, y)", lambda x, y: F.mse_loss(x, y).sqrt(), x=(5,), y=(5,))
S("correlation", "correlation(x, y)", lambda x, y: torch.corrcoef(torch.stack([x, y]))[0, 1], x=(5,), y=(5,))

section("norms")
S("normalise", "normalise(x)", lambda x: F.normalize(x, dim=-1), x=(3, 4))
S("standardise", "standardise(x)", lambda x: F.layer_norm(x, (4,)), x=(3, 4))
S("layer_norm", "layer_norm()(x)", lambda x, g, b: F.layer_norm(x, (4,), g, b), x=(3, 4), own={"layer_norm_0.scale": (4,), "layer_norm_0.shift": (4,)})
S("rms_norm", "rms_norm()(x)", lambda x, g: F.rms_norm(x, (4,), g, 1e-6), x=(3, 4), own={"rms_norm_0.scale": (4,)})
S("group_norm", "group_norm(2)(x)", lambda x, g, b: last(x, lambda x: F.group_norm(x, 2, g, b)), x=(2, 2, 3, 4), own={"group_norm_0.scale": (4,), "group_norm_0.shift": (4,)})
S("instance_norm", "instance_norm(x)", lambda x: last(x, F.instance_norm), x=(2, 2, 3, 2))
S("weight_norm", "weight_norm_linear(3)(x)", lambda x, v, g, b: x @ torch._weight_norm(v, g[None], 1) + b, x=(2, 4),
  own={"weight_norm_linear_0.v": (4, 3), "weight_norm_linear_0.weight_norm_0.scale": (3,), "weight_norm_linear_0.b": (3,)})


def spectral(x, w, b, state):
    u = state["spectral_norm_linear_0.spectral_norm_0.u"]
    with torch.no_grad():
        v = F.normalize(w @ u, dim=0, eps=1e-12)
        u.copy_(F.normalize(v @ w, dim=0, eps=1e-12))
    return x @ (w / (v @ w @ u.clone())) + b


S("spectral_norm", "spectral_norm_linear(3)(x)", spectral, x=(2, 4), own={"spectral_norm_linear_0.w": (4, 3), "spectral_norm_linear_0.b": (3,)},
  states={"spectral_norm_linear_0.spectral_norm_0.u": normal((3,))})

for name, shape in [("batch_norm", (5, 4)), ("batch_norm2d", (2, 3, 2, 4))]:
    layer = name.replace("batch_norm", "batched")
    own = {f"{layer}_0.batch_norm_0.{w}": (4,) for w in ("scale", "shift")}
    states = {f"{layer}_0.batch_norm_0.running_mean": normal((4,)), f"{layer}_0.batch_norm_0.running_variance": positive((4,))}

    def batch(x, g, b, state):
        return last(x, lambda x: F.batch_norm(x, *state.values(), g, b, True, 0.1, 1e-5))

    S(name, f"{layer}(x)", batch, x=shape, own=own, states=states)

section("recurrent")


def rnn_like(cell, gates, hidden, batch_first=True, reverse=False):
    """PyTorch's own layer with nn's weights."""
    def run(x, w, u, b, bn=None):
        second = torch.zeros(gates * hidden) if bn is None else torch.cat([torch.zeros(2 * hidden), bn])
        first = torch.zeros(1, 1, hidden)
        state = (first, first) if cell is torch.lstm else first
        x = x.flip(0) if reverse else x
        y = cell(x[:, None], state, [w.T, u.T, b, second], True, 1, 0.0, True, False, False)[0][:, 0]
        return y.flip(0) if reverse else y
    return run


def weights(name, inputs, hidden, gates):
    own = {f"{name}.w": (inputs, gates * hidden), f"{name}.u": (hidden, gates * hidden), f"{name}.b": (gates * hidden,)}
    return own | ({f"{name}.bn": (hidden,)} if gates == 3 else {})


S("rnn", "rnn(3)(x)", rnn_like(torch.rnn_tanh, 1, 3), x=(4, 2), own=weights("rnn_0", 2, 3, 1))
S("rnn_relu", "rnn(3, relu)(x)", rnn_like(torch.rnn_relu, 1, 3), x=(4, 2), own=weights("rnn_0", 2, 3, 1))
S("lstm", "lstm(2)(x)", rnn_like(torch.lstm, 4, 2), x=(4, 3), own=weights("lstm_0", 3, 2, 4))
S("gru", "gru(2)(x)", rnn_like(torch.gru, 3, 2), x=(4, 3), own=weights("gru_0", 3, 2, 3))
S("lstm_reverse", "lstm(2, reverse: true)(x)", rnn_like(torch.lstm, 4, 2, reverse=True), x=(4, 3), own=weights("lstm_0", 3, 2, 4))
S("gru_bidirectional", "bidirectional(gru(2), gru(2, reverse: true))(x)",
  lambda x, *w: torch.cat([rnn_like(torch.gru, 3, 2)(x, *w[:4]), rnn_like(torch.gru, 3, 2, reverse=True)(x, *w[4:])], -1),
  x=(3, 2), own=weights("bidirectional_0.gru_0", 2, 2, 3) | weights("bidirectional_0.gru_1", 2, 2, 3))
S("lstm_stacked", "stacked([lstm(2), lstm(3)])(x)", lambda x, *w: rnn_like(torch.lstm, 4, 3)(rnn_like(torch.lstm, 4, 2)(x, *w[:3]), *w[3:]),
  x=(3, 2), own=weights("stacked_0.lstm_0.0", 2, 2, 4) | weights("stacked_0.lstm_0.1", 2, 3, 4))

section("attention")
S("attend", "attend(x, y, z)", lambda x, y, z: F.scaled_dot_product_attention(x, y, z), x=(3, 2), y=(4, 2), z=(4, 3))
S("attend_causal", "attend_causal(x, y, z)", lambda x, y, z: F.scaled_dot_product_attention(x, y, z, is_causal=True), x=(3, 2), y=(3, 2), z=(3, 3))
S("attend_where", f"attend_where(x, y, z, {MASK_NN.replace(', [0.0, 0.0, 0.0, 0.0]', '')})", lambda x, y, z: F.scaled_dot_product_attention(x, y, z, MASK[:2]), x=(2, 2), y=(4, 2), z=(4, 3))
S("attend_biased", "attend_biased(x, y, z, b)", lambda x, y, z, b: F.scaled_dot_product_attention(x, y, z, b), x=(3, 2), y=(4, 2), z=(4, 3), b=(3, 4))


def heads_of(x, heads):
    return x.unflatten(-1, (heads, -1)).transpose(-2, -3)


def multi_head(x, w, b, v, c, heads=2, causal=False):
    q, k, u = (heads_of(part, heads) for part in (x @ w + b).chunk(3, -1))
    return F.scaled_dot_product_attention(q, k, u, is_causal=causal).transpose(-2, -3).flatten(-2) @ v + c


def multi_head_of_pytorch(x, w, b, v, c):
    return F.multi_head_attention_forward(x, x, x, x.shape[1], 2, w.T, b, None, None, False, 0.0, v.T, c, need_weights=False)[0]


def qkv(name, d):
    return {f"{name}.linear_0.w": (d, 3 * d), f"{name}.linear_0.b": (3 * d,), f"{name}.linear_1.w": (d, d), f"{name}.linear_1.b": (d,)}


S("self_attention", "self_attention(2)(x)", multi_head_of_pytorch, x=(3, 4), own=qkv("self_attention_0", 4))
S("self_attention_causal", "self_attention(2, causal: true)(x)", lambda *a: multi_head(*a, causal=True), x=(3, 4), own=qkv("self_attention_0", 4))


def rotated(x, base=10000.0):
    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[-2])[:, None] / base ** (torch.arange(half) / half)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1)


def grouped(x, kv, kb, q, qb, o, ob, heads, groups, rotary):
    k, v = (heads_of(part, groups).repeat_interleave(heads // groups, -3) for part in (x @ kv + kb).chunk(2, -1))
    q = heads_of(x @ q + qb, heads)
    q, k = (rotated(q), rotated(k)) if rotary else (q, k)
    return F.scaled_dot_product_attention(q, k, v).transpose(-2, -3).flatten(-2) @ o + ob


def grouped_weights(name, d, both):
    return {f"{name}.linear_0.w": (d, both), f"{name}.linear_0.b": (both,)} | {f"{name}.linear_{k}.{w}": s for k in (1, 2) for w, s in [("w", (d, d)), ("b", (d,))]}


S("rotate", "rotate(x)", rotated, x=(2, 3, 4))
S("grouped_query", "self_attention(4, kv_heads: 2)(x)", lambda *a: grouped(*a, 4, 2, False), x=(3, 4), own=grouped_weights("self_attention_0", 4, 4))
S("multi_query_rotary", "self_attention(2, kv_heads: 1, rotary: true)(x)", lambda *a: grouped(*a, 2, 1, True), x=(3, 4), own=grouped_weights("self_attention_0", 4, 4))


def cross(x, y, q, qb, k, kb, v, vb, o, ob):
    return F.multi_head_attention_forward(
        x, y, y, 4, 2, None, torch.cat([qb, kb, vb]), None, None, False, 0.0, o.T, ob, need_weights=False,
        use_separate_proj_weight=True, q_proj_weight=q.T, k_proj_weight=k.T, v_proj_weight=v.T)[0]


S("cross_attention", "cross_attention(2)(x, y)", cross, x=(2, 4), y=(3, 2),
  own={f"cross_attention_0.linear_{n}.{w}": s for n in range(4) for w, s in [("w", (4 if n in (0, 3) else 2, 4)), ("b", (4,))]})


def relative(x, w, b, r, v, c):
    q, k, u = (heads_of(part, 2) for part in (x @ w + b).chunk(3, -1))
    place = torch.arange(len(x))
    bias = r[(place[None] - place[:, None]).clamp(-1, 1) + 1].permute(2, 0, 1)
    return F.scaled_dot_product_attention(q, k, u, bias).transpose(-2, -3).flatten(-2) @ v + c


RELATIVE = qkv("relative_attention_0", 4)
RELATIVE = {key: RELATIVE[key] for key in list(RELATIVE)[:2]} | {"relative_attention_0.relative_bias_0.w": (3, 2)} | {key: RELATIVE[key] for key in list(RELATIVE)[2:]}
S("relative_attention", "relative_attention(2, 1)(x)", relative, x=(4, 4), own=RELATIVE)
S("alibi", "attend_biased(x, y, z, alibi(1)(x)[0])", lambda x, y, z: F.scaled_dot_product_attention(
  x, y, z, -(torch.arange(3)[:, None] - torch.arange(3)[None]).abs() * 2.0**-8), x=(3, 2), y=(3, 2), z=(3, 2))
S("add_sinusoids", "add_sinusoids(x) ** 2", lambda x: (x + torch.stack([f(torch.arange(3) * r) for r in (1.0, 0.01) for f in (torch.sin, torch.cos)], 1)) ** 2, x=(3, 4))


def encoder_layer(x, g, h, w, b, v, c, k, l, up, ub, down, db, pre):
    attention = lambda x: multi_head(x, w, b, v, c)
    feed = lambda x: F.gelu(x @ up + ub) @ down + db
    first, second = lambda x: F.layer_norm(x, (4,), g, h), lambda x: F.layer_norm(x, (4,), k, l)
    if pre:
        x = x + attention(first(x))
        return x + feed(second(x))
    x = first(x + attention(x))
    return second(x + feed(x))


BLOCK = {"layer_norm_0.scale": (4,), "layer_norm_0.shift": (4,)} | qkv("attention", 4) | {"layer_norm_1.scale": (4,), "layer_norm_1.shift": (4,)}
BLOCK |= {"feed.linear_0.w": (4, 6), "feed.linear_0.b": (6,), "feed.linear_1.w": (6, 4), "feed.linear_1.b": (4,)}
BLOCK = {f"transformer_block_0.{key}": shape for key, shape in BLOCK.items()}
S("block_pre", "transformer_block(2, 6)(x)", lambda *a: encoder_layer(*a, True), x=(3, 4), own=BLOCK)
S("block_post", "transformer_block(2, 6, pre: false)(x)", lambda *a: encoder_layer(*a, False), x=(3, 4), own=BLOCK)

section("layers")
S("linear", "linear(3)(x)", lambda x, w, b: F.linear(x, w.T, b), x=(2, 4), own={"linear_0.w": (4, 3), "linear_0.b": (3,)})
S("bilinear", "bilinear(3)(x, y)", lambda x, y, w, b: F.bilinear(x, y, w.permute(2, 0, 1).contiguous(), b), x=(2, 2), y=(2, 4), own={"bilinear_0.w": (2, 4, 3), "bilinear_0.bias": (3,)})
S("embedding", "embedding(4, 3)([2, 0, 2] as Idx[4]) * x", lambda x, w: F.embedding(I([2, 0, 2]), w) * x, x=(3, 3), own={"embedding_0.w": (4, 3)})
S("swiglu", "swiglu(3)(x)", lambda x, a, b, c: (F.silu(x @ a) * (x @ b)) @ c, x=(2, 4), own={"swiglu_0.linear_0.w": (4, 3), "swiglu_0.linear_1.w": (4, 3), "swiglu_0.linear_2.w": (3, 4)})
S("geglu", "geglu(3)(x)", lambda x, a, b, c: (F.gelu(x @ a) * (x @ b)) @ c, x=(2, 4), own={"geglu_0.linear_0.w": (4, 3), "geglu_0.linear_1.w": (4, 3), "geglu_0.linear_2.w": (3, 4)})
S("unembed", "unembed(x, y)", lambda x, y: x @ y.T, x=(2, 3), y=(4, 3))
S("set_linear", "set_linear(2)(x)", lambda x, w, b, v: x @ w + b + x.mean(0) @ v, x=(3, 4), own={"set_linear_0.linear_0.w": (4, 2), "set_linear_0.linear_0.b": (2,), "set_linear_0.linear_1.w": (4, 2)})
FROM, ONTO = I([0, 1, 1, 2, 3, 0]), I([1, 0, 2, 1, 0, 3])
FROM_NN, ONTO_NN = "([0, 1, 1, 2, 3, 0] as Idx[4])", "([1, 0, 2, 1, 0, 3] as Idx[4])"
A = torch.zeros(4, 4)
A[ONTO, FROM] = 1


def gcn(x, w, b):
    loops = A + torch.eye(4)
    r = loops.sum(1) ** -0.5
    return r[:, None] * loops * r[None] @ x @ w + b


def gat(x, w, source, target, b):
    h = (x @ w).unflatten(-1, (2, 2))
    score = F.leaky_relu((h * target).sum(-1)[:, None] + (h * source).sum(-1)[None], 0.2)
    weights = F.softmax(score.masked_fill((A + torch.eye(4) == 0)[:, :, None], -torch.inf), 1)
    return torch.einsum("tsa,sak->tak", weights, h).flatten(1) + b


def chebyshev(x, w, b):
    r = A.sum(1) ** -0.5
    laplacian = -r[:, None] * A * r[None]
    terms = [x, laplacian @ x]
    terms.append(2 * laplacian @ terms[1] - terms[0])
    return sum(t @ v for t, v in zip(terms, w)) + b


EDGES = f"(x, {FROM_NN}, {ONTO_NN})"
S("gcn", f"gcn(2){EDGES}", gcn, x=(4, 3), own={"gcn_0.w": (3, 2), "gcn_0.b": (2,)})
S("gat", f"gat(4, 2){EDGES}", gat, x=(4, 3), own={"gat_0.w": (3, 4), "gat_0.source": (2, 2), "gat_0.target": (2, 2), "gat_0.b": (4,)}, slopes=False)
S("gin", f"gin(linear(2)){EDGES}", lambda x, w, b, eps: ((1 + eps) * x + A @ x) @ w + b, x=(4, 3), own={"gin_0.linear_0.w": (3, 2), "gin_0.linear_0.b": (2,), "gin_0.eps": ()})
S("chebyshev", f"chebyshev(2){EDGES}", chebyshev, x=(4, 3), own={"chebyshev_0.w": (3, 3, 2), "chebyshev_0.b": (2,)})
S("message_passing", f"message_passing(linear(2), linear(3)){EDGES}",
  lambda x, w, b, v, c: torch.cat([x, torch.zeros(4, 2).index_add(0, ONTO, torch.cat([x[FROM], x[ONTO]], -1) @ w + b)], -1) @ v + c,
  x=(4, 2), own={"message_passing_0.linear_0.w": (4, 2), "message_passing_0.linear_0.b": (2,), "message_passing_0.linear_1.w": (4, 3), "message_passing_0.linear_1.b": (3,)})
S("deep_set", "deep_set(linear(3), linear(2))(x)", lambda x, w, b, v, c: (x @ w + b).sum(0) @ v + c, x=(4, 2),
  own={"deep_set_0.linear_0.w": (2, 3), "deep_set_0.linear_0.b": (3,), "deep_set_0.linear_1.w": (3, 2), "deep_set_0.linear_1.b": (2,)})

section("loops")


def recurrence(x, w):
    h, all = torch.zeros(3), []
    for row in x:
        h = torch.tanh(row + h @ w)
        all.append(h)
    return torch.stack(all)


SCAN = "scan t (h: f32[3] = 0) { h = tanh(x[t] + h @ y)\n    yield h }"
S("scan", f"{{ {SCAN} }}", recurrence, x=(4, 3), y=(3, 3), draws={"y": small})
S("scan_reverse", f"{{ {SCAN.replace('scan t', 'scan reverse t')} }}", lambda x, w: recurrence(x.flip(0), w).flip(0), x=(4, 3), y=(3, 3), draws={"y": small})
S("scan_checkpoint", "{ scan t (h: f32[3] = 0) { h = checkpoint { tanh(x[t] + h @ y) }\n    yield h } }", recurrence, x=(4, 3), y=(3, 3), draws={"y": small})
S("iterate", "iterate(3, fn(h) => sin(h @ y) + x)(x)", lambda x, y: (lambda f: f(f(f(x))))(lambda h: torch.sin(h @ y) + x), x=(3,), y=(3, 3))
S("checkpoint", "checkpoint { sin(x @ y) * x }", lambda x, y: torch.sin(x @ y) * x, x=(3,), y=(3, 3))
S("stop_gradient", "x * stop_gradient(sin(x))", lambda x: x * torch.sin(x).detach(), x=(4,))
S("reparametrised", "x * softplus(y)", lambda x, y: x * F.softplus(y), x=(4,), y=(4,))


def derivatives(function, leaves, t, arguments, states, slopes):
    """y, and the gradients by all leaves of Σ y t, or of Σ v d/dx Σ y t."""
    tensors = {key: torch.tensor(array, requires_grad=True) for key, array in leaves.items()}
    own = {key: torch.tensor(array) for key, array in states.items()}
    y = function(*tensors.values(), **({"state": own} if own else {}))
    total = (y * t).sum()
    found = {}
    if slopes:
        directions = {f"v{key}": torch.tensor(small(leaves[key].shape), requires_grad=True) for key in arguments}
        first = torch.autograd.grad(total, [tensors[key] for key in arguments], create_graph=True, materialize_grads=True)
        total = sum((v * d).sum() for v, d in zip(directions.values(), first))
        found = {key: v.detach().numpy() for key, v in directions.items()}
        tensors |= directions
    if total.requires_grad:
        gradients = torch.autograd.grad(total, [*tensors.values(), t], allow_unused=True, materialize_grads=True)
    else:
        gradients = [torch.zeros_like(x) for x in [*tensors.values(), t]]
    return y, found, dict(zip([*tensors, "t"], gradients)), own


def typed(shape):
    return "f32" if shape == () else f"f32[{', '.join(map(str, shape))}]"


def main():
    arrays, text = {}, []
    text.append("// Written by samples.py.\n")
    text.append("layer batched(x: f32[B, C]) -> f32[B, C] = batch_norm(B)(x)\nlayer batched2d(x: f32[B, H, W, C]) -> f32[B, H, W, C] = batch_norm(B)(x)\n")
    text.append("optimizer slope()(w: f32[..S], g: f32[..S]) -> f32[..S] = g\n")
    for section, samples in SECTIONS.items():
        for kind in ["values", "slopes"]:
            chosen = [sample for sample in samples if kind == "values" or sample[3]]
            model = [f"model all_{kind}_{section}() -> f32 {{"]
            terms = []
            for name, nn, function, _, arguments, own, states, leaves in chosen:
                t = torch.tensor(normal(np.shape(function(*[torch.tensor(leaves[k]) for k in leaves],
                    **({"state": {k: torch.tensor(v) for k, v in states.items()}} if states else {})).detach())), requires_grad=True)
                y, directions, gradients, after = derivatives(function, leaves, t, arguments, states, kind == "slopes")
                lines = [f"layer {name}_{kind}() -> f32 {{"]
                given = {key: leaves[key] for key in arguments} | directions | {"t": t.detach().numpy()}
                lines += [f"  param {key}: {typed(array.shape)} = zeros" for key, array in given.items()]
                words = ", ".join(arguments)
                lines.append(f"  let f = fn({words}) => {nn}")
                if kind == "values":
                    lines.append(f"  sum(f({words}) * t)")
                elif len(arguments) == 1:
                    lines.append(f"  sum(grad(fn({words}) => sum(f({words}) * t))({words}) * v{words})")
                else:
                    slopes = ", ".join(f"d{key}" for key in arguments)
                    lines.append(f"  let ({slopes}) = grad(fn({words}) => sum(f({words}) * t))({words})")
                    lines.append("  " + " + ".join(f"sum(d{key} * v{key})" for key in arguments))
                text.append("\n".join(lines) + "\n}\n")
                model.append(f"  let of_{name} = {name}_{kind}()")
                terms.append(f"of_{name}()")
                before = given | {key: leaves[key] for key in own} | states
                path = f"{kind}_{section}/"
                for key, array in before.items():
                    arrays[f"{path}before/of_{name}.{key}"] = np.array(array)
                for key in list(given) + own:
                    arrays[f"{path}after/of_{name}.{key}"] = gradients[key].detach().numpy(force=True).copy()
                for key in states:
                    arrays[f"{path}after/of_{name}.{key}"] = after[key].numpy().copy()
            model.append("  " + " + ".join(terms))
            text.append("\n".join(model) + "\n}\n")
            text.append(f"train {kind}_{section} {{\n  let net = all_{kind}_{section}()\n  loss net()\n  optim slope()\n  steps 1\n}}\n")
    with open(os.path.join(HERE, "samples.nn"), "w") as file:
        file.write("\n".join(text))
    save_file({key: np.array(array, order="C") for key, array in arrays.items()}, os.path.join(HERE, "samples.safetensors"))
    print(sum(len(samples) for samples in SECTIONS.values()), "samples")


if __name__ == "__main__":
    main()
