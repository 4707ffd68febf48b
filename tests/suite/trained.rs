//! Trainings in f64 go as they go in PyTorch: every loss, and what the steps make of every tensor
//! (tests/golden/numbers/trained.py, which draws the first weights and the batch).

use std::fs;
use std::path::Path;

use nnc::formats::npz;
use nnc::formats::safetensors::{self, Archive};
use nnc::tensor::{Tensor, Tolerance};

use super::command::nnc;

/// The tensors below a path of the golden file, by the rest of their names.
fn below(golden: &Archive, path: &str) -> Archive {
    let named = golden.tensors.iter();
    let tensors =
        named.filter_map(|(name, tensor)| Some((name.strip_prefix(path)?.to_owned(), tensor.clone())));
    Archive { tensors: tensors.collect(), ..Archive::default() }
}

/// Trains a model with an optimizer as the golden file's case did.
#[track_caller]
fn trains(case: &str, optimizer: &str, model: &str, loss: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/numbers/trained.safetensors");
    let golden = safetensors::load(&path).expect("the golden file");
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let (x, y) = (&golden.tensors[&format!("{case}/x")], &golden.tensors[&format!("{case}/y")]);
    npz::save(&here.join("data.npz"), &[("x", x), ("y", y)]).unwrap();
    safetensors::save(&here.join("before.safetensors"), &below(&golden, &format!("{case}/before/"))).unwrap();
    let losses = &golden.tensors[&format!("{case}/{optimizer}/losses")];
    let (batch, steps) = (x.shape()[0], losses.shape()[0]);
    let program = format!(
        "{model}
train fit {{
  data d = npz(\"data.npz\")
  let net = net()
  init net = safetensors(\"before.safetensors\")
  loss {loss}
  optim {optimizer}
  batch {batch}
  epochs {steps}
}}
"
    );
    fs::write(here.join("a.nn"), program).unwrap();
    let ran = nnc(here, &["train", "a.nn", "--float", "f64", "--out", "run", "--threads", "1"]);
    assert_eq!(ran.code, 0, "{case}: {}", ran.err);
    // After two hundred steps roundings have grown, by a factor of some ten thousand.
    let tolerance = Tolerance::new(1e-7, 1e-9);
    let journal = fs::read_to_string(here.join("run/metrics.jsonl")).unwrap();
    let found: Vec<f64> = journal
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["train_loss"].as_f64().unwrap())
        .collect();
    let found = Tensor::from_vec(&[found.len()], found).unwrap();
    if let Err(difference) = found.compare(losses, tolerance) {
        panic!("{case}, {optimizer}, losses: {difference:?}");
    }
    let weights = safetensors::load(&here.join("run/weights.safetensors")).unwrap();
    let after = below(&golden, &format!("{case}/{optimizer}/after/"));
    let names = |archive: &Archive| archive.tensors.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&weights), names(&after), "{case}");
    for (name, expected) in &after.tensors {
        if let Err(difference) = weights.tensors[name].compare(expected, tolerance) {
            panic!("{case}, {optimizer}, {name}: {difference:?}");
        }
    }
}

const LABELLED: &str = "cross_entropy(net(d.x), d.y)";

#[test]
fn a_perceptron_trains_as_in_pytorch() {
    trains("mlp", "adam(0.01)", "model net(x: f32[5]) -> f32[3] = mlp([6, 4, 3])(x)", LABELLED);
}

#[test]
fn a_convolutional_network_trains_as_in_pytorch() {
    let model = "model net(x: f32[16, 16, 1]) -> f32[3] {
  x |> conv2d(2, 5) |> relu |> max_pool(2) |> conv2d(3, 5, padding: 0) |> relu |> max_pool(2) |> flatten |> mlp([6, 5, 3])
}";
    trains("lenet", "sgd(0.05)", model, LABELLED);
}

#[test]
fn deep_sets_train_as_in_pytorch() {
    let model = "model net(x: f32[set N, 3]) -> f32[3] = x |> deep_set(mlp([4, 4]), mlp([4, 3]))";
    trains("deepsets", "adam(0.01)", model, LABELLED);
}

#[test]
fn an_lstm_trains_as_in_pytorch() {
    let model = "model net(x: f32[T, 3]) -> f32[3] where T >= 1 = x |> lstm(4) |> last |> linear(3)";
    trains("lstm", "adam(0.01)", model, LABELLED);
}

#[test]
fn a_transformer_trains_as_in_pytorch() {
    let model = "model net(i: Idx[7][causal T]) -> f32[T, 7] where T <= 5 {
  let words = embedding(7, 4)
  words(i)
    |> add_positions(5)
    |> stack(2, transformer_block(2, causal: true))
    |> layer_norm()
    |> unembed(words.w)
}";
    trains("gpt", "adam(0.01)", model, "mean(cross_entropy(net(d.x), d.y), over: 5)");
}

/// Running means and variances with it.
#[test]
fn a_residual_network_trains_as_in_pytorch() {
    let model = "layer block(batch: axis, C: dim, stride: dim = 1)(x: f32[batch, grid H, grid W, I]) {
  let h = x |> conv2d(C, stride: stride, bias: false) |> batch_norm(batch) |> relu
  let h = h |> conv2d(C, bias: false) |> batch_norm(batch)
  let short = if C == I { x } else { x |> conv2d(C, 1, stride: stride, bias: false) |> batch_norm(batch) }
  relu(h + short)
}
model net(x: f32[set B, 8, 8, 3]) -> f32[B, 3] {
  let h = x |> conv2d(2, bias: false) |> batch_norm(B) |> relu
  for (width, stride) in [(2, 1), (3, 2)] { h = h |> block(B, width, stride) }
  h |> global_average_pool |> linear(3)
}";
    trains("resnet20", "adam(0.01)", model, LABELLED);
}

/// Dilation, groups, each feature by itself, a transpose; group and instance norm.
#[test]
fn convolutions_train_as_in_pytorch() {
    let model = "model net(x: f32[6, 6, 3]) -> f32[3] {
  x
    |> conv2d(4, padding: 2, dilation: 2)
    |> group_norm(2)
    |> depthwise_conv2d(3, stride: 2)
    |> conv_transpose2d(4, 3, stride: 2, padding: 1)
    |> conv2d(4, groups: 2, bias: false)
    |> instance_norm
    |> average_pool(2)
    |> flatten
    |> linear(3)
}";
    trains("convolutions", "sgd(0.1)", model, LABELLED);
    let model = "model net(x: f32[3, 3, 3, 2]) -> f32[2] {
  let h: f32[Z, H, W, C] = x |> conv3d(3) |> gelu
  mean(h, over: (Z, H, W)) |> linear(2)
}";
    trains("volume", "sgd(0.1)", model, LABELLED);
}

#[test]
fn recurrent_layers_train_as_in_pytorch() {
    let model = "model net(x: f32[5, 3]) -> f32[2] {
  x
    |> conv1d(4)
    |> layer_norm()
    |> bidirectional(gru(3), gru(3, reverse: true))
    |> rnn(4)
    |> rms_norm()
    |> lstm(3)
    |> last
    |> linear(2)
}";
    trains("sequence", "sgd(0.1)", model, LABELLED);
}

#[test]
fn optimizers_step_as_in_pytorch() {
    for optimizer in [
        "sgd(0.1)",
        "sgd(0.1, decay: 0.1)",
        "sgd(0.1, momentum: 0.9)",
        "sgd(0.1, momentum: 0.9, nesterov: true)",
        "sgd(0.1, clip: 0.1)",
        "adagrad(0.1)",
        "rmsprop(0.01)",
        "rmsprop(0.01, momentum: 0.9)",
        "adadelta(1.0)",
        "adam(0.01)",
        "adam(0.01, decay: 0.1)",
        "adamw(0.01, decay: 0.1)",
        "adamax(0.01)",
        "nadam(0.01)",
        "lion(0.01, decay: 0.1)",
        "lamb(0.01, decay: 0.1)",
        "adagrad(0.1, initial: 0.1, decay: 0.05)",
        "rmsprop(0.01, alpha: 0.9, momentum: 0.8, decay: 0.1, centred: true)",
    ] {
        trains("optimizers", optimizer, "model net(x: f32[3]) -> f32[2] = mlp([4, 2])(x)", LABELLED);
    }
}

/// Rates by the step, and averages of the weights, which take their place at the end.
#[test]
fn schedules_and_averages_are_those_of_pytorch() {
    for optimizer in [
        "sgd(step_decay(0.1, 3, factor: 0.5))",
        "sgd(exponential_decay(0.1, 0.8))",
        "sgd(cosine(0.1))",
        "sgd(cosine(0.1, last: 0.02))",
        "sgd(linear_decay(0.1, last: 0.02))",
        "sgd(warm_up(0.1, 4))",
        "sgd(cosine(0.1, warmup: 4))",
        "sgd(one_cycle(0.1))",
        "sgd(one_cycle(0.1, rise: 0.5))",
        "sgd(inverse_sqrt(0.2, warmup: 3.0))",
        "sgd(0.1)\n  average ema(0.8)",
        "sgd(0.1)\n  average swa(start: 0.5)",
    ] {
        trains("optimizers", optimizer, "model net(x: f32[3]) -> f32[2] = mlp([4, 2])(x)", LABELLED);
    }
}
