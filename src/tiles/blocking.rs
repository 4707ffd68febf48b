//! How to cut a contraction around the calls of its code: for the caches, and for the threads.
//!
//! No cut changes a bit of the result (the law of [`Tile`](super::Tile)), so all of this is about time. The numbers are constants, not the
//! sizes of this machine's caches: they hold for 32 KB and 1 MB, and a program's machine code is the same wherever it was compiled.

/// What is known of a contraction `C[m, n] += A[m, k] * B[k, n]` when it is compiled; `None`: only when it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extents {
    pub m: Option<i64>,
    pub n: Option<i64>,
    /// Steps in a block.
    pub k: Option<i64>,
    /// From step to step in B, in numbers.
    pub b_pitch: Option<i64>,
}

/// The chunks of a contraction. One call does `rows` by `columns`, the last chunk of each axis may be smaller; any thread may do any chunk.
/// One after another they go column by column, then to the next rows. The steps are cut inside of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocking {
    pub rows: i64,
    /// A multiple of [`PANEL`], or all.
    pub columns: i64,
    /// Whether to copy B first, into panels: entry (p, j) to `[j / PANEL][p][j % PANEL]`. Then a call takes one panel, with a `brs` of
    /// `4 * PANEL`. The last panel may hold anything behind the last column.
    pub pack: bool,
}

/// Columns of a packed panel: two vectors of 512 bits, or two pairs of 256.
pub const PANEL: i64 = 32;

/// Eight strips of 14 rows: A's chunk stays in L2 while the panels of B go by.
const ROWS: i64 = 112;
/// Steps that a call does at once, and the guess where they are not known.
const STEPS: i64 = 512;
/// Multiply-adds worth a chunk: 12 to 50 µs, many times what handing it to a thread costs.
const WORK: i64 = 1 << 21;
/// Rows up to which a contraction only streams B through.
const SKINNY: i64 = 6;
/// Columns from which on rows of B are runs that the memory's prefetcher follows.
const STREAM: i64 = 512;
/// What of B stays near from one use to the next.
const L2: i64 = 1 << 20;
/// Rows from which on a copy of B pays.
const PACK: i64 = 256;

impl Blocking {
    /// The blocking of a contraction. Extents are taken as at least 1.
    pub fn choose(extents: Extents) -> Blocking {
        let known = |extent: Option<i64>| extent.map(|n| n.max(1));
        let (m, n, k) = (known(extents.m), known(extents.n), known(extents.k));
        // Rows of B that begin at the same place in their pages fall into the same few sets of a cache.
        let aliased = extents.b_pitch.is_some_and(|pitch| pitch % 1024 == 0);
        if let (Some(m), Some(n), Some(k)) = (m, n, k)
            && m <= SKINNY
        {
            let columns = cut(n, (WORK / (m * k)).max(STREAM), PANEL);
            return Blocking { rows: m, columns, pack: false };
        }
        let pack = aliased && m.is_some_and(|m| m >= PACK);
        let rows = m.map_or(ROWS, |m| cut(m, ROWS, 1));
        let depth = k.unwrap_or(STEPS);
        // Long runs of rows of B again, where they come from afar.
        let near = pack || n.is_some_and(|n| 4 * n * depth <= L2);
        let least = if near { PANEL } else { 4 * PANEL };
        let columns = (WORK / (rows * depth) / PANEL * PANEL).max(least);
        let columns = n.map_or(columns, |n| cut(n, columns, PANEL));
        // Few columns take more rows, up to half of L2.
        let taller = (WORK / (ROWS * columns * depth)).clamp(1, L2 / 2 / (4 * ROWS * depth.min(STEPS)));
        let rows = m.map_or(ROWS * taller, |m| cut(m, ROWS * taller, 1));
        Blocking { rows, columns, pack }
    }
}

/// The length of the fewest equal runs of about `most` that `total` is cut into, in multiples of `unit`, or `total`.
fn cut(total: i64, most: i64, unit: i64) -> i64 {
    let most = most.max(unit);
    let runs = (total + most - 1) / most;
    let run = (total + runs - 1) / runs;
    ((run + unit - 1) / unit * unit).min(total)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn known(m: i64, n: i64, k: i64) -> Blocking {
        Blocking::choose(Extents { m: Some(m), n: Some(n), k: Some(k), b_pitch: Some(n) })
    }

    #[test]
    fn small_contractions_are_one_chunk() {
        assert_eq!(known(64, 10, 128), Blocking { rows: 64, columns: 10, pack: false });
        assert_eq!(known(64, 128, 256), Blocking { rows: 64, columns: 128, pack: false });
    }

    #[test]
    fn a_vector_streams_long_rows_of_a_large_matrix() {
        assert_eq!(known(1, 4096, 4096), Blocking { rows: 1, columns: 512, pack: false });
    }

    #[test]
    fn only_matrices_whose_rows_alias_are_packed() {
        assert!(known(512, 1024, 1024).pack && known(512, 3072, 768).pack);
        assert!(!known(512, 768, 3072).pack && !known(64, 1024, 1024).pack);
        assert_eq!(known(512, 768, 3072).columns, 128);
    }

    #[test]
    fn a_symbolic_batch_gets_constant_chunks() {
        let layer = Blocking::choose(Extents { m: None, n: Some(256), k: Some(784), b_pitch: Some(256) });
        assert_eq!(layer, Blocking { rows: 112, columns: 32, pack: false });
    }

    proptest! {
        #[test]
        fn chunks_fit(m in proptest::option::of(0..5000i64), n in proptest::option::of(0..5000i64), k in proptest::option::of(0..5000i64)) {
            let chosen = Blocking::choose(Extents { m, n, k, b_pitch: n });
            for (chunk, extent) in [(chosen.rows, m), (chosen.columns, n)] {
                prop_assert!(chunk >= 1 && extent.is_none_or(|extent| chunk <= extent.max(1)), "{chosen:?}");
            }
            prop_assert!(chosen.columns % PANEL == 0 || n.is_some_and(|n| chosen.columns == n.max(1)), "{chosen:?}");
        }
    }
}
