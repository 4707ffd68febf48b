//! Trainings that are killed, and go on as if nothing had happened.
//!
//! `NNC_KILLS=100 cargo test --release --test main killed` kills as often.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::command::{folder, nnc};

/// Draws, running statistics, the optimizer's states, averages and the best epoch so far: all that a checkpoint must hold.
const PROGRAM: &str = "
model net(x: f32[set B, 4]) -> f32[B, 3] { x |> linear(64) |> batch_norm(B) |> relu |> dropout(0.25) |> linear(3) }
train fit {
  data    d = npz(\"data.npz\")
  split   (test: 0.25, seed: 1)
  let     net = net()
  loss    cross_entropy(net(random_noise(0.05)(d.x)), d.y)
  metric  accuracy(net(d.x), d.y)
  optim   adamw(cosine(1e-2, warmup: 10), clip: 1.0)
  average ema(0.9)
  keep    max(accuracy)
  batch   8
  epochs  120
}
";

/// A small generator of delays (Steele et al. 2014, splitmix64).
fn mixed(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Starts a training, or goes on with one, and kills it after a while. Whether it came to its end before.
fn killed(here: &Path, resume: bool, after: Duration) -> bool {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nnc"));
    command.args(["train", "a.nn", "--seed", "5", "--out", "killed"]).current_dir(here);
    if resume {
        command.arg("--resume");
    }
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(after);
    let ended = child.try_wait().unwrap().is_some_and(|status| status.success());
    let _ = child.kill();
    child.wait().unwrap();
    ended
}

#[test]
fn a_training_that_is_killed_goes_on_to_the_same_bits() {
    let kills: u64 = std::env::var("NNC_KILLS").map_or(8, |kills| kills.parse().expect("a number"));
    let folder = folder(PROGRAM);
    let here = folder.path();
    let begun = std::time::Instant::now();
    let whole = nnc(here, &["train", "a.nn", "--seed", "5", "--out", "whole"]);
    assert_eq!(whole.code, 0, "{}", whole.err);
    let longest = begun.elapsed().as_micros() as u64 / 2 + 1;
    let checkpoint = here.join("killed/checkpoint.safetensors");
    let mut state = 1;
    for kill in 0..kills {
        let after = Duration::from_micros(mixed(&mut state) % longest);
        let ended = killed(here, checkpoint.exists(), after);
        for file in ["checkpoint.safetensors", "weights.safetensors"] {
            let path = here.join("killed").join(file);
            if path.exists() {
                let whole = nnc::formats::safetensors::load(&path);
                assert!(whole.is_ok(), "{file} is broken after kill {kill}, {after:?} after its start");
            }
        }
        if ended {
            // It was done: the next one begins anew.
            fs::remove_dir_all(here.join("killed")).unwrap();
        }
    }
    let mut arguments = vec!["train", "a.nn", "--seed", "5", "--out", "killed"];
    arguments.extend(checkpoint.exists().then_some("--resume"));
    let last = nnc(here, &arguments);
    assert_eq!(last.code, 0, "{}", last.err);
    for file in ["weights.safetensors", "checkpoint.safetensors"] {
        let bytes = |run: &str| fs::read(here.join(run).join(file)).unwrap();
        assert_eq!(bytes("whole"), bytes("killed"), "{file}");
    }
    let lines = |run: &str| -> Vec<serde_json::Value> {
        let text = fs::read_to_string(here.join(run).join("metrics.jsonl")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines
            .map(|mut line| {
                line["seconds"] = 0.into();
                line
            })
            .collect()
    };
    assert_eq!(lines("whole"), lines("killed"));
}
