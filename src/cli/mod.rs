//! The command line: arguments in, text and exit codes out.
//!
//! 0 fine; 1 an error in the program, a failed test, a loss that is not finite; 2 usage; 3 a file or data; 4 a limit;
//! 130 interrupted, after the checkpoint. Results go to standard output, messages to standard error.

mod arguments;
mod asserted;
mod bench;
mod check;
mod compile;
mod console;
mod eval;
mod explain;
mod fmt;
mod full;
mod graph;
mod library;
mod new;
mod prepare;
mod progress;
mod run;
mod sample;
mod summary;
mod target;
mod test;
mod train;
mod verify;
mod weights;

use std::process::ExitCode;

use clap::Parser;

use crate::repl::{self, Options};

use arguments::{Cli, Command};
use console::Console;

/// A stack for programs that nest deeply: the limits of the compiler are met before it ends.
const STACK: usize = 512 << 20;

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no mistakes.
            let code = if error.use_stderr() { 2 } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    on_defect();
    let worker = std::thread::Builder::new().name("nnc".into()).stack_size(STACK).spawn(move || execute(cli));
    match worker.map(std::thread::JoinHandle::join) {
        Ok(Ok(code)) => ExitCode::from(code),
        // The hook has spoken.
        Ok(Err(_)) => ExitCode::from(101),
        Err(error) => {
            eprintln!("error: no thread can be started: {error}");
            ExitCode::from(4)
        }
    }
}

fn execute(cli: Cli) -> u8 {
    let mut console = Console::new(cli.global.json);
    let result = match &cli.command {
        Command::Check(arguments) => check::check(&cli.global, arguments, &mut console),
        Command::Compile(arguments) => compile::compile(&cli.global, arguments, &mut console),
        Command::Run(arguments) => run::run(&cli.global, arguments, &mut console),
        Command::Sample(arguments) => sample::sample(&cli.global, arguments, &mut console),
        Command::Train(arguments) => train::train(&cli.global, arguments, &mut console),
        Command::Eval(arguments) => eval::eval(&cli.global, arguments, &mut console),
        Command::Weights(arguments) => weights::weights(&cli.global, arguments, &mut console),
        Command::Bench(arguments) => bench::bench(&cli.global, arguments, &mut console),
        Command::Test(arguments) => test::test(&cli.global, arguments, &mut console),
        Command::New(arguments) => new::new(&cli.global, arguments, &mut console),
        Command::Graph(arguments) => graph::graph(&cli.global, arguments, &mut console),
        Command::Fmt(arguments) => fmt::fmt(&cli.global, arguments, &mut console),
        Command::Verify(arguments) => verify::verify(&cli.global, arguments, &mut console),
        Command::Repl(arguments) => Ok(repl::run(&Options {
            dims: cli.global.settings().dims,
            wide: cli.global.settings().wide,
            threads: cli.global.threads(),
            seed: arguments.seed,
            file: arguments.file.clone(),
        })),
        Command::Lsp => match crate::lsp::serve() {
            Ok(()) => Ok(0),
            Err(error) => Err(console::Stop::Usage(format!(
                "the editor and nnc lsp do not understand each other: {error}"
            ))),
        },
        Command::Explain(arguments) => explain::explain(arguments, &mut console),
    };
    let code = match result {
        Ok(code) => code,
        Err(stop) => console.stop(stop),
    };
    console.finish(code)
}

/// A panic is a defect of nnc, and says so.
fn on_defect() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(|place| format!(" at {}:{}", place.file(), place.line()));
        let text = info.payload().downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| info.payload().downcast_ref::<String>().cloned()).unwrap_or_default();
        let _ = std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!(
                "error: this is a defect of nnc{}: {text}\n  = help: please report it, with the program and the command\n",
                place.unwrap_or_default()
            ),
        );
    }));
}
