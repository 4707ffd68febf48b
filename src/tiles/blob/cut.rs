//! How a contraction's output is cut into tiles.

/// `total` things cut into the fewest runs of at most `max`, whose lengths differ by one at most, the longer ones first: 64 rows by at most
/// 14 are 13, 13, 13, 13, 12. A short last run would waste the vectors and registers that the others fill.
#[derive(Clone, Copy)]
pub struct Runs {
    short: i64,
    long: i64,
    left: i64,
}

impl Runs {
    /// None, unless both are positive.
    #[inline(always)]
    pub fn of_at_most(total: i64, max: i64) -> Runs {
        Runs::new(total, if total > 0 && max > 0 { (total + max - 1) / max } else { 0 })
    }

    /// Runs of `at_least` or one more, or a single shorter run.
    #[inline(always)]
    pub fn of_at_least(total: i64, at_least: i64) -> Runs {
        let count = total / at_least;
        Runs::new(total, if count > 0 { count } else { 1 })
    }

    #[inline(always)]
    fn new(total: i64, count: i64) -> Runs {
        if total <= 0 || count <= 0 {
            return Runs { short: 0, long: 0, left: 0 };
        }
        Runs { short: total / count, long: total % count, left: count }
    }
}

impl Iterator for Runs {
    type Item = i64;

    #[inline(always)]
    fn next(&mut self) -> Option<i64> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        if self.long > 0 {
            self.long -= 1;
            return Some(self.short + 1);
        }
        Some(self.short)
    }
}
