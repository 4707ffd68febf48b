//! Compiled kernels, whoever compiled them.

use std::any::Any;

use cranelift_entity::PrimaryMap;
use thiserror::Error;

use crate::kernel::KernelId;

/// `(args, sizes, begin, end, scratch)`: runs the points `begin..end` of the grid. `args` are the pointers of the buffer arguments in order,
/// `sizes` the rows of the kernel's table, `scratch` as many bytes as [`crate::kernel::Kernel::scratch_layout`] ends at, 64-byte aligned.
#[cfg(target_arch = "x86_64")]
pub type KernelFn = unsafe extern "sysv64" fn(*const *mut u8, *const i64, i64, i64, *mut u8);
#[cfg(not(target_arch = "x86_64"))]
pub type KernelFn = unsafe extern "C" fn(*const *mut u8, *const i64, i64, i64, *mut u8);

/// Calls a kernel with subnormal f32 flushed: the kernel, then its own arguments.
#[cfg(target_arch = "x86_64")]
pub(super) type Door = unsafe extern "sysv64" fn(KernelFn, *const *mut u8, *const i64, i64, i64, *mut u8);
#[cfg(not(target_arch = "x86_64"))]
pub(super) type Door = unsafe extern "C" fn(KernelFn, *const *mut u8, *const i64, i64, i64, *mut u8);

/// Why kernels have no code: a defect of the compiler, or memory that the system refuses.
#[derive(Debug, Error)]
#[error("code generation failed in `{kernel}`: {message}")]
pub struct CodegenError {
    pub kernel: String,
    pub message: String,
}

impl CodegenError {
    pub fn new(kernel: &str, message: impl std::fmt::Display) -> CodegenError {
        CodegenError { kernel: kernel.to_owned(), message: message.to_string() }
    }
}

/// The machine code of a program's kernels; it is freed with this value.
pub struct Code {
    pub(super) kernels: PrimaryMap<KernelId, Entry>,
    pub(super) door: Option<Door>,
    /// Bytes of machine code, of all kernels.
    pub(super) size: usize,
    /// What the code lives in.
    pub(super) _memory: Box<dyn Any + Send + Sync>,
}

pub(super) struct Entry {
    pub code: KernelFn,
    pub flushes: bool,
}

impl Code {
    /// Bytes of machine code of all kernels.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Runs the points `begin..end` of a kernel's grid.
    ///
    /// # Safety
    /// The arguments are what [`KernelFn`] says, the buffers hold what the kernel reads and writes there, and no one else touches what it
    /// writes meanwhile.
    pub unsafe fn run(
        &self,
        kernel: KernelId,
        args: *const *mut u8,
        sizes: *const i64,
        begin: i64,
        end: i64,
        scratch: *mut u8,
    ) {
        let entry = &self.kernels[kernel];
        match self.door {
            // SAFETY: the caller's promise; the door passes it on.
            Some(door) if entry.flushes => unsafe { door(entry.code, args, sizes, begin, end, scratch) },
            // SAFETY: the caller's promise.
            _ => unsafe { (entry.code)(args, sizes, begin, end, scratch) },
        }
    }
}
