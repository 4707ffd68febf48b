//! `unfold`: the transpose of a view in gather form, wherever its map can be solved for one entry: `out[i] = Σ_t x[(i - t) / s, t]`.
//!
//! The equation `i = s*p + t + c` of each axis that a fold makes is solved for one axis (or for several that are its digits, as in
//! `i = h*E + e`); the other axes that vanish are summed. What does not divide or lies outside reads as zero.
//!
//! `divisions` does the same for folds at quotients, once no guard is left that could say more of them: a fold at `(i - t) / s` is
//! `out[u] = Σ_r x[s*u + t + r]` over the s remainders, or, where nothing but exact quotients counts, `x[s*u + t]`.

use crate::axes::{Dim, DimError};
use crate::graph::sets::{set, union, without};
use crate::graph::{
    Affine, Axis, AxisData, Graph, Index, IndexMap, Node, NodeData, Op, Outside, Reducer, Region,
};

/// Far beyond every axis: what does not divide is read there.
const FAR: i64 = 1 << 40;

/// `sum / by` where that leaves nothing, and outside of every axis elsewhere: for maps that read zero there.
pub(super) fn exactly(sum: Index, by: &Dim) -> Result<Index, DimError> {
    let rest = (Dim::constant(FAR), sum.clone().rem(by));
    Index::sum([(Dim::constant(1), sum.div(by)), rest])
}

/// What `exactly` made the index of.
fn exact_quotient(index: &Index) -> Option<(&Affine, &Dim)> {
    let Index::Sum(parts) = index else { return None };
    let [(one, Index::Div(sum, by)), (far, Index::Rem(same, divisor))] = &parts[..] else { return None };
    let exact = one.as_const() == Some(1) && far.as_const() == Some(FAR) && sum == same && by == divisor;
    Some((sum.as_affine().filter(|_| exact)?, by))
}

/// Writes folds as sums over views, all but those at quotients.
pub fn unfold(graph: Graph) -> Graph {
    solve(graph, false)
}

/// Writes folds at quotients as sums over views, too.
pub(super) fn divisions(graph: Graph) -> Graph {
    solve(graph, true)
}

fn solve(mut graph: Graph, quotients: bool) -> Graph {
    let regions: Vec<Region> = graph.regions.keys().collect();
    for region in regions {
        let mut at = 0;
        while let Some(&node) = graph.regions[region].nodes.get(at) {
            if let Op::Fold(map) = graph.nodes[node].op.clone()
                && let Ok(Some(form)) = gather_form(&mut graph, node, &map, quotients)
            {
                at += form.write(&mut graph, region, node, at);
            }
            at += 1;
        }
    }
    graph
}

/// A fold as a view of its argument, then a sum.
struct GatherForm {
    map: IndexMap,
    over: Vec<Axis>,
}

impl GatherForm {
    /// Puts the view before the node, which becomes the sum, or the view where there is nothing to sum. Returns the number of new nodes.
    fn write(self, graph: &mut Graph, region: Region, node: Node, at: usize) -> usize {
        let data = graph.nodes[node].clone();
        if self.over.is_empty() {
            graph.nodes[node].op = Op::View(self.map);
            return 0;
        }
        let over = set(self.over);
        let axes = union(&data.axes, &over);
        let view = graph.nodes.push(NodeData { op: Op::View(self.map), axes, ..data });
        graph.nodes[node].op = Op::Reduce { op: Reducer::Sum, over };
        graph.nodes[node].args = [view].into_iter().collect();
        graph.regions[region].nodes.insert(at, view);
        1
    }
}

/// An index that a fold makes, and the sum over vanishing axes that it equals.
struct Equation {
    made: Index,
    sum: Affine,
}

fn gather_form(
    graph: &mut Graph,
    node: Node,
    map: &IndexMap,
    quotients: bool,
) -> Result<Option<GatherForm>, DimError> {
    let mut rests = Vec::new();
    let Some(equations) = equations(graph, map, quotients.then_some(&mut rests))? else { return Ok(None) };
    let graph = &*graph;
    let size = |axis: Axis| graph.axes[axis].size.clone();
    let mentioned = map.mentioned();
    let mut at: Vec<(Axis, Index)> = Vec::new();
    for (i, equation) in equations.iter().enumerate() {
        let elsewhere = |axis: Axis| {
            equations
                .iter()
                .enumerate()
                .any(|(j, other)| j != i && other.sum.terms.iter().any(|(a, _)| *a == axis))
        };
        let Some(digits) = digits(&equation.sum, &size, &elsewhere)? else { return Ok(None) };
        // The rest of the equation, divided by the last digit's factor.
        let mut parts = vec![(Dim::constant(1), equation.made.clone())];
        let mut rest = equation.sum.clone();
        rest.terms.retain(|(axis, _)| !digits.iter().any(|(digit, _)| digit == axis));
        parts.push((Dim::constant(-1), Index::Affine(rest)));
        let (_, factor) = digits.last().expect("an equation is solved for something");
        let negative = factor.as_const().is_some_and(|factor| factor < 0);
        if negative {
            parts.iter_mut().for_each(|(factor, _)| *factor = Dim::constant(-factor.as_const().unwrap_or(1)));
        }
        let by = if negative { factor.neg()? } else { factor.clone() };
        let whole = Index::sum(parts)?;
        let mut quotient = match by.as_const() {
            Some(1) => whole,
            _ => exactly(whole, &by)?,
        };
        for (position, (axis, _)) in digits.iter().enumerate().rev() {
            if position == 0 {
                at.push((*axis, quotient.clone()));
            } else {
                at.push((*axis, quotient.clone().rem(&size(*axis))));
                quotient = quotient.div(&size(*axis));
            }
        }
    }
    let solved: Vec<Axis> = at.iter().map(|(axis, _)| *axis).collect();
    let vanishing = mentioned.iter().copied().filter(|axis| !solved.contains(axis));
    let over: Vec<Axis> = vanishing.chain(rests).collect();
    // What the map mentions and the argument keeps is named as well.
    let mut map = IndexMap::new(at, Outside::Zero);
    let kept = without(&graph.nodes[graph.nodes[node].args[0]].axes, &map.named());
    let both: Vec<Axis> = map.mentioned().into_iter().filter(|axis| kept.contains(axis)).collect();
    map.at.extend(both.into_iter().map(|axis| (axis, Index::axis(axis))));
    map.at.sort_by_key(|(axis, _)| *axis);
    Ok(Some(GatherForm { map, over }))
}

/// The equations of a map; `None` where one is not linear. A quotient and a remainder of one sum are a single equation. A quotient
/// alone is one whose remainder is a new axis, which joins `rests`; without them it is not solved.
fn equations(
    graph: &mut Graph,
    map: &IndexMap,
    mut rests: Option<&mut Vec<Axis>>,
) -> Result<Option<Vec<Equation>>, DimError> {
    let mut equations = Vec::new();
    let mut used = vec![false; map.at.len()];
    for (i, (axis, index)) in map.at.iter().enumerate() {
        match index {
            Index::Affine(sum) => equations.push(Equation { made: Index::axis(*axis), sum: sum.clone() }),
            Index::Div(inner, by) => {
                let partner = map.at.iter().position(|(other, index)| {
                    matches!(index, Index::Rem(same, divisor) if same == inner && divisor == by && graph.axes[*other].size == *by)
                });
                let Index::Affine(sum) = &**inner else { return Ok(None) };
                let rest = match (partner, &mut rests) {
                    (Some(partner), _) => {
                        used[partner] = true;
                        map.at[partner].0
                    }
                    (None, Some(rests)) => {
                        let name = graph.axes[*axis].name.clone();
                        let rest = graph.axes.push(AxisData { name, size: by.clone() });
                        rests.push(rest);
                        rest
                    }
                    (None, None) => return Ok(None),
                };
                let parts = [(by.clone(), Index::axis(*axis)), (Dim::constant(1), Index::axis(rest))];
                equations.push(Equation { made: Index::sum(parts)?, sum: sum.clone() });
            }
            Index::Rem(..) => continue,
            Index::Sum(_) => match (exact_quotient(index), &rests) {
                (Some((sum, by)), Some(_)) => {
                    equations.push(Equation { made: Index::axis(*axis).times(by)?, sum: sum.clone() });
                }
                _ => return Ok(None),
            },
        }
        used[i] = true;
    }
    Ok(used.into_iter().all(|used| used).then_some(equations))
}

/// The axes that an equation is solved for, with their factors, the leading one first: each is a digit below the one before.
fn digits(
    sum: &Affine,
    size: &dyn Fn(Axis) -> Dim,
    elsewhere: &dyn Fn(Axis) -> bool,
) -> Result<Option<Vec<(Axis, Dim)>>, DimError> {
    let usable = |factor: &Dim| factor.as_const().map_or_else(|| factor.at_least(1), |factor| factor != 0);
    let free: Vec<&(Axis, Dim)> =
        sum.terms.iter().filter(|(axis, factor)| !elsewhere(*axis) && usable(factor)).collect();
    // The longest axis leads: the others are summed.
    let length = |axis: Axis| size(axis).as_const().unwrap_or(i64::MAX);
    let Some(lead) = free.iter().copied().max_by_key(|(axis, _)| length(*axis)) else { return Ok(None) };
    let mut digits = vec![lead.clone()];
    loop {
        let (_, factor) = digits.last().expect("a digit");
        let mut below = None;
        for (axis, smaller) in free.iter().copied() {
            if !digits.iter().any(|(digit, _)| digit == axis) && smaller.mul(&size(*axis))? == *factor {
                below = Some((*axis, smaller.clone()));
            }
        }
        match below {
            Some(digit) if digit.1.at_least(1) => digits.push(digit),
            _ => break,
        }
    }
    loop {
        let (first, factor) = digits[0].clone();
        let mut above = None;
        for (axis, larger) in free.iter().copied() {
            if !digits.iter().any(|(digit, _)| digit == axis)
                && factor.mul(&size(first))? == *larger
                && factor.at_least(1)
            {
                above = Some((*axis, larger.clone()));
            }
        }
        match above {
            Some(digit) => digits.insert(0, digit),
            None => return Ok(Some(digits)),
        }
    }
}
