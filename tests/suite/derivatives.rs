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

fn to() -> Idx[40][6] = [33, 1, 33, 0, 39, 1] as Idx[40]
fn xe() -> f32[6] = [0.5, -1.0, 2.0, 0.25, 3.0, -0.75]
fn ye() -> f32[40] = for n: 40 => sin(position(n) as f32)
fn by_segment(x: f32[E], to: Idx[N][E]) -> f32[N] = for n => sum e where to[e] == n => sin(x[e]) * x[e]
fn by_pairs(x: f32[E], to: Idx[N][E]) -> f32[N] = for n => sum e => if to[e] == n { sin(x[e]) * x[e] } else { 0 }
test \"sums by segments and their derivatives are those of masked sums\" {
  assert by_segment(xe(), to()) ~= by_pairs(xe(), to())
  assert vjp(fn(x) => by_segment(x, to()))(xe(), ye()) ~= vjp(fn(x) => by_pairs(x, to()))(xe(), ye())
  let h = fn(x) => sum(by_segment(x, to()) ** 2)
  let p = fn(x) => sum(by_pairs(x, to()) ** 2)
  assert grad(h)(xe()) ~= grad(p)(xe())
  assert jvp(grad(h))(xe(), cos(xe())) ~= jvp(grad(p))(xe(), cos(xe()))
}

// log(1 + exp(x)), whose derivative would be NaN where exp overflows.
fn softened(x: f32[..S]) -> f32[..S] { log(1 + exp(x)) } grad(g) { g * sigmoid(x) }
fn reversed(x: f32[..S], by: f32) -> f32[..S] { x } grad(g) { (-by * g, 0) }
fn rounded(x: f32) -> f32 { round(x) } grad(g) { g }
fn smooth(q: f32[N], k: f32[N]) -> f32 {
  let a = softmax i => q[i]
  sum i => a[i] * k[i]
} grad(g) {
  let mean = sum i => a[i] * k[i]
  (for i => g * a[i] * (k[i] - mean), for i => g * a[i])
}
fn plain(q: f32[N], k: f32[N]) -> f32 = sum i => softmax(q)[i] * k[i]
test \"custom derivatives\" {
  assert grad(fn(x) => sum(softened(x)))([100.0, 0.0, -1.0]) ~= [1.0, 0.5, 0.26894142]
  assert grad(fn(x) => sum(x * reversed(x, 3.0)))(xs()) ~= xs() - 3 * xs()
  assert grad(fn(x) => sum(rounded(x) ** 2))(xs()) ~= 2 * round(xs())
  let (dq, dk) = grad(smooth)(xs(), ys())
  let (eq, ek) = grad(plain)(xs(), ys())
  assert dq ~= eq
  assert dk ~= ek
  assert jvp(smooth)(xs(), ys(), vs(), ys()) ~= jvp(plain)(xs(), ys(), vs(), ys())
  // The second derivative is that of the rule.
  assert jvp(grad(fn(q) => smooth(q, ys())))(xs(), vs()) ~= jvp(grad(fn(q) => plain(q, ys())))(xs(), vs())
}
fn steps(x: f32[T, D]) -> f32 = sum(scan t (h: f32[D] = 0) { h = reversed(x[t] * h + x[t], 1.0) })
fn steps_forward(x: f32[T, D]) -> f32 = sum(scan t (h: f32[D] = 0) { h = x[t] * h + x[t] })
test \"custom derivatives in loops\" {
  let x = [[1.0, 2.0], [0.5, 0.25]]
  let way = grad(steps)(x)
  let other = grad(steps_forward)(x)
  assert way[1] ~= -other[1]
  assert way[0] ~= other[0]
  let rows = for k: 3, i: 4 => xs()[i] * (position(k) as f32)
  assert grad(fn(r) => sum(for k => smooth(r[k], ys())))(rows) ~= grad(fn(r) => sum(for k => plain(r[k], ys())))(rows)
  assert grad(fn(k) => sum(for i: 3 => smooth(rows[i], k)))(ys()) ~= grad(fn(k) => sum(for i: 3 => plain(rows[i], k)))(ys())
}

fn slow(x: f32[T]) -> f32[T] = for t => sum s where s <= t => x[s]
test \"running sums\" {
  let x = for t: 4, d: 3 => sin(xs()[t] * (position(d) as f32))
  let sums = for t, d => sum s where s <= t => x[s, d]
  assert (for d, t => sums[t, d]) ~= (for d => slow(for t => x[t, d]))
  let rest = for t, d => sum s where s > t => x[s, d]
  assert (for t, d => sums[t, d] + rest[t, d]) ~= (for t: 4 => for d => sum s => x[s, d])
  let loss = fn(x) => sum((for t, d => sum s where s <= t => x[s, d]) ** 2)
  assert grad(loss)(x) ~= 2 * (for t, d => sum s where s >= t => sums[s, d])
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

const CHECKPOINTS: &str = "
fn plain(x: f32[N], w: f32[N]) -> f32 {
  let h = tanh(x * w)
  let k = sin(h + x) * h
  sum(k * w)
}
fn kept(x: f32[N], w: f32[N]) -> f32 {
  let twice = x
  let k = checkpoint {
    let h = tanh(x * w)
    twice = 2 * h
    sin(h + x) * h
  }
  sum(k * w) + 0 * sum(twice)
}
fn xs() -> f32[4] = [0.5, -1.0, 2.0, 0.25]
fn ws() -> f32[4] = [1.5, 0.5, -0.5, 1.0]
test \"a checkpoint changes no value and no derivative\" {
  assert kept(xs(), ws()) ~= plain(xs(), ws())
  let (dx, dw) = grad(kept)(xs(), ws())
  let (ex, ew) = grad(plain)(xs(), ws())
  assert dx ~= ex
  assert dw ~= ew
  assert jvp(kept)(xs(), ws(), ws(), xs()) ~= jvp(plain)(xs(), ws(), ws(), xs())
  assert jvp(grad(fn(x) => kept(x, ws())))(xs(), ws()) ~= jvp(grad(fn(x) => plain(x, ws())))(xs(), ws())
}
fn nested(x: f32[N]) -> f32 = checkpoint {
  let y = checkpoint { tanh(x) * x }
  let z = iterate(3, fn(h) => checkpoint { h * sin(y) + y })(y)
  sum(z * y)
}
fn flat(x: f32[N]) -> f32 {
  let y = tanh(x) * x
  let z = iterate(3, fn(h) => h * sin(y) + y)(y)
  sum(z * y)
}
test \"checkpoints in checkpoints and loops\" {
  assert nested(xs()) ~= flat(xs())
  assert grad(nested)(xs()) ~= grad(flat)(xs())
  assert jvp(grad(nested))(xs(), ws()) ~= jvp(grad(flat))(xs(), ws())
}
fn recur(x: f32[T, D], w: f32[D, D]) -> f32 {
  sum(scan t (h: f32[D] = 0) {
    let g = checkpoint { tanh(x[t] + h @ w) }
    h = g * 0.5 + h
    yield g
  })
}
fn recur_plain(x: f32[T, D], w: f32[D, D]) -> f32 {
  sum(scan t (h: f32[D] = 0) {
    let g = tanh(x[t] + h @ w)
    h = g * 0.5 + h
    yield g
  })
}
test \"checkpoints in a recurrence\" {
  let x = for t: 5, d: 4 => sin(xs()[d] * (position(t) as f32))
  let w = for d: 4, e: 4 => ws()[d] * xs()[e]
  let (dx, dw) = grad(recur)(x, w)
  let (ex, ew) = grad(recur_plain)(x, w)
  assert dx ~= ex
  assert dw ~= ew
  assert grad(fn(x) => sum(for t => kept(x[t], ws())))(x) ~= grad(fn(x) => sum(for t => plain(x[t], ws())))(x)
}
";

#[test]
fn checkpoints_keep_values_and_derivatives() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.nn"), CHECKPOINTS).unwrap();
    let ran = nnc(folder.path(), &["test", "a.nn"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
}

#[test]
fn laws_of_derivatives() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.nn"), LAWS).unwrap();
    let ran = nnc(folder.path(), &["test", "a.nn"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
}
