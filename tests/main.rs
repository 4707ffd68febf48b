//! The one integration binary: every stage on golden files, the command line as users call it, and what must agree.

#[path = "main/agreement.rs"]
mod agreement;
#[path = "main/command.rs"]
mod command;
#[path = "main/golden.rs"]
mod golden;
#[path = "main/imports.rs"]
mod imports;
#[path = "main/training.rs"]
mod training;
