//! Which order readers wish a value to have.

use cranelift_entity::SecondaryMap;

use super::{Orders, Wishes};
use crate::axes::Dim;
use crate::graph::{Axis, Graph, Index, IndexMap, Node, Op, Reducer};
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

    /// A view that makes one axis of several: the one that runs fastest wishes to be innermost, and those between before it; or, where features are
    /// innermost that the view does not touch, behind the one that runs slowest, so that places and their phases lie as the places that
    /// they make.
    fn merged(&mut self, node: Node) {
        let graph = self.graph;
        let data = &graph.nodes[node];
        let Op::View(map) = &data.op else { return };
        let mut digits = digits(map);
        if digits.is_empty() {
            return;
        }
        // Through new names to the sum of products.
        let mut from = data.args[0];
        while let Op::View(map) = &graph.nodes[from].op {
            if map.at.iter().any(|(_, index)| index.as_axis().is_none()) {
                return;
            }
            for digit in digits.iter_mut().flatten() {
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
            let fastest = |of: &Vec<Axis>| of.last().is_some_and(|fast| of_one_operand(*last, *fast));
            digits.iter().all(|of| !of.contains(last) && fastest(of))
        });
        for of in &digits {
            if !of[1..].iter().all(|axis| order.contains(axis)) {
                return;
            }
            order.retain(|axis| !of[1..].contains(axis));
            match (features, order.iter().position(|axis| *axis == of[0])) {
                (Some(_), Some(slowest)) => drop(order.splice(slowest + 1..slowest + 1, of[1..].to_vec())),
                (Some(_), None) => return,
                (None, _) => {
                    order.extend(&of[1..]);
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

/// For each axis that a view makes of several these, the slowest first: its quotient, remainders of quotients, and its remainder.
fn digits(map: &IndexMap) -> Vec<Vec<Axis>> {
    /// The axis, by how much an index divides it, and whether that leaves a digit.
    fn digit(index: &Index) -> Option<(Axis, Dim, bool)> {
        match index {
            Index::Affine(_) => Some((index.as_axis()?, Dim::constant(1), false)),
            Index::Div(inner, by) => {
                let (whole, divisor, _) = digit(inner)?;
                Some((whole, divisor.mul(by).ok()?, true))
            }
            Index::Rem(inner, _) => digit(inner).map(|(whole, divisor, _)| (whole, divisor, true)),
            Index::Sum(_) => None,
        }
    }
    let mut found: Vec<(Axis, Vec<(Axis, i64)>)> = Vec::new();
    for (axis, index) in &map.at {
        let Some((whole, divisor, true)) = digit(index) else { continue };
        // An unknown number divides by more than none.
        let divisor = divisor.as_const().unwrap_or(i64::MAX);
        match found.iter_mut().find(|(other, _)| *other == whole) {
            Some((_, of)) => of.push((*axis, divisor)),
            None => found.push((whole, vec![(*axis, divisor)])),
        }
    }
    let mut digits = Vec::new();
    for (_, mut of) in found {
        of.sort_by_key(|(_, divisor)| std::cmp::Reverse(*divisor));
        let distinct = of.windows(2).all(|pair| pair[0].1 > pair[1].1);
        if of.len() > 1 && distinct && of.last().is_some_and(|(_, divisor)| *divisor == 1) {
            digits.push(of.into_iter().map(|(axis, _)| axis).collect());
        }
    }
    digits
}
