//! Trainings that must be the same to the bit, and what they write.

use std::fs;

use nnc::formats::safetensors;
use nnc::tensor::DType;

use super::command::{PROGRAM, folder, nnc};

#[test]
fn one_seed_gives_one_file_at_any_number_of_threads() {
    let folder = folder(PROGRAM);
    let here = folder.path();
    for (out, threads, seed) in [("a", "1", "3"), ("b", "2", "3"), ("c", "2", "4")] {
        let ran = nnc(here, &["train", "a.nn", "--out", out, "--threads", threads, "--seed", seed]);
        assert_eq!(ran.code, 0, "{}", ran.err);
    }
    let bytes = |run: &str, file: &str| fs::read(here.join(run).join(file)).unwrap();
    for file in ["weights.safetensors", "checkpoint.safetensors"] {
        assert_eq!(bytes("a", file), bytes("b", file), "{file}");
        assert_ne!(bytes("a", file), bytes("c", file), "{file}");
    }
}

#[test]
fn eval_gives_what_training_ended_with() {
    let folder = folder(PROGRAM);
    let here = folder.path();
    let trained = nnc(here, &["train", "a.nn", "--json"]);
    let evaluated = nnc(here, &["eval", "a.nn", "--weights", "runs/fit/weights.safetensors", "--json"]);
    let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(evaluated.code, 0, "{}", evaluated.err);
    assert_eq!(value(&trained.out)["measures"], value(&evaluated.out)["measures"]);
    let last = fs::read_to_string(here.join("runs/fit/metrics.jsonl")).unwrap();
    let last = value(last.lines().last().unwrap());
    assert_eq!(last["accuracy"], value(&evaluated.out)["measures"]["accuracy"]);
}

/// Running means that are kept at inference, and random draws: what only a training compilation has.
const STATEFUL: &str = "
layer centred(batch: axis)(x: f32[batch, D]) -> f32[batch, D] {
  state m: f32[D] = zeros
  if training {
    let now = mean(x, over: batch)
    m := 0.9 * m + 0.1 * now
    x - now
  } else { x - m }
}
layer drop(p: f32)(x: f32[D]) -> f32[D] {
  if training { if random.uniform(D) < p { 0.0 } else { x / (1 - p) } } else { x }
}
model net(x: f32[set B, 4]) -> f32[B, 3] { x |> linear(8) |> centred(B) |> relu |> drop(0.25) |> linear(3) }
train fit {
  data   d = npz(\"data.npz\")
  let    net = net()
  loss   cross_entropy(net(d.x), d.y)
  optim  sgd(0.05, momentum: 0.9)
  batch  16
  epochs 3
}
";

#[test]
fn states_and_draws_are_the_same_at_any_number_of_threads_and_in_eval() {
    let folder = folder(STATEFUL);
    let here = folder.path();
    for (out, threads) in [("a", "1"), ("b", "2")] {
        let ran = nnc(here, &["train", "a.nn", "--out", out, "--threads", threads]);
        assert_eq!(ran.code, 0, "{}", ran.err);
    }
    let bytes = |run: &str| fs::read(here.join(run).join("checkpoint.safetensors")).unwrap();
    assert_eq!(bytes("a"), bytes("b"));
    let weights = nnc::formats::safetensors::load(&here.join("a/weights.safetensors")).unwrap();
    let names: Vec<&str> = weights.tensors.keys().map(String::as_str).collect();
    assert_eq!(names, ["centred_0.m", "linear_0.b", "linear_0.w", "linear_1.b", "linear_1.w"]);
    let again = nnc(here, &["train", "a.nn", "--out", "a", "--resume", "--json"]);
    let evaluated = nnc(here, &["eval", "a.nn", "--weights", "a/weights.safetensors", "--json"]);
    let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(value(&again.out)["measures"], value(&evaluated.out)["measures"]);
}

#[test]
fn weights_of_another_program_are_refused_with_all_differences() {
    let folder = folder(PROGRAM);
    let here = folder.path();
    assert_eq!(nnc(here, &["train", "a.nn", "--epochs", "1"]).code, 0);
    let other = PROGRAM.replace("linear(H) |> relu |> linear(3)", "linear(6) |> relu |> mlp([4, 3])");
    fs::write(here.join("b.nn"), other).unwrap();
    let ran = nnc(here, &["eval", "b.nn", "--weights", "runs/fit/weights.safetensors"]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    for word in ["`linear_0.w` has shape [4, 5] in the file, [4, 6]", "mlp_0.linear_0", "linear_1.w"] {
        assert!(ran.err.contains(word), "no `{word}` in:\n{}", ran.err);
    }
}

#[test]
fn a_stack_has_an_entry_for_each_member() {
    let deep = PROGRAM.replace("|> relu |> linear(3)", "|> stack(3, block(H)) |> linear(3)")
        + "\nlayer block(D: dim)(x: f32[D]) -> f32[D] { x + relu(linear(D)(x)) }\n";
    let folder = folder(&deep);
    let ran = nnc(folder.path(), &["train", "a.nn", "--epochs", "1"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let weights =
        nnc::formats::safetensors::load(&folder.path().join("runs/fit/weights.safetensors")).unwrap();
    let names: Vec<&str> =
        weights.tensors.keys().map(String::as_str).filter(|name| name.starts_with("stack")).collect();
    let members: Vec<String> =
        (0..3).flat_map(|k| ["b", "w"].map(|name| format!("stack_0.{k}.linear_0.{name}"))).collect();
    assert_eq!(names, members);
    assert_eq!(weights.tensors["stack_0.2.linear_0.w"].shape(), [5, 5]);
}

#[test]
fn each_member_of_a_stack_has_states_of_its_own_which_every_application_writes() {
    let counting = "
layer counted(x: f32[D]) -> f32[D] {
  state uses: f32 = 0
  uses := uses + 1
  x
}
layer pair(D: dim)(x: f32[D]) -> f32[D] {
  let once = counted()
  x |> once |> linear(D) |> stack(2, fn(h) => h |> once |> counted)
}
model optim(x: f32[4]) -> f32[3] {
  let twice = stack(3, counted())
  x |> twice |> twice |> linear(3)
}
train fit {
  data d = npz(\"data.npz\")
  let optim = optim()
  loss cross_entropy(optim(d.x), d.y)
  metric accuracy(optim(d.x), d.y)
  optim adam(0.05)
  batch 16
  epochs 1
}
";
    let outside = counting.replace("x |> twice |> twice", "x |> pair(4)");
    let folder = folder(counting);
    let here = folder.path();
    let ran = nnc(here, &["train", "a.nn", "--out", "run"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let saved = |file: &str| nnc::formats::safetensors::load(&here.join("run").join(file)).unwrap();
    let weights = saved("weights.safetensors");
    let names: Vec<&str> = weights.tensors.keys().map(String::as_str).collect();
    assert_eq!(names, ["linear_0.b", "linear_0.w", "twice.0.uses", "twice.1.uses", "twice.2.uses"]);
    let uses: Vec<f64> =
        (0..3).map(|k| weights.tensors[&format!("twice.{k}.uses")].number(0).unwrap().as_f64()).collect();
    let steps = saved("checkpoint.safetensors").metadata["step"].parse::<f64>().unwrap();
    assert_eq!(uses, [2.0 * steps; 3]);

    // A layer that stands outside of the stack would be written in every turn.
    fs::write(here.join("b.nn"), outside).unwrap();
    let ran = nnc(here, &["check", "b.nn"]);
    assert!(ran.code == 1 && ran.err.contains("E0349"), "{}", ran.err);
}

/// A state of a layer that is applied in a loop, of one inside a loop inside that, of a stack inside, and of the loop's own layer.
const LOOPS: &str = "
layer counted(D: dim)(x: f32[D]) -> f32[D] {
  state uses: f32 = 0
  uses := 2 * uses + 1
  x
}
layer looped(D: dim)(x: f32[T, D]) -> f32[T, D] {
  state turns: f32 = 0
  let once = counted(D)
  let twice = counted(D)
  let members = stack(2, counted(D))
  let again = fn(h) => {
    turns := turns + 1
    twice(h)
  }
  scan t: T (h: f32[D] = 0) {
    h = checkpoint { once(h + x[t]) |> iterate(2, again) |> members }
    yield h
  }
}
model net(x: f32[4]) -> f32[3] {
  param start: f32[5, 4] = ones
  let h = looped(4)(start)
  linear(3)(x + h[4])
}
train fit {
  data d = npz(\"data.npz\")
  let net = net()
  loss cross_entropy(net(d.x), d.y)
  optim sgd(0.01)
  batch 64
  epochs 1
}
";

#[test]
fn the_turns_of_a_loop_share_the_states_that_they_write() {
    let folder = folder(LOOPS);
    let here = folder.path();
    let ran = nnc(here, &["train", "a.nn", "--out", "run"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let saved = |file: &str| nnc::formats::safetensors::load(&here.join("run").join(file)).unwrap();
    let (weights, steps) = (saved("weights.safetensors"), saved("checkpoint.safetensors"));
    let steps = steps.metadata["step"].parse::<u32>().unwrap();
    let state = |path: &str| weights.tensors[path].number(0).unwrap().as_f64();
    let uses = |turns: u32| 2f64.powi((turns * steps) as i32) - 1.0;
    assert_eq!(state("looped_0.turns"), f64::from(10 * steps));
    for (path, turns) in [("once", 5), ("twice", 10), ("members.0", 5), ("members.1", 5)] {
        let wanted = uses(turns) as f32;
        assert_eq!(state(&format!("looped_0.{path}.uses")), f64::from(wanted), "{path}");
    }
}

/// The parts of a batch of 16: 6, 6 and 4 samples; of the last one, of 8: 3, 3 and 2.
#[test]
fn a_batch_in_parts_is_the_same_batch() {
    let program = |more: &str| {
        format!(
            "model small(x: f32[4]) -> f32[3] {{ x |> linear(8) |> stack(2, residual(linear(8))) |> relu |> linear(3) }}
train fit {{
  data   d = npz(\"data.npz\")
  let    net = small()
  loss   cross_entropy(net(d.x), d.y)
  optim  adamw(cosine(1e-2, warmup: 3), decay: 0.01)
  average ema(0.9)
  batch  16
  epochs 5{more}
}}
"
        )
    };
    let trained = |more: &str, threads: &str| {
        let folder = folder(&program(more));
        let here = folder.path();
        let ran = nnc(here, &["train", "a.nn", "--out", "run", "--threads", threads]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let (bytes, file) = (
            fs::read(here.join("run/checkpoint.safetensors")).unwrap(),
            nnc::formats::safetensors::load(&here.join("run/weights.safetensors")).unwrap(),
        );
        let metrics = fs::read_to_string(here.join("run/metrics.jsonl")).unwrap();
        let last: serde_json::Value = serde_json::from_str(metrics.lines().last().unwrap()).unwrap();
        (bytes, file, last["train_loss"].as_f64().or(last["loss"].as_f64()).unwrap())
    };
    let (_, whole, loss) = trained("", "1");
    let (bytes, parts, loss_of_parts) = trained("\n  accumulate 3", "1");
    assert!((loss - loss_of_parts).abs() < 1e-5, "{loss} {loss_of_parts}");
    assert_eq!(whole.tensors.keys().collect::<Vec<_>>(), parts.tensors.keys().collect::<Vec<_>>());
    for (name, tensor) in &whole.tensors {
        for index in 0..tensor.len() {
            let entry = |tensor: &nnc::tensor::Tensor| tensor.number(index).unwrap().as_f64();
            let (a, b) = (entry(tensor), entry(&parts.tensors[name]));
            assert!((a - b).abs() < 1e-4, "{name}[{index}]: {a} {b}");
        }
    }
    assert_eq!(bytes, trained("\n  accumulate 3", "2").0);
    // Each optimizer takes the parts of the batch before the next one's turn.
    let folder = folder(&SEVERAL.replace("  epochs 2", "  epochs 2\n  accumulate 2"));
    let ran = nnc(folder.path(), &["train", "a.nn"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
}

/// Two models, two losses, two optimizers; a third model that nothing trains.
const SEVERAL: &str = "
model generator(z: f32[2]) -> f32[4] { z |> linear(6) |> relu |> linear(4) }
model discriminator(x: f32[4]) -> f32 { sum(x |> linear(6) |> relu |> linear(1)) }
model fixed(x: f32[4]) -> f32[4] { x |> linear(4) }
optimizer clipped(lr: f32, most: f32 = 0.5)(w: f32[..S], g: f32[..S]) -> f32[..S] = w - lr * g * min(1.0, most / global_norm(g))
fn is(real: f32)(z: f32) -> f32 = log(1 + exp(if real > 0.5 { -z } else { z }))
train game {
  data d = npz(\"data.npz\")
  let gen = generator()
  let dis = discriminator()
  let eye = fixed()
  let real = eye(d.x)
  let fake = gen(for b: B => random.normal(2))
  loss dl = is(1)(dis(real)) + is(0)(dis(stop_gradient(fake)))
  loss gl = is(1)(dis(fake))
  optim adam(0.01, minimize: dl, update: dis, every: 2)
  optim clipped(0.1, minimize: gl, update: gen)
  batch 16
  epochs 2
}
";

#[test]
fn several_losses_and_optimizers_take_turns() {
    let folder = folder(SEVERAL);
    let here = folder.path();
    let ran = nnc(here, &["train", "a.nn", "--out", "run", "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let begun = nnc(here, &["train", "a.nn", "--out", "start", "--epochs", "1", "--set", "x=1"]);
    assert_ne!(begun.code, 0);
    let saved = |file: &str| nnc::formats::safetensors::load(&here.join("run").join(file)).unwrap();
    let (weights, all) = (saved("weights.safetensors"), saved("checkpoint.safetensors"));
    let owners: std::collections::BTreeSet<&str> =
        weights.tensors.keys().map(|name| name.split('.').next().unwrap()).collect();
    assert_eq!(owners.into_iter().collect::<Vec<_>>(), ["dis", "eye", "gen"]);
    let moments: Vec<&String> = all.tensors.keys().filter(|name| name.starts_with("optim:")).collect();
    assert!(
        !moments.is_empty()
            && moments.iter().all(|name| name.starts_with("optim:0.") && name.contains(".dis.")),
        "{moments:?}"
    );
    // What no optimizer names is frozen: one epoch more changes it no more than the first.
    let longer = nnc(here, &["train", "a.nn", "--out", "longer", "--epochs", "3"]);
    assert_eq!(longer.code, 0, "{}", longer.err);
    let later = nnc::formats::safetensors::load(&here.join("longer/weights.safetensors")).unwrap();
    for (name, tensor) in &weights.tensors {
        let same = tensor == &later.tensors[name];
        assert_eq!(same, name.starts_with("eye."), "{name}");
    }
    // Interrupted and resumed or not: the same weights.
    let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let measures = value(&ran.out)["measures"].clone();
    assert!(measures["dl"].is_number() && measures["gl"].is_number(), "{measures}");

    // The weights of one model begin another training.
    let other = "
model generator(z: f32[2]) -> f32[4] { z |> linear(6) |> relu |> linear(4) }
model eye(x: f32[4]) -> f32[4] { x |> linear(4) }
train next {
  data d = npz(\"data.npz\")
  let gen = generator()
  let eye = eye()
  init gen = safetensors(\"gen.safetensors\", only: \"linear_0\")
  loss mean((gen(for b: B => random.normal(2)) - eye(d.x)) ** 2, over: 4)
  optim sgd(0.01, update: eye)
  epochs 1
}
";
    let mut archive = weights;
    archive.tensors = archive
        .tensors
        .into_iter()
        .filter_map(|(name, tensor)| Some((name.strip_prefix("gen.")?.to_owned(), tensor)))
        .collect();
    nnc::formats::safetensors::save(&here.join("gen.safetensors"), &archive).unwrap();
    fs::write(here.join("b.nn"), other).unwrap();
    let ran = nnc(here, &["train", "b.nn", "--out", "next"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let next = nnc::formats::safetensors::load(&here.join("next/weights.safetensors")).unwrap();
    assert_eq!(next.tensors["gen.linear_0.w"], archive.tensors["linear_0.w"]);
    assert_ne!(next.tensors["gen.linear_1.w"], archive.tensors["linear_1.w"]);
    fs::write(here.join("c.nn"), other.replace("only: \"linear_0\"", "only: \"linear_7\"")).unwrap();
    let ran = nnc(here, &["train", "c.nn"]);
    assert!(ran.code == 3 && ran.err.contains("linear_7"), "{} {}", ran.code, ran.err);
}

#[test]
fn an_optimizer_says_what_it_minimizes() {
    let folder = folder(&SEVERAL.replace("minimize: gl, ", ""));
    let ran = nnc(folder.path(), &["check", "a.nn"]);
    assert!(ran.code == 1 && ran.err.contains("E0416"), "{}", ran.err);
}

/// With one step of rate 1 from ones, the weights are one less the gradient, which is the draw; and the loss is the sum of the draw.
#[test]
fn a_checkpoint_draws_the_same_numbers_again_and_writes_states_once() {
    let folder = folder(
        "
model drawn(x: f32[set B, 4]) -> f32[B] {
  param w: f32[4] = ones
  state uses: f32 = 0
  checkpoint {
    uses := uses + 1
    let r = tanh(random.normal(4))
    for b => sum i => w[i] * r[i] + 0 * x[b, i]
  }
}
train fit {
  data d = npz(\"data.npz\")
  let net = drawn()
  loss net(d.x)
  optim sgd(1.0)
  batch 40
  epochs 1
}
",
    );
    let ran = nnc(folder.path(), &["train", "a.nn", "--out", "run"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let weights = nnc::formats::safetensors::load(&folder.path().join("run/weights.safetensors")).unwrap();
    assert_eq!(weights.tensors["uses"].number(0).unwrap().as_f64(), 1.0);
    let drawn: f64 = weights.tensors["w"].numbers().map(|w| 1.0 - w.as_f64()).sum();
    let journal = fs::read_to_string(folder.path().join("run/metrics.jsonl")).unwrap();
    let line: serde_json::Value = serde_json::from_str(journal.lines().next().unwrap()).unwrap();
    assert!((drawn - line["train_loss"].as_f64().unwrap()).abs() < 1e-5, "{drawn} {line}");
}

#[test]
fn the_weights_that_are_kept_are_those_of_the_best_epoch_and_averaged() {
    let folder = folder(PROGRAM);
    let here = folder.path();
    let with = |file: &str, clauses: &str| {
        let source = PROGRAM.replace("  batch  8\n", &format!("  batch  8\n{clauses}"));
        fs::write(here.join(file), source).unwrap();
        let ran = nnc(here, &["train", file, "--out", file.strip_suffix(".nn").unwrap(), "--json"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        serde_json::from_str::<serde_json::Value>(&ran.out).unwrap()
    };
    let bytes = |run: &str| fs::read(here.join(run).join("weights.safetensors")).unwrap();
    // An average that forgets all but the last weights is these; a slow one is not.
    with("plain.nn", "");
    with("last.nn", "  average ema(0.0)\n");
    with("slow.nn", "  average ema(0.99)\n");
    assert_eq!(bytes("plain"), bytes("last"));
    assert_ne!(bytes("plain"), bytes("slow"));
    let kept = with("kept.nn", "  keep min(loss)\n  patience 2\n");
    let lines = fs::read_to_string(here.join("kept/metrics.jsonl")).unwrap();
    let losses: Vec<f64> = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["loss"].as_f64().unwrap())
        .collect();
    let best = losses.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(kept["measures"]["loss"].as_f64().unwrap(), best);
    let evaluated = nnc(here, &["eval", "kept.nn", "--weights", "kept/weights.safetensors", "--json"]);
    let evaluated: serde_json::Value = serde_json::from_str(&evaluated.out).unwrap();
    assert_eq!(evaluated["measures"], kept["measures"]);
}

#[test]
fn a_loss_that_is_not_finite_names_the_operator_that_made_it() {
    let direct = PROGRAM
        .replace("cross_entropy(net(d.x), d.y)", "nll(log(softmax(net(d.x))), d.y)")
        .replace("adam(lr)", "sgd(1000.0)");
    let looped = PROGRAM.replace(
        "cross_entropy(net(d.x), d.y)",
        "0.0 * sum(scan t: B (s: f32 = 1) { s = s * 1e30; yield s }) + mean(cross_entropy(net(d.x), d.y))",
    );
    for (source, operator, place) in [(direct, "`log`", "a.nn:10"), (looped, "`mul`", "a.nn:10")] {
        let folder = folder(&source);
        let here = folder.path();
        let ran = nnc(here, &["train", "a.nn"]);
        assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
        for word in ["E0526", "made the first infinity or NaN", operator, place] {
            assert!(ran.err.contains(word), "{word}: {}", ran.err);
        }
        let kept = nnc::formats::safetensors::load(&here.join("runs/fit/weights.safetensors")).unwrap();
        let finite =
            |tensor: &nnc::tensor::Tensor| tensor.numbers().all(|number| number.as_f64().is_finite());
        assert!(kept.tensors.values().all(finite));
    }
}

/// The update of the last step of an epoch, whose loss is finite, makes the weights infinite: they are not written as if they were good.
#[test]
fn weights_that_are_not_finite_are_not_written() {
    let late = "
optimizer late(lr: f32)(w: f32[..S], g: f32[..S]) -> f32[..S] {
  w - lr * g / (if training.step == LAST { 0.0 } else { 1.0 })
}
";
    // 30 samples to train in batches of 8: four steps an epoch. The last step of the second epoch, and of all.
    for last in ["7", "15"] {
        for (parts, row) in [("", 3), ("  accumulate 2\n", 3)] {
            let source = late.replace("LAST", last) + PROGRAM;
            let folder = folder(&source.replace("adam(lr)\n", &format!("late(lr)\n{parts}")));
            let here = folder.path();
            let ran = nnc(here, &["train", "a.nn"]);
            assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
            let (epoch, step) = if last == "7" { (2, 8) } else { (4, 16) };
            for word in [
                "E0526".to_owned(),
                format!("is not finite after step {step}, in epoch {epoch}"),
                format!("a.nn:{row}:"),
                format!("in step {step} this made the first infinity or NaN: `div`"),
            ] {
                assert!(ran.err.contains(&word), "{word}: {}", ran.err);
            }
            for file in ["weights.safetensors", "checkpoint.safetensors"] {
                let kept = safetensors::load(&here.join("runs/fit").join(file)).unwrap();
                let numbers = kept.tensors.values().flat_map(|tensor| tensor.numbers());
                assert!(numbers.into_iter().all(|number| number.as_f64().is_finite()), "{file}");
            }
        }
    }
}

#[test]
fn a_training_goes_on_with_its_own_data_alone() {
    let folder = folder(PROGRAM);
    let here = folder.path();
    assert_eq!(nnc(here, &["train", "a.nn", "--epochs", "2"]).code, 0);
    // One label is another; then the split has as many samples, and not the same.
    let data = fs::read(here.join("data.npz")).unwrap();
    let array = |name: &str| nnc::formats::npz::load(&here.join("data.npz"), name).unwrap();
    let (x, y) = (array("x"), array("y"));
    let mut labels = y.as_slice::<i64>().unwrap().to_vec();
    labels[39] = 2 - labels[39].min(1);
    let other = nnc::tensor::Tensor::from_vec(&[labels.len()], labels).unwrap();
    nnc::formats::npz::save(&here.join("data.npz"), &[("x", &x), ("y", &other)]).unwrap();
    let resumed = nnc(here, &["train", "a.nn", "--epochs", "4", "--resume"]);
    fs::write(here.join("data.npz"), data).unwrap();
    fs::write(here.join("b.nn"), PROGRAM.replace("seed: 1", "seed: 2")).unwrap();
    for refused in [resumed, nnc(here, &["train", "b.nn", "--epochs", "4", "--resume"])] {
        assert_eq!(refused.code, 3, "{}", refused.err);
        assert!(refused.err.contains("E0530") && refused.err.contains("on other data"), "{}", refused.err);
    }
    let ran = nnc(here, &["train", "a.nn", "--epochs", "4", "--resume"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
}

#[test]
fn two_trainings_do_not_write_to_one_folder() {
    let folder = folder(PROGRAM);
    let here = folder.path();
    fs::create_dir(here.join("run")).unwrap();
    let held = fs::File::open(here.join("run")).unwrap();
    held.lock().unwrap();
    let refused = nnc(here, &["train", "a.nn", "--out", "run"]);
    assert_eq!(refused.code, 3, "{}", refused.err);
    assert!(refused.err.contains("E0538") && refused.err.contains("another training"), "{}", refused.err);
    assert_eq!(fs::read_dir(here.join("run")).unwrap().count(), 0);
    drop(held);
    let ran = nnc(here, &["train", "a.nn", "--out", "run"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
}

/// Samples so large that the next batch is gathered ahead, by a thread of its own or by those of the pool: the same bits, and a training that
/// was stopped goes on with the right samples.
#[test]
fn batches_that_are_gathered_ahead_are_the_same() {
    let program = |clauses: &str| {
        format!(
            "model wide(x: f32[4096]) -> f32[3] = x |> linear(3)
train fit {{
  data   d = npz(\"wide.npz\")
  let    net = wide()
  loss   cross_entropy(net(d.x), d.y)
  optim  adam(1e-3)
  batch  16
  {clauses}
}}
"
        )
    };
    for clauses in ["epochs 3", "epochs 3\n  accumulate 3"] {
        let folder = folder(&program(clauses));
        let here = folder.path();
        let x: Vec<f32> =
            (0..70 * 4096).map(|i| ((i * 7919 + i / 4096 * 31) % 1009) as f32 / 1009.0).collect();
        let x = nnc::tensor::Tensor::from_vec(&[70, 4096], x).unwrap();
        let y = nnc::tensor::Tensor::from_vec(&[70], (0..70i64).map(|i| i % 3).collect()).unwrap();
        nnc::formats::npz::save(&here.join("wide.npz"), &[("x", &x), ("y", &y)]).unwrap();
        for (out, threads) in [("a", "1"), ("b", "2"), ("c", "64")] {
            let ran = nnc(here, &["train", "a.nn", "--out", out, "--threads", threads]);
            assert_eq!(ran.code, 0, "{}", ran.err);
        }
        // In two pieces, the first of which ends within an epoch.
        let ran = nnc(here, &["train", "a.nn", "--out", "d", "--steps", "7", "--threads", "1"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let ran = nnc(here, &["train", "a.nn", "--out", "d", "--resume", "--threads", "1"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let bytes = |run: &str| fs::read(here.join(run).join("weights.safetensors")).unwrap();
        for run in ["b", "c", "d"] {
            assert_eq!(bytes("a"), bytes(run), "{clauses}: {run}");
        }
    }
}

/// The squares of great gradients are infinite in Adam's second moments: it trains on, and so does what is resumed.
#[test]
fn an_optimizer_whose_states_overflow_is_resumed() {
    let source = PROGRAM.replace("loss   cross", "loss   1e25 * cross");
    assert_ne!(source, PROGRAM);
    let folder = folder(&source);
    let here = folder.path();
    for arguments in
        [["whole", "--epochs", "6"], ["parts", "--epochs", "3"], ["parts", "--resume", "--epochs=6"]]
    {
        let ran = nnc(here, &[&["train", "a.nn", "--out"][..], &arguments].concat());
        assert_eq!(ran.code, 0, "{}", ran.err);
    }
    let bytes = |run: &str| fs::read(here.join(run).join("checkpoint.safetensors")).unwrap();
    assert_eq!(bytes("whole"), bytes("parts"));
}

/// An array beside the samples is none of their fields, and it is said why.
#[test]
fn an_array_of_another_length_is_no_field() {
    let folder = folder(PROGRAM);
    let here = folder.path();
    let x = nnc::tensor::Tensor::zeros(DType::F32, &[10, 4]).unwrap();
    let y = nnc::tensor::Tensor::zeros(DType::I64, &[9]).unwrap();
    nnc::formats::npz::save(&here.join("data.npz"), &[("x", &x), ("y", &y)]).unwrap();
    let ran = nnc(here, &["train", "a.nn"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("the array `y` has the shape [9], and there are 10 samples"), "{}", ran.err);
}

/// Parameters that are stored in 16 bits, one of them read as such only.
const NARROW: &str = "
layer narrow(O: dim)(x: f32[I]) -> f32[O] {
  param w: bf16[I, O] = he_normal(I)
  param b: f16[O] = zeros
  param c: f32[O] = zeros
  x @ (w as f32) + (b as f32) + ((c as bf16) as f32)
}
model net(x: f32[4]) -> f32[3] { x |> narrow(8) |> relu |> narrow(3) }
train fit {
  data   d = npz(\"data.npz\")
  let    net = net()
  loss   cross_entropy(net(d.x), d.y)
  optim  adam(cosine(0.01))
  average ema(0.5)
  batch  16
  epochs 4
}
";

#[test]
fn parameters_of_16_bits_are_stored_as_such() {
    let folder = folder(NARROW);
    let here = folder.path();
    let ran = nnc(here, &["train", "a.nn", "--out", "a"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let load = |run: &str, file: &str| safetensors::load(&here.join(run).join(file)).unwrap().tensors;
    let weights = load("a", "weights.safetensors");
    let dtypes = ["b", "c", "w"].map(|name| weights[&format!("narrow_0.{name}")].dtype());
    assert_eq!(dtypes, [DType::F16, DType::F32, DType::BF16]);
    // What Adam remembers is f32, the average is like the weights.
    let remembered = load("a", "checkpoint.safetensors");
    let of_w = remembered.iter().filter(|(name, _)| name.contains("narrow_0.w"));
    let dtypes: Vec<DType> = of_w.map(|(_, tensor)| tensor.dtype()).collect();
    let count = |dtype| dtypes.iter().filter(|found| **found == dtype).count();
    assert!(count(DType::F32) == 2 && count(DType::BF16) == 2, "{:?}", remembered.keys());
    // Two more epochs by a run that goes on are those of one run.
    let text = fs::read_to_string(here.join("a.nn")).unwrap();
    fs::write(here.join("b.nn"), text.replace("epochs 4", "epochs 2").replace("cosine(0.01)", "0.01"))
        .unwrap();
    fs::write(here.join("a.nn"), text.replace("cosine(0.01)", "0.01")).unwrap();
    for arguments in [
        &["train", "b.nn", "--out", "b"][..],
        &["train", "a.nn", "--out", "b", "--resume"],
        &["train", "a.nn", "--out", "c", "--threads", "2"],
    ] {
        let done = nnc(here, arguments);
        assert_eq!(done.code, 0, "{arguments:?}: {}", done.err);
    }
    let bytes = |run: &str| fs::read(here.join(run).join("weights.safetensors")).unwrap();
    assert_eq!(bytes("b"), bytes("c"));
    // The same numbers in other files: f32 in safetensors, and npz, which has no bf16.
    let tensors = weights.iter().map(|(name, tensor)| (name.clone(), tensor.cast(DType::F64))).collect();
    let wide = safetensors::Archive { tensors, ..Default::default() };
    safetensors::save(&here.join("wide.safetensors"), &wide).unwrap();
    let evaluated = |file: &str| {
        let done = nnc(here, &["eval", "a.nn", "--weights", file, "--json"]);
        assert_eq!(done.code, 0, "{}", done.err);
        done.out
    };
    assert_eq!(evaluated("a/weights.safetensors"), evaluated("wide.safetensors"));
    let done = nnc(here, &["weights", "a.nn", "--weights", "a/weights.safetensors", "-o", "w.npz"]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert_eq!(evaluated("a/weights.safetensors"), evaluated("w.npz"));
}
