//! `interpret`: the value of a graph, naively, on ndarray. The oracle that machine code is compared with.
//!
//! Every operator's own rule does the work (`ops`); here stand the environment, loops and groups.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use cranelift_entity::SecondaryMap;
use ndarray::{ArrayD, Axis as Place, IxDyn};

use super::ir::*;
use super::sets::{set, union, without};
use super::walk::reads;
use crate::axes::DimVar;
use crate::ops::{Array, Eval, EvalCx, EvalError};
use crate::tensor::{DType, Element, Number, Tensor};

/// The outputs for these inputs, in order, where the dims have these values.
///
/// # Errors
/// A size that has no value, an input of another type than the graph's, an index out of range, a value of more than 2^28 elements.
pub fn interpret(
    graph: &Graph,
    inputs: &[Tensor],
    dims: &HashMap<DimVar, i64>,
) -> Result<Vec<Tensor>, EvalError> {
    let dim = |var: &DimVar| dims.get(var).copied();
    let mut interpreter = Interpreter::new(graph, inputs, &dim);
    interpreter.region(graph.root)?;
    let results = graph.regions[graph.root].results.iter().zip(&graph.outputs);
    results.map(|(node, output)| Ok(interpreter.read(*node).to_tensor(&output.order))).collect()
}

struct Interpreter<'a> {
    cx: EvalCx<'a>,
    values: SecondaryMap<Node, Option<Array>>,
    tuples: HashMap<Node, Vec<Array>>,
    /// What may be forgotten behind each node of a region.
    last_uses: HashMap<Region, Rc<Vec<Vec<Node>>>>,
    inputs: &'a [Tensor],
    watch: Option<Watch<'a>>,
}

/// What a watched run has met that is not finite.
struct Watch<'a> {
    /// Nodes whose values were not finite in some turn.
    bad: HashSet<Node>,
    /// Those of them that were made of finite values alone, in the order of their evaluation.
    origins: Vec<Node>,
    /// Asked before every node; `false` ends the run.
    goes_on: &'a dyn Fn() -> bool,
}

/// The node that made the first infinity or NaN among those that an output which is not finite is made of; `None` where all outputs
/// are finite, or the run was ended.
///
/// # Errors
/// As [`interpret`].
pub fn first_not_finite(
    graph: &Graph,
    inputs: &[Tensor],
    dims: &HashMap<DimVar, i64>,
    goes_on: &dyn Fn() -> bool,
) -> Result<Option<Node>, EvalError> {
    let dim = |var: &DimVar| dims.get(var).copied();
    let mut interpreter = Interpreter::new(graph, inputs, &dim);
    interpreter.watch = Some(Watch { bad: HashSet::new(), origins: Vec::new(), goes_on });
    interpreter.region(graph.root)?;
    let Some(watch) = interpreter.watch else { return Ok(None) };
    if !goes_on() {
        return Ok(None);
    }
    // From the first output that is not finite back along all that is not.
    let wrong = graph.regions[graph.root].results.iter().find(|result| watch.bad.contains(result));
    let mut rest: Vec<Node> = wrong.into_iter().copied().collect();
    let mut seen: HashSet<Node> = HashSet::new();
    while let Some(node) = rest.pop() {
        if !seen.insert(node) {
            continue;
        }
        let data = &graph.nodes[node];
        rest.extend(data.args.iter().filter(|arg| watch.bad.contains(arg)));
        // A loop has no value of its own: what its turns result in has.
        for arg in &data.args {
            if let Op::Scan(scan) = &graph.nodes[*arg].op {
                rest.extend(graph.nodes[*arg].args.iter().filter(|arg| watch.bad.contains(arg)));
                rest.extend(graph.regions[scan.body].results.iter().filter(|node| watch.bad.contains(node)));
            }
        }
    }
    Ok(watch.origins.into_iter().find(|origin| seen.contains(origin)))
}

fn is_finite(array: &Array) -> bool {
    array.values.iter().all(|number| number.as_f64().is_finite())
}

impl<'a> Interpreter<'a> {
    fn new(
        graph: &'a Graph,
        inputs: &'a [Tensor],
        dims: &'a dyn Fn(&DimVar) -> Option<i64>,
    ) -> Interpreter<'a> {
        Interpreter {
            cx: EvalCx { graph, dims, bound: SecondaryMap::new() },
            values: SecondaryMap::new(),
            tuples: HashMap::new(),
            last_uses: HashMap::new(),
            inputs,
            watch: None,
        }
    }

    /// A value at the current step of the scans around.
    fn read(&self, node: Node) -> Array {
        let array = self.values[node].as_ref().expect("a verified graph makes a value before it reads it");
        let mut steps = array.axes.iter().filter_map(|axis| Some((*axis, self.cx.bound[*axis]?)));
        let Some((axis, at)) = steps.next() else { return array.clone() };
        let first = array.entry(axis, at as usize);
        steps.fold(first, |array, (axis, at)| array.entry(axis, at as usize))
    }

    fn region(&mut self, region: Region) -> Result<(), EvalError> {
        let graph = self.cx.graph;
        let data = &graph.regions[region];
        let last = self.last_uses.entry(region).or_insert_with(|| Rc::new(last_uses(graph, data))).clone();
        for (at, node) in data.nodes.iter().enumerate() {
            if self.watch.as_ref().is_some_and(|watch| !(watch.goes_on)()) {
                return Ok(());
            }
            self.node(*node)?;
            for dead in &last[at] {
                self.values[*dead] = None;
                self.tuples.remove(dead);
            }
        }
        Ok(())
    }

    fn node(&mut self, node: Node) -> Result<(), EvalError> {
        let data = &self.cx.graph.nodes[node];
        let value = match (&data.op, &data.op.def().eval) {
            (_, Eval::Rule(rule)) => {
                let args: Vec<Array> = data.args.iter().map(|arg| self.read(*arg)).collect();
                rule(&self.cx, data, &args)?
            }
            (Op::Input(index), Eval::Body) => self.input(*index as usize)?,
            (Op::Scan(scan), Eval::Body) => {
                let results = self.scan(data, scan)?;
                self.tuples.insert(node, results);
                return Ok(());
            }
            (Op::Fused(region), Eval::Body) => {
                self.region(*region)?;
                let results = &self.cx.graph.regions[*region].results;
                self.tuples.insert(node, results.iter().map(|result| self.read(*result)).collect());
                return Ok(());
            }
            (Op::Project(index), Eval::Body) => self.tuples[&data.args[0]][*index as usize].clone(),
            (op, Eval::Body) => unreachable!("{} stands among the parameters", op.def().name),
        };
        // Every test that interprets compares the shape rule with the value.
        #[cfg(test)]
        assert_eq!((&value.axes, value.dtype), (&self.cx.free(&data.axes), data.dtype), "{:?}", data.op);
        if let Some(watch) = &mut self.watch
            && !is_finite(&value)
        {
            // Infinities that are written down are meant.
            let made = !data.args.is_empty() && !data.args.iter().any(|arg| watch.bad.contains(arg));
            if watch.bad.insert(node) && made && !matches!(data.op, Op::Project(_)) {
                watch.origins.push(node);
            }
        }
        self.values[node] = Some(value);
        Ok(())
    }

    fn input(&self, index: usize) -> Result<Array, EvalError> {
        let input = &self.cx.graph.inputs[index];
        let expected = self.cx.shape(&input.order)?;
        let tensor = self.inputs.get(index);
        match tensor.filter(|tensor| tensor.dtype() == input.dtype && tensor.shape() == expected) {
            Some(tensor) => Ok(Array::from_tensor(tensor, &input.order)),
            None => Err(EvalError::Input {
                name: input.name.to_string(),
                found: tensor.map_or("missing".into(), |t| format!("{}{:?}", t.dtype(), t.shape())),
                expected: format!("{}{expected:?}", input.dtype),
            }),
        }
    }

    fn scan(&mut self, node: &NodeData, scan: &Scan) -> Result<Vec<Array>, EvalError> {
        let graph = self.cx.graph;
        let body = &graph.regions[scan.body];
        let steps = self.cx.size(scan.axis)?;
        let (next, yields) = body.results.split_at(scan.carries);
        let mut carries: Vec<Array> = node.args.iter().map(|arg| self.read(*arg)).collect();
        for (carry, param) in carries.iter_mut().zip(&body.params) {
            *carry = self.with_axes(carry, &graph.nodes[*param].axes)?;
        }
        let inside = without(&self.cx.free(&all_axes(graph, yields)), &[scan.axis]);
        let axes_of =
            |node: &Node| graph.nodes[*node].axes.iter().copied().filter(|a| inside.contains(a)).collect();
        let stacked: Vec<AxisSet> = yields.iter().map(axes_of).collect();
        let mut rows: Vec<Vec<Option<ArrayD<Number>>>> = vec![vec![None; steps]; yields.len()];
        for turn in 0..steps {
            let step = if scan.reverse { steps - 1 - turn } else { turn };
            self.cx.bound[scan.axis] = Some(step as i64);
            for (param, carry) in body.params.iter().zip(&carries) {
                self.values[*param] = Some(carry.clone());
            }
            self.region(scan.body)?;
            for (k, result) in yields.iter().enumerate() {
                rows[k][step] = Some(self.with_axes(&self.read(*result), &stacked[k])?.values);
            }
            let new = next
                .iter()
                .zip(&body.params)
                .map(|(next, param)| self.with_axes(&self.read(*next), &graph.nodes[*param].axes));
            carries = new.collect::<Result<_, _>>()?;
        }
        self.cx.bound[scan.axis] = None;
        for ((rows, axes), result) in rows.into_iter().zip(stacked).zip(yields) {
            let all = union(&axes, &[scan.axis]);
            let place = Place(all.iter().position(|axis| *axis == scan.axis).unwrap_or(0));
            let rows: Vec<ArrayD<Number>> = rows.into_iter().flatten().collect();
            let views: Vec<_> = rows.iter().map(|row| row.view()).collect();
            let values = match ndarray::stack(place, &views) {
                Ok(values) => values,
                // Nothing can be stacked of nothing.
                Err(_) => ArrayD::from_elem(IxDyn(&self.cx.shape(&all)?), Number::Int(0)),
            };
            carries.push(Array { axes: all, dtype: graph.nodes[*result].dtype, values });
        }
        Ok(carries)
    }

    /// The array with all of these axes that are not bound.
    fn with_axes(&self, array: &Array, axes: &[Axis]) -> Result<Array, EvalError> {
        let axes = self.cx.free(axes);
        if array.axes == axes {
            return Ok(array.clone());
        }
        let shape = self.cx.shape(&axes)?;
        let values = ArrayD::from_shape_vec(IxDyn(&shape), array.spread(&axes, &shape));
        Ok(Array { values: values.expect("one value for each index"), axes, dtype: array.dtype })
    }
}

fn all_axes(graph: &Graph, nodes: &[Node]) -> AxisSet {
    set(nodes.iter().flat_map(|node| graph.nodes[*node].axes.iter().copied()))
}

/// For each position the region's own values that are read there for the last time.
fn last_uses(graph: &Graph, data: &RegionData) -> Vec<Vec<Node>> {
    let mut last = vec![Vec::new(); data.nodes.len()];
    let mut seen: HashSet<Node> = data.results.iter().copied().collect();
    let own: HashSet<Node> = data.nodes.iter().copied().collect();
    for (at, node) in data.nodes.iter().enumerate().rev() {
        for read in reads(graph, *node) {
            if own.contains(&read) && seen.insert(read) {
                last[at].push(read);
            }
        }
    }
    last
}

impl Array {
    fn from_tensor(tensor: &Tensor, order: &[Axis]) -> Array {
        let axes = set(order.iter().copied());
        let numbers = tensor.numbers().map(|number| crate::ops::saturate(number, tensor.dtype())).collect();
        let given =
            ArrayD::from_shape_vec(IxDyn(tensor.shape()), numbers).expect("as many as the shape says");
        let places: Vec<usize> =
            axes.iter().filter_map(|axis| order.iter().position(|own| own == axis)).collect();
        Array { axes, dtype: tensor.dtype(), values: given.permuted_axes(places) }
    }

    fn to_tensor(&self, order: &[Axis]) -> Tensor {
        let places: Vec<usize> = order.iter().filter_map(|axis| self.place(*axis)).collect();
        let view = self.values.view().permuted_axes(places);
        fn convert<T: Element>(view: &ndarray::ArrayViewD<Number>) -> Tensor {
            let entries = view.iter().map(|number| T::from_number(*number)).collect();
            Tensor::from_vec(view.shape(), entries).expect("as many as the shape says")
        }
        match self.dtype {
            DType::F32 => convert::<f32>(&view),
            DType::F64 => convert::<f64>(&view),
            DType::BF16 => convert::<half::bf16>(&view),
            DType::F16 => convert::<half::f16>(&view),
            DType::I32 => convert::<i32>(&view),
            DType::I64 => convert::<i64>(&view),
            DType::U8 => convert::<u8>(&view),
            DType::Bool => convert::<bool>(&view),
        }
    }
}
