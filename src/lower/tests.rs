use crate::axes::Dim;
use crate::graph::{Builder, Input, Output, Reducer, Role};
use crate::kernel::verify_program;
use crate::ops::ScalarFn;
use crate::tensor::DType;

#[test]
fn softmax_prints() {
    let mut b = Builder::new();
    let (rows, n) = (b.axis("b", Dim::var("B")), b.axis("n", Dim::constant(10)));
    let x = b.input(Input {
        name: "x".into(),
        role: Role::Argument,
        dtype: DType::F32,
        order: vec![rows, n],
        bound: None,
    });
    let m = b.reduce(Reducer::Max, x, &[n]);
    let d = b.sub(x, m);
    let e = b.map1(ScalarFn::Exp, d);
    let s = b.sum(e, &[n]);
    let y = b.div(e, s);
    let graph = b.finish([(Output { name: "y".into(), order: vec![rows, n], updates: None }, y)]);
    let program = super::lower(&graph).unwrap();
    println!("{program}");
    verify_program(&program).unwrap();
}
