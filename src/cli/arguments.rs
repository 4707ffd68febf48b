//! What can be written behind `nnc`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::axes::DimVar;
use crate::base::Name;
use crate::check::train::Overrides;
use crate::check::{Num, Value};
use crate::session::{Settings, Stage};
use crate::tensor::DType;
use crate::train::Rename;

use super::target::Target;

/// A compiler for neural networks: proves their symmetries, trains and runs them on the CPU.
#[derive(Parser)]
#[command(name = "nnc", version, arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Args)]
pub struct Global {
    /// Print results as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Fix a dim when compiling; may be given several times
    #[arg(long = "dim", global = true, value_name = "NAME=SIZE", value_parser = dim)]
    pub dims: Vec<(DimVar, i64)>,
    /// Read the program's f32 as this type
    #[arg(long, global = true, value_enum, default_value_t = Float::F32)]
    pub float: Float,
    /// Print what each stage of the compiler took
    #[arg(long, global = true)]
    pub timings: bool,
    /// Threads that kernels run on [default: one for each processor]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Float {
    F32,
    F64,
}

#[derive(Subcommand)]
pub enum Command {
    /// Check a program, and say what is proved of it
    Check(CheckArguments),
    /// Compile a model to a library for C; or print a stage or a summary
    Compile(CompileArguments),
    /// Run a model on arrays
    Run(RunArguments),
    /// Write on a text with a model of characters
    Sample(SampleArguments),
    /// Train a model as its file says
    Train(TrainArguments),
    /// Measure trained weights on the samples that a train block holds out
    Eval(EvalArguments),
    /// List a model's weights; check, rename and convert files of them
    Weights(WeightsArguments),
    /// Measure how long a model or a training step takes, and where
    Bench(BenchArguments),
    /// Run the test blocks of a file or of the library
    Test(TestArguments),
    /// Try every theorem of a program on random inputs
    Verify(VerifyArguments),
    /// Try the language line by line
    Repl(ReplArguments),
    /// Begin a program: a folder with one that trains
    New(NewArguments),
    /// Draw a model: its layers, and what flows between them
    Graph(GraphArguments),
    /// Format files
    Fmt(FmtArguments),
    /// Answer an editor by the language server protocol, at standard input and output
    Lsp,
    /// Explain an error code, with a wrong and a right program; without one list them all
    Explain(ExplainArguments),
}

#[derive(Args)]
pub struct CheckArguments {
    /// The program; `FILE:NAME` checks one item
    #[arg(value_name = "FILE[:NAME]")]
    pub target: Target,
    /// Say what holds of each axis of a definition, and what breaks the rest
    #[arg(long, value_name = "NAME")]
    pub explain: Option<String>,
    /// For a definition that is rejected, look for inputs that break what it declares
    #[arg(long)]
    pub counterexample: bool,
}

#[derive(Args)]
pub struct CompileArguments {
    /// The program; `FILE:NAME` picks a definition or a train block
    #[arg(value_name = "FILE[:NAME]")]
    pub source: Target,
    /// Print a stage: tokens, ast, types, graph, after=PASS, kernels, clif, asm
    #[arg(long, value_name = "STAGE")]
    pub emit: Option<Stage>,
    /// Print parameters, layers, memory and times
    #[arg(long)]
    pub summary: bool,
    /// Compile the training step of a train block
    #[arg(long)]
    pub train: bool,
    /// Leave out fusion: one kernel for each node
    #[arg(long)]
    pub plain: bool,
    #[command(flatten)]
    pub library: LibraryArguments,
}

/// What `nnc compile` writes where it prints nothing else.
#[derive(Args)]
pub struct LibraryArguments {
    /// The library: *.a, *.o or *.so; its header PREFIX.h goes beside it [default: PREFIX.a]
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["emit", "summary"])]
    pub output: Option<PathBuf>,
    /// What its functions' names begin with [default: the model's name]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["emit", "summary"])]
    pub prefix: Option<String>,
    /// Put these trained weights into the library
    #[arg(long, value_name = "FILE", conflicts_with_all = ["emit", "summary"])]
    pub weights: Option<PathBuf>,
    /// Take what the file of weights calls OLD, and what is below it, for NEW; with .permute(1,0) behind it, its axes in that order
    #[arg(long = "map", value_name = "OLD=NEW", requires = "weights")]
    pub renames: Vec<Rename>,
    /// Write the weights beside the library, not into it
    #[arg(long, requires = "weights")]
    pub weights_file: bool,
    /// Map the model over a first axis of this size, a name
    #[arg(long, value_name = "NAME", conflicts_with_all = ["emit", "summary", "train"])]
    pub batch: Option<String>,
    /// The processors that the library is for
    #[arg(long, value_name = "CPU", value_enum, default_value_t = Cpu::Any, conflicts_with_all = ["emit", "summary"])]
    pub target: Cpu,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Cpu {
    /// All of this machine's architecture, using what the processor has: an x86-64 from v3 on, or any 64-bit ARM
    Any,
    /// What this machine has
    Native,
    /// Without AVX and fused multiply-add: slower, and rounded in its own way
    #[value(name = "x86-64-v2")]
    V2,
    /// AVX2 and FMA
    #[value(name = "x86-64-v3")]
    V3,
    /// AVX2, FMA and AVX-512
    #[value(name = "x86-64-v4")]
    V4,
    /// Any 64-bit ARM
    Aarch64,
}

// Where the weights of a model come from. Without a doc comment, which would be told as that of the command.
#[derive(Args)]
pub struct WeightsFrom {
    /// A file of weights, as training writes it: safetensors, or npz
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Take what the file of weights calls OLD, and what is below it, for NEW; with .permute(1,0) behind it, its axes in that order
    #[arg(long = "map", value_name = "OLD=NEW", requires = "weights")]
    pub renames: Vec<Rename>,
    /// Draw the weights anew, with this seed
    #[arg(long, value_name = "N", conflicts_with = "weights")]
    pub seed: Option<u64>,
}

#[derive(Args)]
pub struct RunArguments {
    /// The program; `FILE:NAME` picks a definition
    #[arg(value_name = "FILE[:NAME]")]
    pub target: Target,
    #[command(flatten)]
    pub from: WeightsFrom,
    /// An array for an input, from FILE.npy or, of an archive, FILE.npz:ARRAY; axes before the model's own are mapped over
    #[arg(long = "input", value_name = "NAME=FILE.npy", value_parser = assignment)]
    pub inputs: Vec<(Option<String>, PathBuf)>,
    /// Where an output goes; without it outputs are printed
    #[arg(long = "output", value_name = "NAME=FILE.npy", value_parser = assignment)]
    pub outputs: Vec<(Option<String>, PathBuf)>,
}

#[derive(Args)]
pub struct WeightsArguments {
    /// The program; `FILE:NAME` picks a definition or a train block
    #[arg(value_name = "FILE[:NAME]")]
    pub target: Target,
    #[command(flatten)]
    pub from: WeightsFrom,
    /// Write them to this file, *.safetensors or *.npz
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The type of all floats in that file [default: the program's]
    #[arg(long, value_name = "TYPE", value_enum, requires = "output")]
    pub dtype: Option<FloatType>,
}

/// A type of floats that files have.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FloatType {
    F64,
    F32,
    F16,
    Bf16,
}

impl FloatType {
    pub fn dtype(self) -> DType {
        match self {
            FloatType::F64 => DType::F64,
            FloatType::F32 => DType::F32,
            FloatType::F16 => DType::F16,
            FloatType::Bf16 => DType::BF16,
        }
    }
}

#[derive(Args)]
pub struct SampleArguments {
    /// The program; `FILE:NAME` picks a model of type Idx[V][T] -> f32[T, V]
    #[arg(value_name = "FILE[:NAME]")]
    pub target: Target,
    /// The file of weights that training wrote
    #[arg(long, value_name = "FILE")]
    pub weights: PathBuf,
    /// The text that it was trained on, for its characters
    #[arg(long, value_name = "FILE")]
    pub text: PathBuf,
    /// How the text begins
    #[arg(long, value_name = "TEXT", default_value = "\n")]
    pub prompt: String,
    /// How many characters are written
    #[arg(long, value_name = "N", default_value_t = 400)]
    pub length: u32,
    /// How many characters the model is shown at most
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    pub context: u16,
    /// Scores are divided by it: below 1 the likely becomes more likely
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = positive)]
    pub temperature: f32,
    /// The seed of the draws
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

#[derive(Args)]
pub struct TrainArguments {
    /// The program; `FILE:NAME` picks a train block
    #[arg(value_name = "FILE[:NAME]")]
    pub target: Target,
    #[command(flatten)]
    pub overrides: OverrideArguments,
    /// Number of passes over the training samples
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub epochs: Option<u32>,
    /// Number of steps, instead of passes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "epochs")]
    pub steps: Option<u64>,
    /// The seed of all random draws [default: 0]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Where weights, metrics and the checkpoint go [default: runs/NAME]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Go on from the checkpoint
    #[arg(long)]
    pub resume: bool,
}

#[derive(Args)]
pub struct EvalArguments {
    /// The program; `FILE:NAME` picks a train block
    #[arg(value_name = "FILE[:NAME]")]
    pub target: Target,
    /// The file of weights that training wrote
    #[arg(long, value_name = "FILE")]
    pub weights: PathBuf,
    #[command(flatten)]
    pub overrides: OverrideArguments,
}

#[derive(Args)]
pub struct BenchArguments {
    /// The program; `FILE:NAME` picks a definition or, with --train, a train block
    #[arg(value_name = "FILE[:NAME]")]
    pub target: Target,
    /// The training step of a train block, on its first samples; else a model on random inputs
    #[arg(long)]
    pub train: bool,
    #[command(flatten)]
    pub overrides: OverrideArguments,
    /// The seed of weights and inputs
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// How long is measured
    #[arg(long, value_name = "S", default_value_t = 2.0, value_parser = duration)]
    pub seconds: f64,
    /// Also show the ten costliest kernels
    #[arg(long)]
    pub profile: bool,
}

/// What a command may change in a train block.
#[derive(Args)]
pub struct OverrideArguments {
    /// Set a parameter of the train block; may be given several times
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = setting)]
    pub set: Vec<(String, Setting)>,
    /// Samples of a step
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: Option<u32>,
}

#[derive(Args)]
pub struct TestArguments {
    /// Programs, in this order; of a folder, all programs in it and below; `FILE:NAME` picks a block
    #[arg(value_name = "FILE[:NAME]", required_unless_present = "std", conflicts_with = "std")]
    pub files: Vec<Target>,
    /// Run the tests of the library
    #[arg(long)]
    pub std: bool,
    /// Run the tests in the interpreter
    #[arg(long)]
    pub interpret: bool,
    /// Train each block that expects something, too, and print figures against expectations
    #[arg(long, conflicts_with_all = ["interpret", "std"])]
    pub full: bool,
    /// With how many seeds each block is trained
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..), requires = "full")]
    pub seeds: u16,
    /// The first of them
    #[arg(long, value_name = "N", default_value_t = 0, requires = "full")]
    pub seed: u64,
}

#[derive(Args)]
pub struct NewArguments {
    /// The folder to make; its last part names the program
    #[arg(value_name = "NAME")]
    pub folder: PathBuf,
}

#[derive(Args)]
pub struct GraphArguments {
    /// The program; `FILE:NAME` picks a definition
    #[arg(value_name = "FILE[:NAME]")]
    pub target: Target,
    /// The picture: *.svg, or *.dot for Graphviz [default: NAME.svg]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Args)]
pub struct FmtArguments {
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Change nothing; exit with 1 if a file is not formatted
    #[arg(long)]
    pub check: bool,
}

#[derive(Args)]
pub struct VerifyArguments {
    /// The program; `FILE:NAME` tries one definition
    #[arg(value_name = "FILE[:NAME]")]
    pub target: Target,
    /// The seed of sizes, weights and inputs
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

#[derive(Args)]
pub struct ReplArguments {
    /// A program whose definitions are loaded first
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The seed of parameters and random draws
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

#[derive(Args)]
pub struct ExplainArguments {
    /// As in `E0214`
    #[arg(value_name = "CODE")]
    pub code: Option<String>,
}

/// A value on the command line. Values of the checker share memory in one thread; this one may travel.
#[derive(Clone, Debug)]
pub enum Setting {
    Int(i64),
    Real(f64),
    Bool(bool),
    Text(String),
}

impl Global {
    pub fn settings(&self) -> Settings {
        let dims: BTreeMap<DimVar, i64> = self.dims.iter().cloned().collect();
        Settings { dims, wide: self.float == Float::F64, ..Settings::default() }
    }

    pub fn threads(&self) -> usize {
        let available = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.threads.map_or_else(available, usize::from)
    }
}

impl OverrideArguments {
    pub fn overrides(&self, epochs: Option<u32>) -> Overrides {
        let value = |setting: &Setting| match setting {
            Setting::Int(value) => Value::Num(Num::constant(*value)),
            Setting::Real(value) => Value::Num(Num::real(*value)),
            Setting::Bool(value) => Value::Bool(*value),
            Setting::Text(text) => Value::Str(Name::new(text)),
        };
        let statics = self.set.iter().map(|(name, setting)| (Name::new(name), value(setting))).collect();
        let count = |count: Option<u32>| count.map(|count| count as usize);
        Overrides { statics, epochs: count(epochs), steps: None, batch: count(self.batch) }
    }
}

/// `D=64`
fn dim(text: &str) -> Result<(DimVar, i64), String> {
    let form = "write a name and a size: --dim D=64";
    let (name, size) = text.split_once('=').ok_or(form)?;
    let plain = name.chars().all(|c| c.is_alphanumeric() || c == '_') && !name.is_empty();
    match size.parse::<i64>() {
        Ok(size) if plain && (0..=i64::from(i32::MAX)).contains(&size) => Ok((DimVar::new(name), size)),
        Ok(_) if plain => Err(format!("{size} is no size of an axis")),
        _ => Err(form.to_owned()),
    }
}

/// `lr=3e-4`
fn setting(text: &str) -> Result<(String, Setting), String> {
    let (name, value) = text.split_once('=').ok_or("write a name and a value: --set lr=3e-4")?;
    let value = match (value.parse::<i64>(), value.parse::<f64>(), value) {
        (Ok(value), ..) => Setting::Int(value),
        (_, Ok(value), _) if value.is_finite() => Setting::Real(value),
        (.., "true") => Setting::Bool(true),
        (.., "false") => Setting::Bool(false),
        _ => Setting::Text(value.to_owned()),
    };
    Ok((name.to_owned(), value))
}

/// `x=a.npy`, or `a.npy` where there is one input only.
fn assignment(text: &str) -> Result<(Option<String>, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => {
            Ok((Some(name.to_owned()), path.into()))
        }
        None if !text.is_empty() => Ok((None, text.into())),
        _ => Err("write a name and a file: x=a.npy".to_owned()),
    }
}

/// Seconds, at most an hour.
fn duration(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 3600.0 => Ok(seconds),
        _ => Err("a number of seconds above 0, at most 3600, is wanted".to_owned()),
    }
}

fn positive(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err("a number above 0 is wanted".to_owned()),
    }
}
