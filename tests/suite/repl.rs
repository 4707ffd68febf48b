//! The session through a pipe: golden transcripts, and what must not end it.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// A session on these inputs: its exit code, and what it wrote, messages in their places.
fn session(arguments: &str, inputs: &[u8]) -> (i32, String) {
    let mut child = Command::new("sh")
        .args(["-c", &format!("exec \"$0\" repl {arguments} 2>&1"), env!("CARGO_BIN_EXE_nnc")])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The session may end before it has read everything.
    let _ = child.stdin.take().unwrap().write_all(inputs);
    let done = child.wait_with_output().unwrap();
    (done.status.code().unwrap_or(-1), String::from_utf8(done.stdout).unwrap())
}

/// What an input answers that no other one does.
const MARK: (&str, &str) = ("123456.0 + 1.0", "f32  123457\n");

#[test]
fn transcripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/repl");
    for entry in fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        let before = fs::read_to_string(&file).unwrap();
        let (mut head, mut inputs) = (String::new(), Vec::<String>::new());
        for line in before.lines() {
            match (line.strip_prefix("> "), line.strip_prefix(". "), inputs.last_mut()) {
                (Some(input), ..) => inputs.push(input.to_owned()),
                (_, Some(more), Some(input)) => *input += &format!("\n{more}"),
                (_, _, None) => head += &format!("{line}\n"),
                _ => {}
            }
        }
        let text: String = inputs.iter().map(|input| format!("{input}\n\n{}\n", MARK.0)).collect();
        let (_, out) = session("", text.as_bytes());
        let answers: Vec<&str> = out.split(MARK.1).collect();
        assert_eq!(answers.len(), inputs.len() + 1, "{out}");
        let mut after = head;
        for (input, answer) in inputs.iter().zip(answers) {
            after += &format!("> {}\n{answer}", input.replace('\n', "\n. "));
        }
        if before != after && std::env::var_os("NNC_BLESS").is_some() {
            fs::write(&file, after).unwrap();
        } else {
            assert_eq!(before, after, "if that is right: NNC_BLESS=1 cargo test --release repl");
        }
    }
}

#[test]
fn a_pipe_ends_with_the_first_error_s_code() {
    assert_eq!(session("", b"1 + 2\n"), (0, "f32  3\n".to_owned()));
    assert_eq!(session("", b"nothing\n1 + 2\n").0, 1);
    assert_eq!(session("", b":load gone.nn\n1 + 2\n").0, 3);
    assert_eq!(session("", b"1\n:quit\n2\n"), (0, "f32  1\n".to_owned()));
    assert_eq!(session("", b""), (0, String::new()));
    // The last line needs no end, and one that is not finished is an error.
    assert_eq!(session("", b"2 * 3").1, "f32  6\n");
    assert_eq!(session("", b"sum([1.0,").0, 1);
}

#[test]
fn bad_input_does_not_end_it() {
    let deep = "(".repeat(100_000);
    let bad: Vec<Vec<u8>> = vec![
        b"\xff\xfe\x00 junk".to_vec(),
        b"let".to_vec(),
        b"} } }".to_vec(),
        b"\"open".to_vec(),
        deep.into_bytes(),
        b"99999999999999999999999999".to_vec(),
        b"conv2d(3)".to_vec(),
        b"random.normal(2000000000, 2000000000)".to_vec(),
        b"stack(1000000, linear(1000000))([1.0])".to_vec(),
        b":emit".to_vec(),
        b":emit nothing 1".to_vec(),
        b":grad".to_vec(),
        b":time".to_vec(),
        b":seed x".to_vec(),
        b"fn f(n: dim)(x: f32) -> f32 = f(n + 1)(x)\nf(1)(1.0)".to_vec(),
        b"yield 3".to_vec(),
        b"train t { }".to_vec(),
        b"use \"../x.nn\" as x".to_vec(),
    ];
    for input in bad {
        let (code, out) = session("", &[&input, b"\n\n1 + 41\n".as_slice()].concat());
        assert!(out.ends_with("f32  42\n"), "{}:\n{out}", String::from_utf8_lossy(&input));
        assert!(code != 0 && !out.contains("defect"), "{}:\n{out}", String::from_utf8_lossy(&input));
    }
}

#[test]
fn a_file_s_definitions_can_be_used() {
    let (code, out) = session("deep_sets.nn", b":type deep_sets()([[1.0, 2.0]])\n");
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("invariant under permutations of N"), "{out}");
    assert!(out.ends_with("f32[10]\n"), "{out}");
}
