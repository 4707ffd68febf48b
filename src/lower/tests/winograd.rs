//! Convolutions of 3 x 3 by Winograd's algorithm, against the interpreter.

use super::images::Net;
use super::{agree, fused, program};
use crate::graph::Graph;

/// Whether the program's convolutions are done by Winograd's algorithm, and their number.
fn transformed(graph: &Graph) -> usize {
    let program = program(&fused(graph));
    program.kernels.values().filter(|kernel| kernel.name.starts_with("winograd_weights")).count()
}

fn convolution(size: i64, from: i64, to: i64, pad: i64) -> Graph {
    let mut net = Net::new();
    let x = net.image(size, from);
    let y = net.conv(x, to, 3, 1, pad);
    let y = net.bias(y);
    let y = net.relu(y);
    net.forward(y)
}

/// How many gradients of weights are.
fn gradients(graph: &Graph) -> usize {
    let program = program(&fused(graph));
    program.kernels.values().filter(|kernel| kernel.name.starts_with("winograd_gradient")).count()
}

/// Even and odd images, panels and blocks that are not full, several images in a block, and blocks that are parts of an image.
#[test]
fn convolutions_agree() {
    for (size, from, to, pad, images) in
        [(8, 16, 32, 1, 3), (7, 16, 40, 1, 14), (9, 27, 19, 0, 2), (31, 32, 16, 1, 1), (6, 16, 260, 1, 1)]
    {
        let graph = convolution(size, from, to, pad);
        assert_eq!(transformed(&graph), 1, "{size} {from} {to}");
        agree(&graph, &[("B", images)], 7);
    }
}

#[test]
fn transposes_are_convolutions_too() {
    let mut net = Net::new();
    let x = net.image(7, 16);
    let y = net.conv(x, 40, 3, 1, 1);
    let y = net.relu(y);
    let y = net.conv(y, 16, 3, 1, 1);
    let y = net.relu(y);
    let loss = net.head(y);
    let graph = net.step(loss);
    assert_eq!(transformed(&graph), 3);
    agree(&graph, &[("B", 2)], 5);
}

/// Images of which a block has several, or a part; parts of channels and of features; several chunks.
#[test]
fn gradients_of_weights_agree() {
    for (size, from, to, images) in [(7, 16, 40, 3), (17, 16, 32, 7), (4, 80, 144, 2)] {
        let mut net = Net::new();
        let x = net.image(size, from);
        let y = net.conv(x, to, 3, 1, 1);
        let y = net.relu(y);
        let loss = net.head(y);
        let graph = net.step(loss);
        assert_eq!(gradients(&graph), 1, "{size} {from} {to}");
        agree(&graph, &[("B", images)], 5);
    }
}

#[test]
fn few_channels_stay_products() {
    assert_eq!(transformed(&convolution(8, 3, 16, 1)), 0);
    assert_eq!(transformed(&convolution(8, 64, 8, 1)), 0);
    assert_eq!(transformed(&convolution(8, 16, 16, 1)), 0);
}
