"""Golden numbers for tests/suite/numbers.rs: values and gradients by JAX in float64.

Run with `pip install jax numpy` and `python make.py`; it writes one .npz beside itself for each case. Inputs are named `in_…`,
what must come out `out_…`.
"""

import os

import jax

jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
RANDOM = np.random.default_rng(0)


def draw(*shape):
    return RANDOM.standard_normal(shape)


def save(name, inputs, outputs):
    arrays = {f"in_{key}": value for key, value in inputs.items()} | {f"out_{key}": np.asarray(value) for key, value in outputs.items()}
    np.savez(os.path.join(HERE, f"{name}.npz"), **arrays)


def gradients(loss, inputs, wrt):
    """The loss and its gradients by the named inputs, as `loss` and `d<name>`."""
    value, found = jax.value_and_grad(lambda chosen: loss(**(inputs | chosen)))({key: inputs[key] for key in wrt})
    return {"loss": value} | {f"d{key}": found[key] for key in wrt}


def mlp():
    inputs = dict(x=draw(5, 12), y=RANDOM.integers(0, 4, 5), a=draw(12, 8), p=draw(8), b=draw(8, 4), q=draw(4))

    def loss(x, y, a, p, b, q):
        z = jnp.maximum(x @ a + p, 0) @ b + q
        return jnp.mean(jax.nn.logsumexp(z, axis=1) - z[jnp.arange(5), y])

    save("mlp", inputs, gradients(loss, inputs, ["a", "p", "b", "q"]))


def attention():
    inputs = dict(q=draw(6, 3), k=draw(6, 3), v=draw(6, 2), t=draw(6, 2))

    def loss(q, k, v, t):
        scores = q @ k.T / jnp.sqrt(3.0)
        weights = jax.nn.softmax(jnp.where(jnp.tril(jnp.ones((6, 6), bool)), scores, -jnp.inf), axis=1)
        return jnp.sum(weights @ v * t)

    save("attention", inputs, gradients(loss, inputs, ["q", "k", "v"]))


def norm():
    inputs = dict(x=draw(4, 7), g=draw(7), b=draw(7), t=draw(4, 7))

    def loss(x, g, b, t):
        centred = x - x.mean(1, keepdims=True)
        return jnp.sum((centred / jnp.sqrt((centred**2).mean(1, keepdims=True) + 1e-5) * g + b) * t)

    save("norm", inputs, gradients(loss, inputs, ["x", "g", "b"]))


def activations():
    inputs = dict(x=np.linspace(-4, 4, 23), t=draw(23))
    functions = dict(
        gelu=lambda x: jax.nn.gelu(x, approximate=False), silu=jax.nn.silu, softplus=jax.nn.softplus, elu=jax.nn.elu, tanh=jnp.tanh
    )
    outputs = {}
    for name, function in functions.items():
        outputs[name] = function(inputs["x"])
        outputs[f"d{name}"] = jax.grad(lambda x: jnp.sum(function(x) * inputs["t"]))(inputs["x"])
    save("activations", inputs, outputs)


def recurrence():
    inputs = dict(x=draw(9, 3), w=draw(3, 4) * 0.5, u=draw(4, 4) * 0.5, t=draw(4))

    def loss(x, w, u, t):
        h = jnp.zeros(4)
        for row in x:
            h = jnp.tanh(row @ w + h @ u)
        return jnp.sum(h * t)

    save("recurrence", inputs, gradients(loss, inputs, ["x", "w", "u"]))


def second():
    inputs = dict(x=draw(5), a=draw(5, 5))

    def energy(x, a):
        return jnp.sum(jnp.sin(a @ x) ** 2)

    def loss(x, a):
        return jnp.sum(jax.grad(energy)(x, a) ** 2)

    save("second", inputs, gradients(loss, inputs, ["x"]))


for case in [mlp, attention, norm, activations, recurrence, second]:
    case()
