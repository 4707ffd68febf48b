//! Sums of products: `reduce sum (mul a b)` as `Contract`.

use super::{LowerError, Lowering};
use crate::graph::{Node, Region};

impl Lowering<'_> {
    pub(super) fn contraction(&mut self, _node: Node, _relu: Option<Node>) -> Result<bool, LowerError> {
        Ok(false)
    }
    pub(super) fn contraction_group(&mut self, _region: Region) -> Result<bool, LowerError> {
        Ok(false)
    }
    pub(super) fn feeds_contraction(&self, _node: Node) -> bool {
        false
    }
}
