//! Derivatives and repetition in the language: laws that must hold, as `test` blocks.

use std::fs;

use super::command::nnc;

const LAWS: &str = "
fn f(x: f32[N], y: f32[N]) -> f32 = sum(sin(x * y) + x ** 3)
fn g(x: f32[N]) -> f32[N] = for i => x[i] * sum j where j <= i => cos(x[j])

fn xs() -> f32[4] = [0.5, -1.0, 2.0, 0.25]
fn ys() -> f32[4] = [1.5, 0.5, -0.5, 1.0]
fn vs() -> f32[4] = [1.0, -2.0, 0.5, 3.0]

test \"a directional derivative is the gradient along the direction\" {
  let (dx, dy) = grad(f)(xs(), ys())
  assert jvp(f)(xs(), ys(), vs(), 0.5 * vs()) ~= sum(dx * vs()) + sum(dy * 0.5 * vs())
}
test \"forward and backward mode are transposes\" {
  let forward = sum(jvp(g)(xs(), vs()) * ys())
  assert forward ~= sum(vjp(g)(xs(), ys()) * vs())
}
test \"Hessian times vector, forward over backward and backward over backward\" {
  let h = fn(x) => f(x, ys())
  let forward = jvp(grad(h))(xs(), vs())
  assert forward ~= grad(fn(x) => sum(grad(h)(x) * vs()))(xs())
  assert forward ~= vjp(grad(h))(xs(), vs())
  assert forward ~= -ys() * ys() * sin(xs() * ys()) * vs() + 6 * xs() * vs()
}
test \"derivatives of mapped functions\" {
  let rows = for k: 3, i: 4 => xs()[i] * (position(k) as f32)
  let tangents = jvp(g)(rows, for k: 3, i: 4 => vs()[i])
  assert tangents[2] ~= jvp(g)(2 * xs(), vs())
  assert vjp(g)(rows, for k: 3, i: 4 => ys()[i])[1] ~= vjp(g)(xs(), ys())
}
test \"iteration\" {
  assert iterate(5, fn(x) => 2 * x)(xs()) ~= 32 * xs()
  assert iterate(0, fn(x) => 2 * x)(xs()) ~= xs()
  let (a, b) = iterate(10, fn(p) => { let (a, b) = p
    (b, a + b) })((0.0, 1.0))
  assert a == 55
  assert b == 89
  // Newton's method, and the derivative of its limit, the square root.
  let root = fn(a) => iterate(20, fn(x) => 0.5 * (x + a / x))(a)
  assert root(2.0) ~= sqrt(2.0)
  assert (xs()[2] |> iterate(3, fn(x) => x + 1)) ~= 5
}
test \"the derivative through an iteration\" {
  let power = fn(x) => iterate(4, fn(y) => y * x)(x)
  assert grad(power)(xs()[2]) ~= 80
}

fn recur(x: f32[T]) -> f32 = scan t (h: f32 = 0) { h = 0.5 * h + x[t] }
fn cut(x: f32[T]) -> f32 = scan t (h: f32 = 0) truncate 3 { h = 0.5 * h + x[t] }
fn cut_back(x: f32[T]) -> f32 = scan reverse t: T (h: f32 = 0) truncate 3 { h = 0.5 * h + x[t] }
test \"truncation ends derivatives, and changes no value\" {
  let x = [1.0, 2.0, 3.0, 4.0, 5.0]
  assert cut(x) ~= recur(x)
  assert grad(recur)(x) ~= [0.0625, 0.125, 0.25, 0.5, 1.0]
  assert grad(cut)(x) ~= [0.0, 0.0, 0.0, 0.5, 1.0]
  assert grad(cut_back)(x) ~= [1.0, 0.5, 0.0, 0.0, 0.0]
}
";

#[test]
fn laws_of_derivatives() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.nn"), LAWS).unwrap();
    let ran = nnc(folder.path(), &["test", "a.nn"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
}
