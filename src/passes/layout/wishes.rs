//! Which order readers wish a value to have.

use cranelift_entity::SecondaryMap;

use super::{Orders, Wishes};
use crate::graph::{Axis, Graph, Index, Node, Op, Reducer};
use crate::passes::contraction::bare;

/// Orders that outputs ask for, handed down to what they are made of as long as the axes stay the same.
pub(super) fn of_outputs(graph: &Graph) -> Wishes {
    let mut wishes: Wishes = SecondaryMap::new();
    let results = &graph.regions[graph.root].results;
    let mut todo: Vec<(Node, Vec<Axis>)> =
        results.iter().zip(&graph.outputs).map(|(node, output)| (*node, output.order.clone())).collect();
    while let Some((node, order)) = todo.pop() {
        let data = &graph.nodes[node];
        let same = order.len() == data.axes.len() && order.iter().all(|axis| data.axes.contains(axis));
        if !same || wishes[node].is_some() || matches!(data.op, Op::Input(_) | Op::Carry(_)) {
            continue;
        }
        wishes[node] = Some(order.clone());
        match &data.op {
            Op::Map(_) | Op::StopGradient | Op::Alias => {
                todo.extend(data.args.iter().map(|arg| (*arg, order.clone())));
            }
            Op::Project(index) => {
                let tuple = &graph.nodes[data.args[0]];
                if let Some(region) = tuple.op.region() {
                    todo.push((graph.regions[region].results[*index as usize], order));
                }
            }
            _ => {}
        }
    }
    wishes
}

/// Where a value's order comes from.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Origin {
    /// It is what it is: an input, a carry, what a loop has yielded, and what is made entry by entry of such.
    Given,
    /// Entry by entry from this sum of products, whose order is free.
    Free(Node),
    /// Made of smaller values: no order is better for it than another.
    None,
}

/// Adds the wishes of those who read sums of products and values without an order of their own, where an order was made that they would
/// not like. True if there are any.
pub(super) fn of_readers(graph: &Graph, nodes: &[Node], orders: &Orders, wishes: &mut Wishes) -> bool {
    let mut readers =
        Readers { graph, orders, wishes, origins: SecondaryMap::with_default(Origin::None), any: false };
    for &node in nodes {
        readers.visit(node);
    }
    readers.any
}

struct Readers<'a> {
    graph: &'a Graph,
    orders: &'a Orders,
    wishes: &'a mut Wishes,
    origins: SecondaryMap<Node, Origin>,
    any: bool,
}

impl Readers<'_> {
    fn visit(&mut self, node: Node) {
        let graph = self.graph;
        let data = &graph.nodes[node];
        self.origins[node] = match &data.op {
            Op::Map(_) => self.map(node),
            Op::Reduce { op: Reducer::Sum, .. } if self.is_product(data.args[0]) => Origin::Free(node),
            Op::Broadcast(_) | Op::Alias | Op::StopGradient => self.origins[data.args[0]],
            Op::Constant(_) | Op::Size(_) | Op::Position(_) => Origin::None,
            Op::View(_) => {
                self.merged(node);
                Origin::Given
            }
            Op::Project(_) if self.made(node) != node => self.origins[self.made(node)],
            _ => Origin::Given,
        };
    }

    /// The node of a group that a component of it is.
    fn made(&self, node: Node) -> Node {
        let data = &self.graph.nodes[node];
        match (&data.op, data.args.first().map(|arg| &self.graph.nodes[*arg].op)) {
            (Op::Project(index), Some(Op::Fused(region))) => {
                self.made(self.graph.regions[*region].results[*index as usize])
            }
            _ => node,
        }
    }

    /// Whether the sum of a value may be a sum of products: its factors have axes of their own.
    fn is_product(&self, node: Node) -> bool {
        let data = &self.graph.nodes[node];
        let own = |arg: Node| self.graph.nodes[bare(self.graph, arg)].axes.len() < data.axes.len();
        data.op == Op::Map(crate::ops::ScalarFn::Mul) && data.args.iter().all(|arg| own(*arg))
    }

    /// The arguments with all axes; then a given order is the wish of those that have another.
    fn map(&mut self, node: Node) -> Origin {
        let graph = self.graph;
        let data = &graph.nodes[node];
        let whole: Vec<Node> =
            data.args.iter().copied().filter(|arg| graph.nodes[*arg].axes == data.axes).collect();
        if whole.is_empty() {
            // The others are looked at where the whole is read.
            self.small(node, node);
            return Origin::None;
        }
        let given = whole.iter().copied().find(|arg| self.origins[*arg] == Origin::Given);
        let free = whole.iter().copied().find(|arg| self.origins[*arg] != Origin::None);
        let Some(anchor) = given.or(free) else { return Origin::None };
        for arg in &whole {
            match self.origins[*arg] {
                Origin::Free(root) if given.is_some() && graph.nodes[root].axes == data.axes => {
                    self.wish(root, self.orders[anchor].clone());
                }
                _ => {}
            }
        }
        self.small(node, anchor);
        self.origins[anchor]
    }

    /// What has no order of its own beside a value that has one.
    fn small(&mut self, node: Node, anchor: Node) {
        let order = self.orders[anchor].clone();
        for arg in self.graph.nodes[node].args.clone() {
            if self.origins[arg] == Origin::None {
                self.hand_down(arg, &order);
            }
        }
    }

    fn hand_down(&mut self, node: Node, order: &[Axis]) {
        let node = self.made(node);
        let data = &self.graph.nodes[node];
        let own: Vec<Axis> = order.iter().copied().filter(|axis| data.axes.contains(axis)).collect();
        if own.len() < 2
            || own.len() != data.axes.len()
            || !matches!(data.op, Op::Map(_))
            || self.wishes[node].is_some()
        {
            return;
        }
        self.wish(node, own);
        for arg in data.args.clone() {
            if self.origins[arg] == Origin::None {
                self.hand_down(arg, order);
            }
        }
    }

    /// A view that makes one axis of two: the one that runs faster wishes to be innermost; or, where features are innermost that the view
    /// does not touch, behind the one that runs slower, so that places and their phases lie as the places that they make.
    fn merged(&mut self, node: Node) {
        let graph = self.graph;
        let data = &graph.nodes[node];
        let Op::View(map) = &data.op else { return };
        let fast = |index: &Index| match index {
            Index::Rem(whole, by) => Some((whole.as_axis()?, by.clone())),
            _ => None,
        };
        let mut digits: Vec<(Axis, Axis)> = Vec::new();
        for (axis, index) in &map.at {
            let Some((whole, by)) = fast(index) else { continue };
            let quotient = Index::axis(whole).div(&by);
            let slow = map.at.iter().find(|(_, index)| *index == quotient);
            digits.extend(slow.map(|(slow, _)| (*slow, *axis)));
        }
        if digits.is_empty() {
            return;
        }
        // Through new names to the sum of products.
        let mut from = data.args[0];
        while let Op::View(map) = &graph.nodes[from].op {
            if map.at.iter().any(|(_, index)| index.as_axis().is_none()) {
                return;
            }
            for digit in digits.iter_mut().flat_map(|(slow, fast)| [slow, fast]) {
                if let Some((axis, _)) = map.at.iter().find(|(_, index)| index.as_axis() == Some(*digit)) {
                    *digit = *axis;
                }
            }
            from = graph.nodes[from].args[0];
        }
        let Origin::Free(root) = self.origins[from] else { return };
        let mut order = self.orders[root].clone();
        let product = &graph.nodes[graph.nodes[root].args[0]].args;
        let of_one_operand = |x: Axis, y: Axis| {
            product.iter().any(|operand| {
                let axes = &graph.nodes[bare(graph, *operand)].axes;
                axes.contains(&x) && axes.contains(&y)
            })
        };
        let features = order.last().copied().filter(|last| {
            let other = |(slow, fast): &(Axis, Axis)| slow != last && fast != last;
            digits.iter().all(|digit| other(digit) && of_one_operand(*last, digit.1))
        });
        for (slow, fast) in &digits {
            let Some(at) = order.iter().position(|axis| axis == fast) else { return };
            order.remove(at);
            match (features, order.iter().position(|axis| axis == slow)) {
                (Some(_), Some(slow)) => order.insert(slow + 1, *fast),
                (Some(_), None) => return,
                (None, _) => {
                    order.push(*fast);
                    break;
                }
            }
        }
        self.wish(root, order);
    }

    fn wish(&mut self, node: Node, order: Vec<Axis>) {
        if self.wishes[node].is_none() && self.orders[node] != order {
            self.wishes[node] = Some(order);
            self.any = true;
        }
    }
}
