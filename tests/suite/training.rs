//! Trainings that must be the same to the bit, and what they write.

use std::fs;

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
