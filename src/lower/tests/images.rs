//! Networks on images: convolutions as views that read zero outside, pooling, and their derivatives.

use super::agree;
use crate::autodiff::vjp;
use crate::axes::Dim;
use crate::graph::tests::argument;
use crate::graph::{Axis, Builder, Graph, Index, IndexMap, Literal, Node, Op, Output, Outside, Reducer};
use crate::ops::ScalarFn;
use crate::tensor::DType::{F32, I32};

/// An image under construction: a value over the batch, height, width and channels.
pub struct Net {
    pub b: Builder,
    pub batch: Axis,
    pub params: Vec<Node>,
    /// The order of each parameter's axes.
    pub orders: Vec<Vec<Axis>>,
}

/// A value and its axes of height, width and channels.
#[derive(Clone, Copy)]
pub struct Image {
    pub x: Node,
    pub h: Axis,
    pub w: Axis,
    pub c: Axis,
}

impl Net {
    pub fn new() -> Net {
        let mut b = Builder::new();
        let batch = b.axis("B", Dim::var("B"));
        Net { b, batch, params: Vec::new(), orders: Vec::new() }
    }

    fn size(&self, axis: Axis) -> i64 {
        self.b.axis_size(axis).as_const().expect("a static axis")
    }

    pub fn image(&mut self, size: i64, channels: i64) -> Image {
        let [h, w, c] = [("h", size), ("w", size), ("c", channels)].map(|(n, s)| self.b.axis(n, s.into()));
        let x = argument(&mut self.b, "x", &[self.batch, h, w, c], F32);
        Image { x, h, w, c }
    }

    pub fn param(&mut self, order: &[Axis]) -> Node {
        let name = format!("p{}", self.params.len());
        let input = argument(&mut self.b, &name, order, F32);
        let node = self.b.alias(input);
        self.params.push(node);
        self.orders.push(order.to_vec());
        node
    }

    /// `x[stride * i + dilation * a - pad, …]`, and the axes `(i, j, a, b)`.
    fn windows(&mut self, x: Image, size: i64, stride: i64, pad: i64, dilation: i64) -> (Node, [Axis; 4]) {
        let reach = dilation * (size - 1);
        let [oh, ow] = [x.h, x.w].map(|axis| (self.size(axis) + 2 * pad - reach - 1) / stride + 1);
        let [i, j, a, c] =
            [("i", oh), ("j", ow), ("a", size), ("b", size)].map(|(n, s)| self.b.axis(n, s.into()));
        let index = |i: Axis, a: Axis| {
            let parts = [
                (stride.into(), Index::axis(i)),
                (dilation.into(), Index::axis(a)),
                (1.into(), Index::constant(-pad)),
            ];
            Index::sum(parts).unwrap()
        };
        let outside = if pad > 0 { Outside::Zero } else { Outside::Never };
        let map = IndexMap::new([(x.h, index(i, a)), (x.w, index(j, c))], outside);
        (self.b.view(x.x, map), [i, j, a, c])
    }

    pub fn conv(&mut self, x: Image, channels: i64, size: i64, stride: i64, pad: i64) -> Image {
        self.dilated(x, channels, size, stride, pad, 1)
    }

    pub fn dilated(
        &mut self,
        x: Image,
        channels: i64,
        size: i64,
        stride: i64,
        pad: i64,
        dilation: i64,
    ) -> Image {
        let (window, [i, j, a, c]) = self.windows(x, size, stride, pad, dilation);
        let out = self.b.axis("k", channels.into());
        let w = self.param(&[a, c, x.c, out]);
        let product = self.b.mul(window, w);
        let y = self.b.sum(product, &[a, c, x.c]);
        Image { x: y, h: i, w: j, c: out }
    }

    /// Each of `groups` groups of channels by itself.
    pub fn grouped(&mut self, x: Image, groups: i64, channels: i64, size: i64, pad: i64) -> Image {
        let (window, [i, j, a, c]) = self.windows(x, size, 1, pad, 1);
        let within = self.size(x.c) / groups;
        let [g, from, to] =
            [("g", groups), ("e", within), ("k", channels / groups)].map(|(n, s)| self.b.axis(n, s.into()));
        let parts = [(within.into(), Index::axis(g)), (1.into(), Index::axis(from))];
        let window = self.b.view(window, IndexMap::new([(x.c, Index::sum(parts).unwrap())], Outside::Never));
        let w = self.param(&[a, c, g, from, to]);
        let product = self.b.mul(window, w);
        let y = self.b.sum(product, &[a, c, from]);
        let merged = self.b.axis("c", channels.into());
        let by = Dim::constant(channels / groups);
        let split = [(g, Index::axis(merged).div(&by)), (to, Index::axis(merged).rem(&by))];
        let y = self.b.view(y, IndexMap::new(split, Outside::Never));
        Image { x: y, h: i, w: j, c: merged }
    }

    /// Each channel by itself.
    pub fn depthwise(&mut self, x: Image, size: i64, stride: i64, pad: i64, dilation: i64) -> Image {
        let (window, [i, j, a, c]) = self.windows(x, size, stride, pad, dilation);
        let w = self.param(&[a, c, x.c]);
        let product = self.b.mul(window, w);
        let y = self.b.sum(product, &[a, c]);
        Image { x: y, h: i, w: j, c: x.c }
    }

    /// The transpose of a convolution, as a program says it: `y[i] = Σ_a x[(i + pad - a) / stride] w[a]` where the stride divides.
    pub fn spread(&mut self, x: Image, channels: i64, size: i64, stride: i64, pad: i64) -> Image {
        let [i, j] =
            [x.h, x.w].map(|axis| self.b.axis("i", ((self.size(axis) - 1) * stride - 2 * pad + size).into()));
        let [a, c] = ["a", "b"].map(|name| self.b.axis(name, size.into()));
        let out = self.b.axis("k", channels.into());
        let mut divides = |i: Axis, a: Axis| {
            let [i, a] = [i, a].map(|axis| self.b.position(axis, I32));
            let [pad, stride, zero] =
                [pad, stride, 0].map(|number| self.b.literal(Literal::Int(number), I32));
            let sum = self.b.add(i, pad);
            let sum = self.b.sub(sum, a);
            let rest = self.b.map2(ScalarFn::Rem, sum, stride);
            self.b.map2(ScalarFn::Eq, rest, zero)
        };
        let (rows, columns) = (divides(i, a), divides(j, c));
        let mask = self.b.map2(ScalarFn::And, rows, columns);
        let index = |i: Axis, a: Axis| {
            let parts =
                [(1.into(), Index::axis(i)), ((-1).into(), Index::axis(a)), (pad.into(), Index::constant(1))];
            Index::sum(parts).unwrap().div(&stride.into())
        };
        let map = IndexMap::new([(x.h, index(i, a)), (x.w, index(j, c))], Outside::Zero);
        let window = self.b.view(x.x, map);
        let w = self.param(&[a, c, x.c, out]);
        let product = self.b.mul(window, w);
        let zero = self.b.constant(0.0, F32);
        let guarded = self.b.select(mask, product, zero);
        let y = self.b.sum(guarded, &[a, c, x.c]);
        Image { x: y, h: i, w: j, c: out }
    }

    pub fn bias(&mut self, x: Image) -> Image {
        let bias = self.param(&[x.c]);
        Image { x: self.b.add(x.x, bias), ..x }
    }

    pub fn relu(&mut self, x: Image) -> Image {
        let zero = self.b.constant(0.0, F32);
        Image { x: self.b.map2(ScalarFn::Max, x.x, zero), ..x }
    }

    /// The largest entry of each window of `size` by `size`, and its share of the gradient to the largest entries.
    pub fn pool(&mut self, x: Image, size: i64) -> Image {
        let (window, [i, j, a, c]) = self.windows(x, size, size, 0, 1);
        Image { x: self.b.reduce(Reducer::Max, window, &[a, c]), h: i, w: j, c: x.c }
    }

    /// Mean 0 and variance 1 in each channel, then scale and shift.
    pub fn norm(&mut self, x: Image) -> Image {
        let over = [self.batch, x.h, x.w];
        let count = self.b.size(Dim::var("B").mul(&(self.size(x.h) * self.size(x.w)).into()).unwrap(), F32);
        let sum = self.b.sum(x.x, &over);
        let mean = self.b.div(sum, count);
        let centred = self.b.sub(x.x, mean);
        let square = self.b.mul(centred, centred);
        let sum = self.b.sum(square, &over);
        let variance = self.b.div(sum, count);
        let epsilon = self.b.constant(1e-5, F32);
        let variance = self.b.add(variance, epsilon);
        let root = self.b.map1(ScalarFn::Sqrt, variance);
        let normal = self.b.div(centred, root);
        let scale = self.param(&[x.c]);
        let scaled = self.b.mul(normal, scale);
        self.bias(Image { x: scaled, ..x })
    }

    pub fn add(&mut self, x: Image, y: Image) -> Image {
        let y = self.b.rename(y.x, &[(y.h, x.h), (y.w, x.w), (y.c, x.c)]);
        Image { x: self.b.add(x.x, y), ..x }
    }

    pub fn dense(&mut self, x: Node, from: &[Axis], to: Axis) -> Node {
        let order = [from, &[to]].concat();
        let w = self.param(&order);
        let bias = self.param(&[to]);
        let product = self.b.mul(x, w);
        let y = self.b.sum(product, from);
        self.b.add(y, bias)
    }

    /// The mean of all places, then a dense layer of ten classes.
    pub fn head(&mut self, x: Image) -> Node {
        let count = self.b.size((self.size(x.h) * self.size(x.w)).into(), F32);
        let sum = self.b.sum(x.x, &[x.h, x.w]);
        let mean = self.b.div(sum, count);
        let classes = self.b.axis("classes", 10.into());
        let y = self.dense(mean, &[x.c], classes);
        self.loss(y, classes)
    }

    /// The cross entropy of scores with a target, summed over the batch.
    pub fn loss(&mut self, y: Node, classes: Axis) -> Node {
        let target = argument(&mut self.b, "target", &[self.batch, classes], F32);
        let max = self.b.reduce(Reducer::Max, y, &[classes]);
        let shifted = self.b.sub(y, max);
        let exp = self.b.map1(ScalarFn::Exp, shifted);
        let sum = self.b.sum(exp, &[classes]);
        let log = self.b.map1(ScalarFn::Log, sum);
        let score = self.b.sub(shifted, log);
        let gain = self.b.mul(score, target);
        let gain = self.b.sum(gain, &[self.batch, classes]);
        self.b.neg(gain)
    }

    /// The image alone.
    pub fn forward(self, y: Image) -> Graph {
        let order = vec![self.batch, y.h, y.w, y.c];
        self.b.finish(vec![(Output { name: "y".into(), order, updates: None }, y.x)])
    }

    /// The loss, and each parameter after a step down its gradient.
    pub fn step(mut self, loss: Node) -> Graph {
        let one = self.b.constant(1.0, F32);
        let gradients = vjp(&mut self.b, loss, &self.params, one);
        let rate = self.b.constant(1.0 / 1024.0, F32);
        let mut results = vec![(Output { name: "loss".into(), order: vec![], updates: None }, loss)];
        for (k, gradient) in gradients.into_iter().enumerate() {
            let step = self.b.mul(gradient, rate);
            let new = self.b.sub(self.params[k], step);
            let name = format!("p{k}");
            let input = self.b.graph().inputs.iter().position(|input| *input.name == *name);
            results.push((Output { name: name.into(), order: self.orders[k].clone(), updates: input }, new));
        }
        self.b.finish(results)
    }
}

/// LeNet-5 on images of 28 by 28.
pub fn lenet() -> Graph {
    let mut net = Net::new();
    let x = net.image(28, 1);
    let y = net.conv(x, 6, 5, 1, 2);
    let y = net.bias(y);
    let y = net.relu(y);
    let y = net.pool(y, 2);
    let y = net.conv(y, 16, 5, 1, 0);
    let y = net.bias(y);
    let y = net.relu(y);
    let y = net.pool(y, 2);
    let axes = [120, 84, 10].map(|n| net.b.axis("n", Dim::constant(n)));
    let zero = net.b.constant(0.0, F32);
    let z = net.dense(y.x, &[y.h, y.w, y.c], axes[0]);
    let z = net.b.map2(ScalarFn::Max, z, zero);
    let z = net.dense(z, &[axes[0]], axes[1]);
    let z = net.b.map2(ScalarFn::Max, z, zero);
    let z = net.dense(z, &[axes[1]], axes[2]);
    let loss = net.loss(z, axes[2]);
    net.step(loss)
}

/// A residual network of three stages with `blocks` blocks each, on images of `size` by `size`; the first stage has `channels`.
pub fn resnet(size: i64, channels: i64, blocks: usize) -> Graph {
    let mut net = Net::new();
    let x = net.image(size, 3);
    let y = net.conv(x, channels, 3, 1, 1);
    let y = net.norm(y);
    let mut y = net.relu(y);
    for stage in 0..3 {
        let wide = channels << stage;
        for block in 0..blocks {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let z = net.conv(y, wide, 3, stride, 1);
            let z = net.norm(z);
            let z = net.relu(z);
            let z = net.conv(z, wide, 3, 1, 1);
            let z = net.norm(z);
            if stride == 2 {
                let short = net.conv(y, wide, 1, 2, 0);
                y = net.norm(short);
            }
            y = net.add(z, y);
            y = net.relu(y);
        }
    }
    let loss = net.head(y);
    net.step(loss)
}

fn sizes(graph: &Graph) {
    for size in [1, 3] {
        agree(graph, &[("B", size)], 11);
    }
}

#[test]
fn convolutions_agree() {
    for (size, kernel, stride, pad, dilation) in [
        (7, 3, 1, 1, 1),
        (8, 3, 2, 1, 1),
        (9, 5, 1, 0, 1),
        (9, 3, 1, 2, 2),
        (7, 1, 2, 0, 1),
        (8, 2, 2, 0, 1),
        (10, 4, 3, 2, 1),
    ] {
        let mut net = Net::new();
        let x = net.image(size, 3);
        let first = net.conv(x, 4, 3, 1, 1);
        let first = net.bias(first);
        let first = net.relu(first);
        let y = net.dilated(first, 5, kernel, stride, pad, dilation);
        let loss = net.head(y);
        sizes(&net.step(loss));
    }
}

/// The transpose of a stride multiplies no zeros that stand between entries.
#[test]
fn transposed_strides_have_phases() {
    for (kernel, stride, pad) in [(3, 2, 1), (3, 2, 0), (4, 2, 1), (1, 2, 0), (2, 2, 0), (3, 3, 0), (5, 3, 3)]
    {
        let mut net = Net::new();
        let x = net.image(9, 3);
        let first = net.conv(x, 4, 1, 1, 0);
        let y = net.conv(first, 5, kernel, stride, pad);
        let loss = net.head(y);
        multiplies_no_zeros(&net.step(loss));
    }
}

/// Nor does a transposed convolution, forward and backward, but where the offset is none of the stride's.
#[test]
fn spread_images_have_phases() {
    let spread = |kernel, stride, pad| {
        let mut net = Net::new();
        let x = net.image(4, 3);
        let first = net.conv(x, 4, 1, 1, 0);
        let y = net.spread(first, 5, kernel, stride, pad);
        let y = net.bias(y);
        let y = net.relu(y);
        let loss = net.head(y);
        net.step(loss)
    };
    for (kernel, stride, pad) in [(2, 2, 0), (4, 2, 1), (3, 2, 1), (3, 3, 0), (2, 3, 0), (5, 3, 3)] {
        multiplies_no_zeros(&spread(kernel, stride, pad));
    }
    sizes(&spread(4, 3, 1));
}

fn multiplies_no_zeros(graph: &Graph) {
    sizes(graph);
    let after = super::fused(graph);
    assert!(!after.nodes.values().any(|data| matches!(data.op, Op::Fold(_))), "{after}");
    let divides = |index: &Index| matches!(index, Index::Sum(parts) if parts.iter().any(|(_, part)| matches!(part, Index::Rem(..))));
    for node in after.nodes.keys() {
        let Some(roles) = crate::passes::roles(&after, node, &|_| false) else { continue };
        for operand in [roles.a, roles.b] {
            if let Op::View(map) = &after.nodes[operand].op {
                assert!(!map.at.iter().any(|(_, index)| divides(index)), "{after}");
            }
        }
    }
}

/// The gradients of weights are sums of several chunks.
#[test]
fn long_sums_are_split() {
    let mut net = Net::new();
    let x = net.image(30, 2);
    let y = net.conv(x, 3, 3, 1, 1);
    let y = net.relu(y);
    let y = net.conv(y, 4, 3, 2, 1);
    let loss = net.head(y);
    let graph = net.step(loss);
    for size in [1, 2, 7] {
        agree(&graph, &[("B", size)], 11);
    }
}

#[test]
fn groups_of_channels_agree() {
    for groups in [2, 4] {
        let mut net = Net::new();
        let x = net.image(6, 3);
        let y = net.conv(x, 4, 1, 1, 0);
        let y = net.grouped(y, groups, 8, 3, 1);
        let loss = net.head(y);
        sizes(&net.step(loss));
    }
}

/// Groups too narrow for a vector stand side by side: with zeros in the weights, or in pairs of which those of one group count.
#[test]
fn narrow_groups_agree() {
    let mut net = Net::new();
    let x = net.image(4, 3);
    let y = net.conv(x, 16, 1, 1, 0);
    let y = net.grouped(y, 8, 32, 3, 1);
    let y = net.bias(y);
    let y = net.relu(y);
    let loss = net.head(y);
    let graph = net.step(loss);
    agree(&graph, &[("B", 2)], 11);
    let wide = super::program(&super::fused(&graph)).to_string();
    let contractions = wide.lines().filter(|line| line.contains("contract ") && line.contains("n in 0..16"));
    assert!(contractions.count() >= 3, "{wide}");
}

/// Channels that fill vectors or not, rows as loops inside of the lanes, taps that are written out, in part, or not at all.
#[test]
fn channels_by_themselves_agree() {
    for (size, channels, kernel, stride, pad, dilation) in [
        (5, 18, 3, 1, 1, 1),
        (6, 5, 3, 2, 1, 1),
        (6, 17, 5, 1, 2, 1),
        (7, 4, 3, 1, 2, 2),
        (5, 17, 1, 2, 0, 1),
    ] {
        let mut net = Net::new();
        let x = net.image(size, 3);
        let first = net.conv(x, channels, 1, 1, 0);
        let y = net.depthwise(first, kernel, stride, pad, dilation);
        let y = net.bias(y);
        let y = net.relu(y);
        let loss = net.head(y);
        let graph = net.step(loss);
        agree(&graph, &[("B", 2)], 11);
        let folds = super::fused(&graph).nodes.values().any(|data| matches!(data.op, Op::Fold(_)));
        assert!(!folds, "{graph}");
    }
}

/// What a convolution reads is written into its border's middle by what makes it, also where the windows leave out its end.
#[test]
fn images_lie_in_their_borders() {
    for (size, stride) in [(5, 1), (6, 2)] {
        let network = || {
            let mut net = Net::new();
            let x = net.image(size, 3);
            let y = net.conv(x, 4, 1, 1, 0);
            let y = net.bias(y);
            let y = net.relu(y);
            let y = net.conv(y, 5, 3, stride, 1);
            let y = net.norm(y);
            let y = net.relu(y);
            let y = net.conv(y, 3, 3, 1, 1);
            (net, y)
        };
        let (mut net, y) = network();
        let loss = net.head(y);
        sizes(&net.step(loss));
        let (net, y) = network();
        let program = super::program(&super::fused(&net.forward(y)));
        let named =
            |name: &str| program.kernels.values().filter(|kernel| kernel.name.starts_with(name)).count();
        assert_eq!((named("border"), named("f32")), (2, 0), "{program}");
    }
}

#[test]
fn a_pooled_network_agrees() {
    let mut net = Net::new();
    let x = net.image(8, 1);
    let y = net.conv(x, 3, 5, 1, 2);
    let y = net.bias(y);
    let y = net.relu(y);
    let y = net.pool(y, 2);
    let y = net.conv(y, 4, 3, 1, 0);
    let loss = net.head(y);
    sizes(&net.step(loss));
}

#[test]
fn a_residual_network_agrees() {
    let graph = resnet(8, 4, 1);
    sizes(&graph);
}
