//! How near to the machine's peak contractions and convolutions come, from the graph on: lowered, compiled and run as in any program.
//!
//! `cargo test --release --lib runtime::peak -- --ignored --nocapture`, on an idle machine. `NNC_SHAPE=conv` chooses the rows whose name
//! has these letters, `NNC_PRINT=1` prints their kernels and what each takes.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::Pool;
use super::agreement::Loaded;
use crate::autodiff::vjp;
use crate::axes::{Dim, DimVar};
use crate::graph::tests::argument;
use crate::graph::{Axis, Builder, Graph, Node, Output};
use crate::kernel::KernelId;
use crate::lower::tests::{Numbers, fused, images::Net, inputs};
use crate::tensor::DType::F32;
use crate::tiles::{Isa, peak};

/// A row of the table.
struct Row {
    name: String,
    graph: Graph,
    batch: i64,
    /// Multiply-adds.
    work: f64,
}

fn finish(b: Builder, y: Node, order: Vec<Axis>) -> Graph {
    b.finish([(Output { name: "y".into(), order, updates: None }, y)])
}

/// `y[B, m, n] = Σ_k a[B, m, k] b[(B,) k, n]`. Of `form` the letters say: `b` that B has the batch, `t` that A lies transposed, `u` that B does.
fn product(batch: i64, m: i64, n: i64, k: i64, form: &str) -> Row {
    let mut b = Builder::new();
    let outer = b.axis("B", Dim::var("B"));
    let [am, an, ak] = [("m", m), ("n", n), ("k", k)].map(|(name, size)| b.axis(name, size.into()));
    let with = |outer: Option<Axis>, axes: [Axis; 2]| outer.into_iter().chain(axes).collect::<Vec<_>>();
    let orders = |flag: char, axes: [Axis; 2]| if form.contains(flag) { [axes[1], axes[0]] } else { axes };
    let (x, w) = (with(Some(outer), orders('t', [am, ak])), orders('u', [ak, an]));
    let w = with(form.contains('b').then_some(outer), w);
    let (x, w) = (argument(&mut b, "x", &x, F32), argument(&mut b, "w", &w, F32));
    let y = b.mul(x, w);
    let y = b.sum(y, &[ak]);
    let name = format!("{batch} x {m} x {n} x {k}{}{form}", if form.is_empty() { "" } else { " " });
    Row { name, graph: finish(b, y, vec![outer, am, an]), batch, work: (batch * m * n * k) as f64 }
}

/// Rows that are the batch: `form` `y` forward, `x` the gradient for the input, `w` that for the weights.
fn dense(batch: i64, n: i64, k: i64, form: char) -> Row {
    let mut b = Builder::new();
    let outer = b.axis("B", Dim::var("B"));
    let [an, ak] = [("n", n), ("k", k)].map(|(name, size)| b.axis(name, size.into()));
    let x = argument(&mut b, "x", &[outer, ak], F32);
    let w = argument(&mut b, "w", &[ak, an], F32);
    let product = b.mul(x, w);
    let y = b.sum(product, &[ak]);
    let graph = transposed(b, form, (y, vec![outer, an]), (x, vec![outer, ak]), (w, vec![ak, an]));
    let name = format!("dense {batch} x {n} x {k} {form}");
    Row { name, graph, batch, work: (batch * n * k) as f64 }
}

type Value = (Node, Vec<Axis>);

fn transposed(mut b: Builder, form: char, y: Value, x: Value, w: Value) -> Graph {
    let (of, order) = match form {
        'x' => x,
        'w' => w,
        _ => return finish(b, y.0, y.1),
    };
    let dy = argument(&mut b, "dy", &y.1, F32);
    let gradient = vjp(&mut b, y.0, &[of], dy)[0];
    finish(b, gradient, order)
}

/// `from` channels to `to`, on images of `size` by `size`.
fn conv(batch: i64, size: i64, from: i64, to: i64, (kernel, stride): (i64, i64), form: char) -> Row {
    let mut net = Net::new();
    let x = net.image(size, from);
    let y = net.conv(x, to, kernel, stride, kernel / 2);
    let w = net.params[0];
    let (in_order, out_order) = (vec![net.batch, x.h, x.w, x.c], vec![net.batch, y.h, y.w, y.c]);
    let out = net.b.axis_size(y.h).as_const().expect("a static size");
    let w_order = net.orders[0].clone();
    let graph = transposed(net.b, form, (y.x, out_order), (x.x, in_order), (w, w_order));
    let name = format!("conv {batch} x {size}² {from}->{to} {kernel}x{kernel}/{stride} {form}");
    Row { name, graph, batch, work: (batch * out * out * from * to * kernel * kernel) as f64 }
}

fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for n in [64, 128, 256, 512, 1024] {
        rows.push(product(1, n, n, n, ""));
    }
    for (m, n, k) in [(197, 192, 64), (512, 768, 768), (512, 3072, 768), (512, 768, 3072), (100, 100, 100)] {
        rows.push(product(1, m, n, k, ""));
    }
    rows.push(product(1, 512, 768, 3072, "u"));
    rows.push(product(1, 512, 512, 512, "t"));
    // Attention heads: scores, values.
    rows.push(product(96, 128, 128, 64, "bu"));
    rows.push(product(96, 128, 64, 128, "b"));
    for (n, k) in [(256, 784), (128, 256), (10, 128), (1024, 1024)] {
        for form in ['y', 'x', 'w'] {
            rows.push(dense(64, n, k, form));
        }
    }
    rows.push(dense(1, 256, 784, 'y'));
    rows.push(dense(1, 4096, 1024, 'y'));
    rows.push(dense(4096, 16, 1433, 'y'));
    rows.push(dense(65536, 64, 64, 'y'));
    for (batch, size, from, to, shape) in [
        (64, 28, 1, 6, (5, 1)),
        (64, 14, 6, 16, (5, 1)),
        (32, 32, 3, 16, (3, 1)),
        (32, 32, 16, 16, (3, 1)),
        (32, 32, 16, 32, (3, 2)),
        (32, 16, 32, 32, (3, 1)),
        (32, 8, 64, 64, (3, 1)),
        (1, 224, 3, 64, (7, 2)),
        (1, 56, 64, 64, (3, 1)),
        (1, 28, 128, 128, (3, 1)),
        (1, 28, 128, 256, (3, 2)),
        (1, 28, 128, 256, (1, 2)),
        (1, 14, 256, 256, (3, 1)),
        (1, 7, 512, 512, (3, 1)),
        (8, 56, 64, 64, (3, 1)),
        (8, 56, 64, 128, (3, 2)),
        (8, 7, 512, 512, (3, 1)),
        (8, 28, 96, 24, (1, 1)),
        (4, 64, 32, 32, (3, 1)),
    ] {
        for form in ['y', 'x', 'w'] {
            rows.push(conv(batch, size, from, to, shape, form));
        }
    }
    rows
}

#[test]
#[ignore = "a measurement"]
fn share_of_the_peak() {
    let wanted = std::env::var("NNC_SHAPE").unwrap_or_default();
    let print = std::env::var_os("NNC_PRINT").is_some();
    let peak = peak(Isa::best()).unwrap_or(f64::NAN);
    println!("peak of one thread: {peak:.1} GFLOP/s");
    println!("{:38} {:>12} {:>9} {:>6} {:>12} {:>9} {:>6}", "", "1: µs", "GFLOP/s", "share", "2: µs", "", "");
    let pools = [1, 2].map(|threads| Pool::new(threads).unwrap());
    for row in rows().into_iter().filter(|row| wanted.split(',').any(|part| row.name.contains(part))) {
        let dims: BTreeMap<DimVar, i64> = [(DimVar::new("B"), row.batch)].into();
        let graph = fused(&row.graph);
        let given = inputs(&graph, &dims, &mut Numbers(1));
        let mut loaded = Loaded::new(&graph, &given, &dims);
        if print {
            println!("{graph}\n{}", loaded.exec.program());
        }
        let mut line = format!("{:38}", row.name);
        for (pool, threads) in pools.iter().zip([1.0, 2.0]) {
            let time = least(|| loaded.run(pool, None)).as_secs_f64();
            let speed = 2.0 * row.work / time / 1e9;
            let share = 100.0 * speed / peak / threads;
            line += &format!(" {:12.1} {speed:9.1} {share:4.0} %", time * 1e6);
        }
        println!("{line}");
        if print {
            let mut times: HashMap<KernelId, Duration> = HashMap::new();
            for _ in 0..10 {
                let mut observe = |kernel: KernelId, time: Duration| {
                    let best = times.entry(kernel).or_insert(Duration::MAX);
                    *best = time.min(*best);
                };
                loaded.run(&pools[0], Some(&mut observe));
            }
            for (id, time) in times {
                println!("    {:?} {}", time, loaded.exec.program().kernels[id].name);
            }
        }
    }
}

/// The least time of many: whatever else the machine does only adds to it.
fn least(mut run: impl FnMut()) -> Duration {
    let begun = Instant::now();
    let mut best = Duration::MAX;
    let mut count = 0;
    while count < 5 || (count < 2000 && begun.elapsed() < Duration::from_millis(150)) {
        let clock = Instant::now();
        run();
        best = best.min(clock.elapsed());
        count += 1;
    }
    best
}
