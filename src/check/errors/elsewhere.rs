//! What PyTorch, NumPy and JAX call by a name that nn does not have, and how nn says it.

/// How nn writes what other systems call `name`; none for names that they do not have either.
pub fn written_here(name: &str) -> Option<&'static str> {
    Some(match name {
        "transpose" | "permute" | "swapaxes" | "moveaxis" | "rearrange" | "T" | "mT" => {
            "axes change places by their indices, and nothing is copied: for j, i => x[i, j]"
        }
        "reshape" | "view" | "unflatten" => {
            "a shape is given by `as`: x as f32[T, heads, E]; flatten(x, over: (H, W)) merges"
        }
        "squeeze" => "an index takes an axis away: x[0], or for i => x[i, 0]",
        "unsqueeze" | "expand_dims" | "newaxis" => "an axis of size 1 is written: for i: 1 => x",
        "expand" | "tile" | "broadcast" | "broadcast_to" => {
            "what is said of an entry holds of all: for i: N => x repeats x along N"
        }
        "repeat" | "repeat_interleave" => {
            "entries are repeated by their indices: for i: N, r: 2 => x[i], then flatten(…, over: (N, 2))"
        }
        "matmul" | "dot" | "bmm" | "mm" | "mv" => {
            "a matrix product is written a @ b, or sum k => a[i, k] * b[k, j]"
        }
        "einsum" | "tensordot" | "einops" => {
            "a contraction is written by its indices: for i, j => sum k => a[i, k] * b[k, j]"
        }
        "cat" | "hstack" | "vstack" => {
            "values are joined by concat(a, b), over: an axis where it is not the last"
        }
        "chunk" => "a value is cut by split(x, n)",
        "size" | "shape" | "numel" | "len" | "ndim" => {
            "the sizes of a tensor are the names in its type: x: f32[N, D], and N is a number"
        }
        "range" => {
            "`for` in statements runs over a list, for width in [64, 32] { … }; blocks follow one another by stack(L, block), a step is repeated by iterate(n, f)(x)"
        }
        "arange" | "linspace" => "a tensor of positions is written: for i: N => i",
        "one_hot" => "one entry of C is 1: for c: C => if c == label { 1.0 } else { 0.0 }",
        "masked_fill" | "select" => {
            "a choice is written: if mask { x } else { 0 }, and a guard leaves entries out: sum i where mask[i] => x[i]"
        }
        "std" | "var" => "a variance is written: mean((x - mean(x)) ** 2), a deviation is its sqrt",
        "where" => "a choice is written: if c { a } else { b }",
        "norm" => "a norm is written: sqrt(sum(x ** 2))",
        "positional" | "PositionalEncoding" | "positional_encoding" => {
            "vectors of places are added by x |> add_sinusoids, or are a parameter: param p: f32[T, D] = normal(0.02)"
        }
        "cumsum" => "a running sum is written: for t => sum s where s <= t => x[s]",
        "flip" | "reverse" | "fliplr" | "flipud" => {
            "entries are reversed by their indices: for i: N => x[N - 1 - i]"
        }
        "roll" => {
            "shift(x, over: T, by: 1, fill: 0), or a read at a distance over a `ring`: for i: R => x[i - 1]"
        }
        "triu" | "tril" => {
            "a triangle is a guard: sum s where s <= t => …, or if s <= t { x[t, s] } else { 0 }"
        }
        "bincount" | "scatter_add" | "index_add" | "segment_sum" => {
            "entries are gathered where they belong: for n => sum e where to[e] == n => x[e]"
        }
        "index_select" | "take" => "entries are picked by an Idx: for e => x[i[e]]",
        "detach" => "derivatives end at stop_gradient(x)",
        "no_grad" => {
            "nothing is differentiated unless grad(f) asks for it; derivatives end at stop_gradient(x)"
        }
        "backward" | "autograd" => {
            "derivatives are taken of functions: grad(f)(x); `nnc train` takes those of the loss"
        }
        "float" | "double" | "half" | "int" | "long" | "astype" | "to" | "type" => {
            "a conversion is written: x as f32"
        }
        "print" | "println" | "printf" => {
            "nn computes values and prints none; `nnc repl` and `nnc run` show them"
        }
        "randn" | "rand" | "normal_" | "randint" => {
            "draws are written random.normal(N, D) and random.uniform(N, D)"
        }
        "max_pool2d" | "MaxPool2d" | "MaxPooling2D" => "the largest of each k × k entries is max_pool(k)",
        "avg_pool2d" | "AvgPool2d" | "AveragePooling2D" => {
            "the mean of each k × k entries is average_pool(k)"
        }
        "AdaptiveAvgPool2d" | "adaptive_avg_pool2d" => {
            "the mean over a picture is mean(x, over: (H, W)); adaptive_average_pool(rows) gives more than one"
        }
        "Conv2d" | "Conv2D" | "Conv1d" | "Conv1D" => {
            "a convolution is conv2d(C, 3) or conv1d(C, 3), channels last; its input's channels follow from the input"
        }
        "BatchNorm1d" | "BatchNorm2d" | "BatchNormalization" => {
            "a layer that sees the batch takes its axis: batch_norm(B), in a model with `set B` in its type"
        }
        "LayerNorm" | "LayerNormalization" => "the layer is layer_norm(), over the last axis",
        "Embedding" => "the layer is embedding(V, D), of V words",
        "LSTM" | "GRU" | "RNN" => {
            "a recurrent layer is lstm(H), gru(H) or rnn(H), over the axis before the last"
        }
        "Dropout" => "the layer is dropout(0.1)",
        "ReLU" | "GELU" | "Tanh" | "Sigmoid" | "Softmax" => {
            "activations are functions: relu, gelu, tanh, sigmoid, softmax(x, over: C)"
        }
        "CrossEntropyLoss" => "the loss is cross_entropy(z, y), of scores z and classes y",
        "MSELoss" | "mse_loss" => "the loss is mse(x, y)",
        "requires_grad" | "Parameter" => {
            "what is trained is declared in a layer: param w: f32[I, O] = he_normal(fan_in: I)"
        }
        "Linear" | "Dense" | "dense" | "fc" => "a dense layer is written linear(H)",
        "Sequential" => "layers follow one another by pipes: x |> linear(64) |> relu |> linear(10)",
        "nn" | "torch" | "np" | "jnp" | "jax" | "tf" | "keras" => {
            "the library's names need no prefix: relu(x), linear(10)(x)"
        }
        "self" => "a layer's parameters are plain names in its body",
        "attention" | "scaled_dot_product_attention" => {
            "attend(q, k, v), attend_causal(q, k, v), and the layer self_attention(heads)"
        }
        "MultiheadAttention" | "multi_head_attention" | "multihead_attention" => {
            "the layer is self_attention(heads), or cross_attention(heads)"
        }
        "he" | "kaiming" | "kaiming_normal" => "an initialiser: he_normal(fan_in), he_uniform(fan_in)",
        "xavier" | "xavier_uniform" | "xavier_normal" | "glorot" => {
            "an initialiser: glorot_uniform(fan_in, fan_out), glorot_normal(…)"
        }
        "True" | "False" => "truth values are written true and false",
        "None" | "null" | "nil" => "nn has no missing values",
        _ => return None,
    })
}

/// The name that stands for `name` here as it is, with the same arguments.
pub fn renamed(name: &str) -> Option<&'static str> {
    Some(match name {
        "True" => "true",
        "False" => "false",
        "cat" => "concat",
        "chunk" => "split",
        "ReLU" => "relu",
        "GELU" => "gelu",
        "Tanh" => "tanh",
        "Sigmoid" => "sigmoid",
        "Dropout" => "dropout",
        "Embedding" => "embedding",
        "LSTM" => "lstm",
        "GRU" => "gru",
        "MSELoss" | "mse_loss" => "mse",
        "CrossEntropyLoss" => "cross_entropy",
        "Dense" | "dense" | "fc" => "linear",
        "kaiming_normal" => "he_normal",
        "xavier_uniform" => "glorot_uniform",
        "xavier_normal" => "glorot_normal",
        _ => return None,
    })
}
