//! The style by example, and the formatter's laws: the tree and the comments stay, and formatting twice
//! changes nothing, however the text was laid out.

use std::fs;

use nn_grammar::tokens::Token;
use proptest::prelude::*;

use super::super::parse::tokens_of;
use super::{format, same, settle};
use crate::base::Sources;
use crate::diag::render::render;
use crate::syntax::parse;

/// Prints a text, and fails where that would change the program.
fn formatted(text: &str) -> String {
    let mut sources = Sources::new();
    let file = sources.add("test.nn", text);
    let parsed = parse(&sources, file);
    let errors = || render(&sources, &parsed.diagnostics, false);
    assert!(parsed.diagnostics.is_empty(), "{}\n{text}", errors());
    let printed = settle(text, &parsed).expect("what is printed parses");
    assert!(same(text, &parsed, &printed), "tree or comments changed:\n{text}\n---- became\n{printed}");
    assert_eq!(format(&sources, file).as_deref(), Ok(printed.as_str()));
    printed
}

fn check(text: &str, expected: &str) {
    assert_eq!(formatted(text), expected);
    assert_eq!(formatted(expected), expected, "formatting again");
}

#[test]
fn what_is_in_style_stays() {
    let text = "\
/// Doc.
layer f(H: dim = 64, bias: bool = true)(x: f32[set N, I]) -> f32[N, 4*H] where I % 2 == 0 {
  param wx: f32[I, 4*H] = glorot_uniform
  param b:  f32[4*H]    = zeros
  state m: f32[H] = zeros; state v: f32[H] = ones

  // A comment of its own.
  let (i, f, _) = split(x @ wx + b, 3)  // one
  m := 0.9*m + 0.1 * mean(x)            // two
  let a = softmax s where s <= t and s != 0 => (sum d => q[t, d] * k[s, d]) / sqrt(D)
  if bias { a } else { (mu: i, (f)) }
}

fn g(x: f32) -> f32 = x
train t(lr: f32 = 1e-3) {
  data   d = npz(\"d.npz\")
  let    net = g
  loss   l = net(d.x)
  metric net(d.x)  // in column
}

test \"t\" { assert x[1.., ..2, a..b + 1] ~= -1 }
use \"a.nn\" as a
";
    check(text, text);
}

#[test]
fn spaces_are_normal() {
    check(
        "let   a=1+2 *3-f( x,over :N )  ;let b= - x ** 2",
        "let a = 1 + 2 * 3 - f(x, over: N)\nlet b = -x ** 2\n",
    );
    check(
        "fn f ( x:f32 [ N,2 * D ] )->f32[N]{x}",
        "fn f(x: f32[N, 2 * D]) -> f32[N] {x}\n".replace("{x}", "{ x }").as_str(),
    );
    check("let a = fn (x,k)=>x|>f", "let a = fn(x, k) => x |> f\n");
    check("\n\n\nlet a = 1\n\n\n\nlet b = 2\n\n", "let a = 1\n\nlet b = 2\n");
    check("let a = 1\r\nlet b = 2\r\n", "let a = 1\nlet b = 2\n");
    check("", "");
    check("// only\n", "// only\n");
}

#[test]
fn long_lines_break() {
    check(
        "let a = function_with_a_name(first_argument_of_it, second_argument_of_it, third: argument_of_it, f: 4)",
        "let a = function_with_a_name(\n  first_argument_of_it,\n  second_argument_of_it,\n  third: argument_of_it,\n  f: 4\n)\n",
    );
    check(
        "let a = first_operand_of_the_sum * its_factor + second_operand_of_the_sum - third_operand_of_the_sum + d",
        "let a = first_operand_of_the_sum * its_factor +\n  second_operand_of_the_sum -\n  third_operand_of_the_sum +\n  d\n",
    );
    check(
        "let a = first_condition_of_the_conjunction and second_condition_of_the_conjunction and third_condition",
        "let a = first_condition_of_the_conjunction\n  and second_condition_of_the_conjunction\n  and third_condition\n",
    );
    check(
        "fn f(first_static: dim, second: dim)(first: f32[set N, D], second: f32[N, D], third: f32[N, D]) -> f32[N] = first",
        "fn f(first_static: dim, second: dim)(\n  first: f32[set N, D],\n  second: f32[N, D],\n  third: f32[N, D]\n) -> f32[N] = first\n",
    );
    check(
        &format!("let a = [{}]", ["100"; 30].join(",")),
        &format!("let a = [\n  {},\n  {}\n]\n", ["100"; 19].join(", "), ["100"; 11].join(", ")),
    );
}

#[test]
fn pipes_break_as_they_were_broken() {
    check("let a = x |> f |>\n g(1) |> h", "let a = x\n  |> f\n  |> g(1)\n  |> h\n");
    check(
        "fn f(x: f32) -> f32 {\n  x // in\n  // first\n |> f // second\n  |> g\n}",
        "fn f(x: f32) -> f32 {\n  x  // in\n    // first\n    |> f  // second\n    |> g\n}\n",
    );
}

#[test]
fn comments_stay_where_they_were() {
    check(
        "let a = f( // first\n  x, // second\n  // third\n  y\n  // fourth\n) // fifth",
        "let a = f(\n  // first\n  x,  // second\n  // third\n  y\n  // fourth\n)  // fifth\n",
    );
    check(
        "fn f(x: f32) -> f32 { // head\n  let a = 1 +\n  // inside\n  2\n  // end\n}",
        "fn f(x: f32) -> f32 {  // head\n  // inside\n  let a = 1 + 2\n  // end\n}\n",
    );
    check("fn f() {\n  // empty\n}", "fn f() {\n  // empty\n}\n");
    check(
        "train { // head\n batch 1 // one\n // end\n }",
        "train {    // head\n  batch 1  // one\n  // end\n}\n",
    );
}

#[test]
fn broken_files_are_left_alone() {
    let mut sources = Sources::new();
    let file = sources.add("test.nn", "let a = ");
    assert_eq!(format(&sources, file).map_err(|errors| errors.len()), Err(1));
}

fn sample(name: &str) -> String {
    let path = format!("{}/tests/golden/syntax/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(path).expect("a sample")
}

#[test]
fn formatting_twice_changes_nothing() {
    for name in ["language.nn", "models.nn", "forms.nn"] {
        let once = formatted(&sample(name));
        assert_eq!(formatted(&once), once, "{name}");
        let wide = once.lines().filter(|line| line.chars().count() > 100 && !line.contains("//"));
        assert_eq!(wide.count(), 0, "{name}");
    }
}

/// The same program in another layout: other spaces, line ends wherever they mean nothing, and comments.
fn shaken(text: &str, mut seed: u64) -> String {
    let mut sources = Sources::new();
    let file = sources.add("test.nn", text);
    let tokens = tokens_of(&sources, file);
    let mut open = Vec::new();
    let mut shaken = String::new();
    for (index, &(start, token, end)) in tokens.iter().enumerate() {
        match token {
            Token::LeftParen | Token::LeftBracket | Token::LeftBrace => open.push(token),
            Token::RightParen | Token::RightBracket | Token::RightBrace => drop(open.pop()),
            _ => {}
        }
        shaken.push_str(if token == Token::Newline { ";" } else { &text[start as usize..end as usize] });
        let Some(&(_, next, _)) = tokens.get(index + 1) else { break };
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let free = matches!(open.last(), Some(Token::LeftParen | Token::LeftBracket))
            || matches!(token, Token::Newline | Token::Semicolon)
            || !token.ends_expression() && !matches!(next, Token::Newline | Token::Semicolon)
            || next.continues_line();
        shaken.push_str(match (seed >> 33) % 16 {
            0 if free => "\n",
            1 if free => " // note\n",
            2 if free => "\n\n  // note\n    ",
            3 if free => "\n\n\n",
            4 => "   ",
            _ => " ",
        });
    }
    shaken + "\n"
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_layout_keeps_its_program(seed: u64) {
        for name in ["language.nn", "models.nn", "forms.nn"] {
            let text = shaken(&sample(name), seed);
            let once = formatted(&text);
            let twice = formatted(&once);
            prop_assert_eq!(once, twice, "{}", name);
        }
    }
}
