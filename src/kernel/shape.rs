//! Which kernels are one piece of code.

use cranelift_entity::PrimaryMap;

use super::{Arg, ArgDecl, Kernel, Size, Stmt, Val, Var};
use crate::tensor::DType;

/// A kernel as far as its code depends on it: all but its name, its place in the source and the values of its sizes, which stand in a table.
#[derive(PartialEq, Eq, Hash)]
pub struct Shape<'a> {
    args: &'a PrimaryMap<Arg, ArgDecl>,
    sizes: usize,
    grid: &'a [(Var, Size)],
    vars: usize,
    vals: &'a PrimaryMap<Val, DType>,
    body: &'a [Stmt],
}

impl Kernel {
    /// Kernels of the same shape have the same code.
    pub fn shape(&self) -> Shape<'_> {
        let Kernel { args, sizes, grid, vars, vals, body, name: _, span: _ } = self;
        Shape { args, sizes: sizes.len(), grid, vars: vars.len(), vals, body }
    }
}

#[cfg(test)]
mod tests {
    use crate::axes::Dim;
    use crate::base::{FileId, Span};
    use crate::kernel::{Address, BodyBuilder, Coord, Kernel, Range, Size};
    use crate::tensor::DType;

    /// y = x + c over so many numbers.
    fn shifted(name: &str, len: &str, by: f32) -> Kernel {
        let mut b = BodyBuilder::new(name, Span::new(FileId(0), 0, 0));
        let (from, to) = (b.read(DType::F32), b.write(DType::F32));
        let of = b.size_in_table(&Dim::var(len));
        b.for_lanes(Range::Full(of), |b, i| {
            let at = Address::of([(Coord::Var(i), Size::Const(1))]);
            let (x, c) = (b.load(from, at.clone()), b.f32(by));
            let y = b.add(x, c);
            b.store(to, at, y);
        });
        b.finish()
    }

    #[test]
    fn names_and_sizes_are_no_part_of_the_code_but_signs_of_zero_are() {
        let one = shifted("one", "N", 0.0);
        assert!(one.shape() == shifted("two", "M", 0.0).shape());
        assert!(one.shape() != shifted("one", "N", -0.0).shape());
        let nan = shifted("one", "N", f32::NAN);
        assert!(nan.shape() == nan.clone().shape());
    }
}
