//! Builder, printer and verifier together.

use super::*;
use crate::axes::Dim;
use crate::ops::ScalarFn;
use crate::tensor::DType::{self, F32};

pub(crate) fn argument(b: &mut Builder, name: &str, order: &[Axis], dtype: DType) -> Node {
    let order = order.to_vec();
    b.input(Input { name: name.into(), role: Role::Argument, dtype, order, bound: None })
}

pub(crate) fn output(b: &Builder, name: &str, node: Node) -> (Output, Node) {
    (Output { name: name.into(), order: b.axes(node).to_vec(), updates: None }, node)
}

#[test]
fn a_dense_layer_reads_well() {
    let mut b = Builder::new();
    let (batch, i, o) = (b.axis("B", Dim::var("B")), b.axis("i", 64.into()), b.axis("o", 10.into()));
    let x = argument(&mut b, "x", &[batch, i], F32);
    let w = argument(&mut b, "w", &[i, o], F32);
    let product = b.mul(x, w);
    let y = b.sum(product, &[i]);
    let again = b.fresh(o);
    let shifted = Index::axis(again).minus(&Index::constant(1)).unwrap();
    let z = b.view(y, IndexMap::new([(o, shifted)], Outside::Zero));
    let out = output(&b, "y", z);
    let graph = b.finish([out]);
    assert_eq!(verify(&graph), Ok(()));
    let text = "\
axis B = B, i = 64, o = 10, o'1 = 10
%0 = argument x : f32[B, i]
%1 = argument w : f32[i, o]
%2 = map mul(%0, %1) : f32[B, i, o]
%3 = reduce sum(%2) over i : f32[B, o]
%4 = view(%3) o := o'1 - 1 else 0 : f32[B, o'1]
output y = %4 : f32[B, o'1]
";
    assert_eq!(graph.to_string(), text);
}

#[test]
fn a_scan_widens_its_carries_and_keeps_what_repeats_outside() {
    let mut b = Builder::new();
    let (t, batch, h) = (b.axis("t", Dim::var("T")), b.axis("B", Dim::var("B")), b.axis("h", 8.into()));
    let x = argument(&mut b, "x", &[batch, t, h], F32);
    let w = argument(&mut b, "w", &[h], F32);
    let first = b.constant(0.0, F32);
    let carries = b.begin_scan(t, &[first]);
    let doubled = b.add(w, w);
    let scaled = b.mul(carries[0], doubled);
    let next = b.add(scaled, x);
    let mean = b.sum(x, &[t]);
    let yielded = b.sub(next, mean);
    let scan = b.end_scan(false, &[first], &[next], &[yielded]);
    let outputs = [output(&b, "last", scan.carries[0]), output(&b, "all", scan.yields[0])];
    let graph = b.finish(outputs);
    assert_eq!(verify(&graph), Ok(()), "{graph}");
    let text = "\
axis B = B, t = T, h = 8
%0 = argument x : f32[B, t, h]
%1 = argument w : f32[h]
%2 = constant 0.0 : f32
%3 = map add(%1, %1) : f32[h]
%4 = reduce sum(%0) over t : f32[B, h]
%5 = broadcast(%2) over B, h : f32[B, h]
%6 = scan t (%7: f32[B, h] = %5) {
  %8 = map mul(%7, %3) : f32[B, h]
  %9 = map add(%8, %0) : f32[t, B, h]
  %10 = map sub(%9, %4) : f32[t, B, h]
  next %9
  yield %10
}
%11 = project 0 of %6 : f32[B, h]
%12 = project 1 of %6 : f32[t, B, h]
output last = %11 : f32[B, h]
output all = %12 : f32[t, B, h]
";
    assert_eq!(graph.to_string(), text);
}

#[test]
fn defects_are_named() {
    let mut b = Builder::new();
    let (i, j) = (b.axis("i", 4.into()), b.axis("j", 4.into()));
    let x = argument(&mut b, "x", &[i, j], F32);
    let y = b.map1(ScalarFn::Exp, x);
    let s = b.sum(y, &[i]);
    let out = output(&b, "s", s);
    let graph = b.finish([out]);
    assert_eq!(verify(&graph), Ok(()));
    let found = |change: &dyn Fn(&mut Graph)| {
        let mut graph = graph.clone();
        change(&mut graph);
        verify(&graph).unwrap_err().to_string()
    };
    let axes = found(&|g| g.nodes[y].axes.truncate(1));
    assert_eq!(axes, "its axes must be [i, j]\n  in `%1 = map exp(%0) : f32[i]`");
    let dtype = found(&|g| g.nodes[y].dtype = DType::F64);
    assert!(dtype.starts_with("its dtype is f64, which must be f32"), "{dtype}");
    let order = found(&|g| g.regions[g.root].nodes.swap(0, 1));
    assert!(order.starts_with("its argument %1 is not known there"), "{order}");
    let twice = found(&|g| g.regions[g.root].nodes.push(s));
    assert!(twice.starts_with("the node stands in two places"), "{twice}");
    let over = found(&|g| g.nodes[s].op = Op::Reduce { op: Reducer::Any, over: [i].into_iter().collect() });
    assert!(over.starts_with("any of f32"), "{over}");
    let outputs = found(&|g| g.outputs[0].order.push(i));
    assert!(outputs.starts_with("output `s` orders its axes as [j, i]"), "{outputs}");
}
