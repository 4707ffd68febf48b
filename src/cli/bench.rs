//! `nnc bench`: how long a model or a training step takes, how near to the machine's peak that is, and which kernels take it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::axes::DimVar;
use crate::base::{Name, Sources};
use crate::check::core::{Core, Elem, InputInfo};
use crate::check::train::TrainPlan;
use crate::diag::Diagnostic;
use crate::elaborate::Part;
use crate::runtime::{Array, Dims};
use crate::session::{self, Failure, Settings, Timings, What, broken_constraints, milliseconds, sizing_dims};
use crate::tensor::random::{Key, site};
use crate::tensor::{DType, Tensor};
use crate::tiles::{self, Isa};
use crate::train::{
    Bench, Dataset, KernelTime, Spread, Store, Unit, batch_dims, errors, fill, initial, split,
};

use super::arguments::{BenchArguments, Global};
use super::console::{Console, Stop};
use super::prepare::{Prepared, failed, prepare, stop};
use super::train::pool;

/// Kernels that a profile shows.
const SHOWN: usize = 10;

/// Programs with everything that they run on.
struct Subject {
    /// "a training step", "a run"
    what: &'static str,
    units: Vec<Unit>,
    /// How many times each runs before the next does.
    repeats: Vec<usize>,
    arguments: Vec<Array>,
    store: Store,
    dims: Dims,
    /// Samples of a run, where it has a batch.
    batch: Option<usize>,
}

pub fn bench(global: &Global, arguments: &BenchArguments, console: &mut Console) -> Result<u8, Stop> {
    let mut settings = global.settings();
    if arguments.train {
        settings.overrides = arguments.overrides.overrides(None);
    } else if !arguments.overrides.set.is_empty() {
        return Err(Stop::Usage("--set is for train blocks: give --train too".into()));
    }
    let (called, allowed): (&str, &[What]) = match arguments.train {
        true => ("train block", &[What::Train]),
        false => ("model", &[What::Model, What::Layer, What::Fn]),
    };
    let prepared = prepare(&arguments.target, called, allowed, &settings, console)?;
    let pool = pool(global)?;
    let mut timings = prepared.session.timings;
    let mut compiler = Compiler { settings: &settings, timings: &mut timings, seed: arguments.seed };
    let Subject { what, units, repeats, arguments: arrays, store, dims, batch } = match &prepared.item.plan {
        Some(plan) => compiler.step(&prepared, plan, &pool)?,
        None => compiler.model(&prepared, arguments.overrides.batch, &pool)?,
    };
    console.timings(global.timings, &timings);
    let fail = failed(&prepared.session);
    let mut bench = Bench {
        units: &units,
        repeats: &repeats,
        dims: &dims,
        arguments: &arrays,
        store,
        seed: arguments.seed,
        pool: &pool,
    };
    let long = Duration::from_secs_f64(arguments.seconds);
    let spread = bench.steps(long).map_err(&fail)?;
    let kernels = match arguments.profile {
        true => bench.profile(long).map_err(&fail)?,
        false => bench.kernels().map_err(&fail)?,
    };
    let report = Report {
        name: prepared.item.name.clone(),
        what,
        batch,
        threads: pool.threads(),
        peak: tiles::peak(Isa::best()),
        arena: units.iter().map(|unit| unit.exec.arena(&dims).unwrap_or(0)).max().unwrap_or(0),
        spread,
        kernels,
        profile: arguments.profile,
    };
    if console.json {
        console.json(&report.json(&units, &prepared.session.sources));
    } else {
        console.print(&report.text(&units, &prepared.session.sources));
    }
    Ok(0)
}

struct Compiler<'a> {
    settings: &'a Settings,
    timings: &'a mut Timings,
    seed: u64,
}

impl Compiler<'_> {
    fn unit(&mut self, core: &Core, part: Part, dims: &Dims) -> Result<Unit, Failure> {
        session::compile(core, part, dims, self.settings, self.timings)
    }

    /// A training step on the first training samples; where the batch is larger than all of them, some again. Of a batch in parts, which are
    /// of one size here, each part is the first.
    fn step(
        &mut self,
        prepared: &Prepared,
        plan: &TrainPlan,
        pool: &crate::runtime::Pool,
    ) -> Result<Subject, Stop> {
        let fail = failed(&prepared.session);
        let on_disk = prepared.session.on_disk();
        let samples = split(plan).map_err(&fail)?.train;
        let data = Dataset::load(plan, &|path, span| on_disk.path(path, span)).map_err(&fail)?;
        // As many for all optimizers.
        let parts = plan.steps.iter().find_map(|step| step.in_parts.as_ref()).map_or(1, |parts| parts.count);
        let part = plan.batch.div_ceil(parts);
        let rows: Vec<u32> = samples.into_iter().cycle().take(part).collect();
        let mut arguments = data.batch(rows.len()).map_err(&fail)?;
        data.gather(&rows, &mut arguments, Some(pool));
        let mut compile = |core, part| self.unit(core, part, &self.settings.dims).map_err(&fail);
        let (mut units, mut repeats, mut inits) = (Vec::new(), Vec::new(), Vec::new());
        for step in &plan.steps {
            inits.push(compile(&step.core, Part::Init)?);
            match &step.in_parts {
                None => units.push(compile(&step.core, Part::Body)?),
                Some(parts) => {
                    units.push(compile(&parts.gradients, Part::Body)?);
                    repeats.push(parts.count);
                    units.push(compile(&parts.update, Part::Body)?);
                }
            }
            repeats.push(1);
        }
        let store = initial(plan, &inits, self.seed, pool).map_err(&fail)?;
        let (dims, batch) = (batch_dims(plan, rows.len()), Some(part * parts));
        Ok(Subject { what: "a training step", units, repeats, arguments, store, dims, batch })
    }

    /// A model at inference, on random inputs.
    fn model(
        &mut self,
        prepared: &Prepared,
        batch: Option<u32>,
        pool: &crate::runtime::Pool,
    ) -> Result<Subject, Stop> {
        let (session, item) = (&prepared.session, &prepared.item);
        let fail = failed(session);
        let plain = item.alone().map_err(|found| stop(session, found))?;
        let mut dims = self.settings.dims.clone();
        let mapped;
        let core = match batch {
            None => plain,
            Some(size) => {
                if plain.inputs.is_empty() {
                    return Err(Stop::Usage(format!("`{}` has no inputs to make a batch of", item.name)));
                }
                // No name of a program has such a mark.
                let samples = Name::new("sample'");
                let core = session.mapped(item, &[samples], &|_| true, self.settings);
                mapped = core.map_err(|found| stop(session, found))?;
                let axis = mapped.inputs.first().and_then(|input| input.axes.first());
                if let Some(var) = axis.and_then(|&axis| mapped.size(axis).as_var().cloned()) {
                    dims.insert(var, i64::from(size));
                }
                &mapped
            }
        };
        let open = open_dims(core, &dims);
        if !open.is_empty() {
            let open: Vec<String> = open.iter().map(|dim| format!("--dim {dim}=…")).collect();
            return Err(Stop::Usage(format!("`{}` has open sizes: give {}", item.name, open.join(" "))));
        }
        let broken = broken_constraints(core, &dims);
        if !broken.is_empty() {
            return Err(stop(session, broken));
        }
        // As `nnc run` compiles it: what sizes a parameter is fixed, one program serves all other sizes.
        let sizing = sizing_dims(core);
        let mut fixed = self.settings.dims.clone();
        fixed.extend(
            dims.iter().filter(|(dim, _)| sizing.contains(*dim)).map(|(dim, size)| (dim.clone(), *size)),
        );
        let memory = |error: crate::runtime::OutOfMemory| fail(Box::new(errors::not_run(&error.into())));
        let unit = self.unit(core, Part::Body, &fixed).map_err(&fail)?;
        let mut store = Store::of(core, &fixed).map_err(memory)?;
        if !store.tensors.is_empty() {
            let init = self.unit(core, Part::Init, &fixed).map_err(&fail)?;
            fill(&mut store, &init, &BTreeMap::new(), self.seed, pool).map_err(&fail)?;
        }
        let arguments: Result<Vec<Array>, Box<Diagnostic>> =
            core.inputs.iter().map(|input| random(core, input, &dims, self.seed)).collect();
        let (arguments, batch) = (arguments.map_err(&fail)?, batch.map(|size| size as usize));
        Ok(Subject { what: "a run", units: vec![unit], repeats: vec![1], arguments, store, dims, batch })
    }
}

/// The dims of a core's inputs that have no size.
fn open_dims(core: &Core, dims: &Dims) -> Vec<DimVar> {
    let sizes = core.inputs.iter().flat_map(|input| &input.axes).map(|&axis| core.size(axis));
    let bounds = core.inputs.iter().filter_map(bound_of);
    let mut open: Vec<DimVar> = sizes.chain(bounds).flat_map(|size| core.expand(&size).vars()).collect();
    open.extend(sizing_dims(core));
    open.retain(|dim| !dims.contains_key(dim));
    open.sort();
    open.dedup();
    open
}

fn bound_of(input: &InputInfo) -> Option<crate::axes::Dim> {
    match &input.elem {
        Elem::Idx(size, _) => Some(size.clone()),
        Elem::Of(_) => input.bound.clone(),
    }
}

/// An input's entries: standard normal numbers, positions below their bound, small integers, coins.
fn random(core: &Core, input: &InputInfo, dims: &Dims, seed: u64) -> Result<Array, Box<Diagnostic>> {
    let size = |size: &crate::axes::Dim| {
        let value = core.expand(size).eval(dims).map_err(|error| errors::not_bound(&error.into()))?;
        usize::try_from(value).map_err(|_| errors::not_bound(&session_negative(input, value)))
    };
    let shape: Vec<usize> =
        input.axes.iter().map(|&axis| size(&core.size(axis))).collect::<Result<_, Diagnostic>>()?;
    let count = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size));
    let dtype = input.elem.dtype();
    let too_large = || Box::new(errors::not_run(&crate::runtime::OutOfMemory(usize::MAX).into()));
    let count = count.filter(|count| count.checked_mul(dtype.size()).is_some()).ok_or_else(too_large)?;
    let key = Key::new(seed, site(&input.name));
    let tensor = if dtype.is_float() {
        Tensor::from_vec(&shape, (0..count as u64).map(|at| key.normal(0, at)).collect::<Vec<f32>>())
    } else {
        let bound = match bound_of(input) {
            Some(bound) => size(&bound)?,
            None if dtype == DType::Bool => 2,
            None => 5,
        };
        let bound = u32::try_from(bound).unwrap_or(u32::MAX);
        let draw = |at| i64::from(key.below(0, at, bound));
        Tensor::from_vec(&shape, (0..count as u64).map(draw).collect::<Vec<i64>>())
    };
    let tensor = tensor.map_err(|_| too_large())?.cast(dtype);
    Array::from_tensor(&tensor).map_err(|error| Box::new(errors::not_run(&error.into())))
}

fn session_negative(input: &InputInfo, value: i64) -> crate::runtime::BindError {
    crate::runtime::BindError::Negative { name: input.name.clone(), value }
}

/// What was measured.
struct Report {
    name: Name,
    what: &'static str,
    batch: Option<usize>,
    threads: usize,
    /// GFLOP/s of one core.
    peak: Option<f64>,
    arena: usize,
    spread: Spread,
    kernels: Vec<KernelTime>,
    profile: bool,
}

impl Report {
    fn flops(&self) -> f64 {
        self.kernels.iter().map(|kernel| kernel.work.flops).sum()
    }

    fn bytes(&self) -> f64 {
        self.kernels.iter().map(|kernel| kernel.work.bytes).sum()
    }

    /// GFLOP/s of all threads.
    fn whole_peak(&self) -> Option<f64> {
        self.peak.map(|peak| peak * self.threads as f64)
    }

    fn json(&self, units: &[Unit], sources: &Sources) -> Value {
        let median = self.spread.median().as_secs_f64();
        let gflops = self.flops() / median / 1e9;
        let mut value = json!({
            "ok": true,
            "name": self.name.as_str(),
            "what": self.what,
            "batch": self.batch,
            "threads": self.threads,
            "runs": self.spread.runs(),
            "ms": {
                "median": milliseconds(self.spread.median()),
                "min": milliseconds(self.spread.quantile(0.0)),
                "p10": milliseconds(self.spread.quantile(0.1)),
                "p90": milliseconds(self.spread.quantile(0.9)),
            },
            "samples_per_second": self.batch.map(|batch| batch as f64 / median),
            "flops": self.flops(),
            "gflops": gflops,
            "peak_gflops": self.whole_peak(),
            "share_of_peak": self.whole_peak().map(|peak| gflops / peak),
            "bytes_moved": self.bytes(),
            "arena_bytes": self.arena,
        });
        if self.profile {
            let kernel = |timed: &KernelTime| {
                let kernel = &units[timed.unit].exec.program().kernels[timed.kernel];
                let start = sources.start(kernel.span);
                json!({
                    "name": kernel.name.as_str(),
                    "ms": milliseconds(timed.time),
                    "runs": timed.work.runs,
                    "flops": timed.work.flops,
                    "bytes_moved": timed.work.bytes,
                    "file": sources.name(kernel.span.file),
                    "line": start.line,
                    "column": start.column,
                })
            };
            value["kernels"] = self.kernels.iter().map(kernel).collect();
        }
        value
    }

    fn text(&self, units: &[Unit], sources: &Sources) -> String {
        use std::fmt::Write;
        let mut text = String::new();
        let seconds = self.spread.median().as_secs_f64();
        let batch = self.batch.map_or(String::new(), |batch| format!(", batch {batch}"));
        let threads = if self.threads == 1 { "1 thread".into() } else { format!("{} threads", self.threads) };
        let [low, high] = [0.1, 0.9].map(|share| shown(self.spread.quantile(share)));
        let _ = writeln!(text, "{}: {}{batch}, {threads}", self.name, self.what);
        let _ = writeln!(
            text,
            "  time        {}  (10 % below {low}, 90 % below {high}, {} runs)",
            shown(self.spread.median()),
            self.spread.runs()
        );
        if let Some(batch) = self.batch {
            let _ = writeln!(text, "  samples     {:.0} /s", batch as f64 / seconds);
        }
        let gflops = self.flops() / seconds / 1e9;
        let share = self.whole_peak().map_or(String::new(), |peak| {
            format!(", {:.1} % of the measured peak of {peak:.0}", 100.0 * gflops / peak)
        });
        let _ = writeln!(text, "  arithmetic  {:.4} Gflop, {gflops:.1} GFLOP/s{share}", self.flops() / 1e9);
        let _ = writeln!(
            text,
            "  memory      {:.3} MB moved, {:.1} GB/s; {:.3} MB of temporaries at once",
            self.bytes() / 1e6,
            self.bytes() / seconds / 1e9,
            self.arena as f64 / 1e6
        );
        if self.profile {
            self.table(&mut text, units, sources);
        }
        text
    }

    fn table(&self, text: &mut String, units: &[Unit], sources: &Sources) {
        use std::fmt::Write;
        let sum: Duration = self.kernels.iter().map(|kernel| kernel.time).sum();
        let share = |time: Duration| 100.0 * time.as_secs_f64() / sum.as_secs_f64().max(1e-12);
        let _ = writeln!(text, "      time  share   runs  GFLOP/s   GB/s  kernel                    source");
        for timed in self.kernels.iter().take(SHOWN) {
            let kernel = &units[timed.unit].exec.program().kernels[timed.kernel];
            let seconds = timed.time.as_secs_f64().max(1e-12);
            let start = sources.start(kernel.span);
            let line = sources.slice(kernel.span).lines().next().unwrap_or("").trim();
            let mut line: String = line.chars().take(48).collect();
            if line.len() < sources.slice(kernel.span).trim().len() {
                line.push('…');
            }
            let place = format!("{}:{}:{}", sources.name(kernel.span.file), start.line, start.column);
            let _ = writeln!(
                text,
                "{:>10} {:>5.1}% {:>6} {:>8.1} {:>6.1}  {:<24}  {place}  {line}",
                shown(timed.time),
                share(timed.time),
                timed.work.runs,
                timed.work.flops / seconds / 1e9,
                timed.work.bytes / seconds / 1e9,
                kernel.name,
            );
        }
        let rest = &self.kernels[SHOWN.min(self.kernels.len())..];
        if !rest.is_empty() {
            let time: Duration = rest.iter().map(|kernel| kernel.time).sum();
            let _ = writeln!(text, "{:>10} {:>5.1}%  {} kernels more", shown(time), share(time), rest.len());
        }
        // Starting kernels, copies, sorting; what each kernel takes is measured in runs of its own.
        let between = self.spread.median().saturating_sub(sum);
        let _ = writeln!(text, "{:>10}         between kernels", shown(between));
    }
}

fn shown(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds < 1e-3 => format!("{:.2} µs", seconds * 1e6),
        seconds if seconds < 1.0 => format!("{:.3} ms", seconds * 1e3),
        seconds => format!("{seconds:.3} s"),
    }
}
