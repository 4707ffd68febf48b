//! How to cut a contraction around the calls of its code: for the caches, and for the threads.
//!
//! No cut changes a bit of the result (the law of [`Tile`](super::Tile)), so all of this is about time. The numbers are constants, not the
//! sizes of this machine's caches: they hold for 32 KB and 1 MB, and a program's machine code is the same wherever it was compiled.

/// What is known of a contraction `C[m, n] += A[m, k] * B[k, n]` when it is compiled; `None`: only when it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extents {
    pub m: Option<i64>,
    pub n: Option<i64>,
    /// Steps of all blocks.
    pub depth: Option<i64>,
    /// Whether nothing else is cut: no batch, no further rows.
    pub alone: bool,
    /// Whether B's columns lie apart: then each call copies them, which its rows have to pay for.
    pub apart: bool,
}

/// The chunks of a contraction. One call does `rows` by `columns`, the last chunk of each axis may be smaller; any thread may do any chunk.
/// The steps are cut inside of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocking {
    pub rows: i64,
    /// A multiple of [`PANEL`], or all.
    pub columns: i64,
    /// Whether all rows come before the next columns: what a call reads of B then stays near while A passes by. Else A stays.
    pub rows_within: bool,
}

/// Two vectors of 512 bits, or two pairs of 256.
pub const PANEL: i64 = 32;

/// Rows of one strip, and of the fewest strips that are worth reading a panel of B.
const STRIP: i64 = 14;
const LEAST_ROWS: i64 = 4 * STRIP;
/// Rows of a call where both operands are large: the fewer, the more columns share what is copied of A; the more, the less often B comes
/// from memory. And its columns: at least, better, at most.
const FEW_ROWS: i64 = 140;
const ROWS: i64 = 224;
/// Bytes of a B that no cache keeps while A passes by.
const LARGE: i64 = 1 << 21;
const LEAST_COLUMNS: i64 = 128;
const COLUMNS: i64 = 256;
const MOST_COLUMNS: i64 = 512;
/// Rows of a batch: of few columns, and where columns alone give the threads enough to share.
const BATCH_ROWS: i64 = 112;
const LARGE_BATCH: i64 = 256;
/// The guess of how many rows there are, where it is not known.
const BATCH: i64 = 64;
/// Steps, where it is not known how many.
const STEPS: i64 = 512;
/// Multiply-adds of a chunk: 3 to 6 µs at least, 20 to 50 where there are many, more only where threads have enough to share anyway.
const LEAST_WORK: i64 = 1 << 18;
const WORK: i64 = 1 << 21;
const MOST_WORK: i64 = 1 << 26;
/// Chunks that threads share well, and chunks that are enough.
const CHUNKS: i64 = 8;
const ENOUGH: i64 = 16;
/// Rows up to which a contraction only streams B through.
const SKINNY: i64 = 6;
/// Columns from which on rows of B are runs that the memory's prefetcher follows.
const STREAM: i64 = 512;
/// What of an operand stays near from one use to the next: half of an L2.
const NEAR: i64 = 1 << 19;

impl Blocking {
    /// That of a contraction whose B stands in panels of columns, one for each chunk: all rows, as long as they stay near.
    pub fn of_panels(m: Option<i64>, depth: i64) -> Blocking {
        let most = (3 * NEAR / (4 * depth.max(1))).clamp(LEAST_ROWS, LARGE_BATCH);
        Blocking { rows: m.map_or(most, |m| cut(m.max(1), most, 1)), columns: PANEL, rows_within: false }
    }

    /// The blocking of a contraction. Extents are taken as at least 1.
    pub fn choose(extents: Extents) -> Blocking {
        let known = |extent: Option<i64>| extent.map(|n| n.max(1));
        let (m, n) = (known(extents.m), known(extents.n));
        let depth = known(extents.depth).unwrap_or(STEPS);
        let whole = |columns: i64| {
            let columns = columns / PANEL * PANEL;
            n.map_or(columns.max(PANEL), |n| cut(n, columns, PANEL))
        };
        let near = n.is_some_and(|n| 4 * n * depth <= NEAR);
        match m {
            Some(m) if m <= SKINNY => {
                Blocking { rows: m, columns: whole((WORK / (m * depth)).max(STREAM)), rows_within: false }
            }
            // A batch: the columns alone give the threads something to share, while a chunk of the rows stays near.
            // Two panels at least, so that a single sample has sums enough for the multiply-adds not to wait for each other.
            None if extents.alone => {
                let many = n.is_some_and(|n| n >= LEAST_COLUMNS * CHUNKS / 2) && depth >= LEAST_COLUMNS;
                let least = if many { LEAST_COLUMNS } else { 2 * PANEL };
                let columns = whole((LEAST_WORK / (BATCH * depth)).max(least));
                let most = (NEAR / (4 * depth)).clamp(BATCH_ROWS, 8 * BATCH_ROWS);
                let rows = (LEAST_WORK / (columns * depth)).clamp(BATCH_ROWS, most);
                let rows = if many || extents.apart { LARGE_BATCH.max(rows) } else { rows };
                Blocking { rows, columns, rows_within: false }
            }
            // A gradient of weights: the steps are a batch, and many. Wide, for A lies transposed, and its copy wants to be used often.
            Some(m) if extents.alone && extents.depth.is_none() && m >= 2 * LEAST_ROWS => {
                let columns = whole(MOST_COLUMNS);
                let beside = (n.unwrap_or(columns) + columns - 1) / columns;
                let rows = (m * beside / (CHUNKS / 2)).clamp(LEAST_ROWS, FEW_ROWS);
                Blocking { rows: cut(m, rows, 1), columns, rows_within: false }
            }
            // Two large operands.
            Some(m) if extents.alone && !near && m >= 2 * LEAST_ROWS => {
                let work = (m * n.unwrap_or(STREAM) * depth / ENOUGH).clamp(LEAST_WORK, MOST_WORK);
                let tall = extents.apart || 4 * n.unwrap_or(STREAM) * depth > LARGE;
                // Equal shares for the threads; strips of any height below are as good.
                let rows = cut(m, if tall { ROWS } else { FEW_ROWS }, 1);
                let enough = (m + rows - 1) / rows * n.unwrap_or(STREAM) >= CHUNKS * COLUMNS;
                let least = if enough { COLUMNS } else { LEAST_COLUMNS };
                let columns = whole((work / depth / rows).clamp(least, MOST_COLUMNS));
                Blocking { rows, columns, rows_within: false }
            }
            _ => {
                let work = match (m, n) {
                    (Some(m), Some(n)) if extents.alone => (m * n * depth / CHUNKS).clamp(LEAST_WORK, WORK),
                    _ => WORK,
                };
                let mut columns = if near { n.unwrap_or(PANEL) } else { NEAR / (4 * depth) };
                if let Some(m) = m.filter(|m| *m < 2 * LEAST_ROWS && extents.alone) {
                    columns = columns.min(work / (m * depth));
                }
                let columns = whole(columns);
                let least =
                    if extents.apart && m.is_some_and(|m| m >= CHUNKS * ROWS) { ROWS } else { LEAST_ROWS };
                let rows = (work / (columns * depth)).max(least);
                let rows = m.map_or(rows, |m| cut(m, rows, STRIP));
                Blocking { rows, columns, rows_within: !near }
            }
        }
    }
}

/// The length of the fewest equal runs of about `most` that `total` is cut into, in multiples of `unit`, or `total`.
pub fn cut(total: i64, most: i64, unit: i64) -> i64 {
    let most = most.max(unit);
    let runs = (total + most - 1) / most;
    let run = (total + runs - 1) / runs;
    ((run + unit - 1) / unit * unit).min(total)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn known(m: i64, n: i64, depth: i64) -> Blocking {
        Blocking::choose(Extents { m: Some(m), n: Some(n), depth: Some(depth), alone: true, apart: false })
    }

    #[test]
    fn small_contractions_are_one_chunk() {
        assert_eq!(known(64, 10, 128), Blocking { rows: 64, columns: 10, rows_within: false });
        assert_eq!(known(32, 32, 256), Blocking { rows: 32, columns: 32, rows_within: false });
    }

    #[test]
    fn a_vector_streams_long_rows_of_a_large_matrix() {
        assert_eq!(known(1, 4096, 4096), Blocking { rows: 1, columns: 512, rows_within: false });
    }

    #[test]
    fn what_a_call_reads_of_a_large_matrix_stays_near() {
        let image = Extents { m: Some(196), n: Some(256), depth: Some(2304), alone: false, apart: false };
        let Blocking { columns, rows_within, .. } = Blocking::choose(image);
        assert!(columns == 32 && rows_within);
        assert_eq!(known(49, 512, 4608).columns, 32);
        assert_eq!(known(1024, 1024, 1024), Blocking { rows: 205, columns: 256, rows_within: false });
    }

    #[test]
    fn few_rows_are_shared_by_columns() {
        assert!(64 / known(64, 128, 256).rows * 128 / known(64, 128, 256).columns >= 4);
        let layer = Extents { m: None, n: Some(256), depth: Some(784), alone: true, apart: false };
        assert_eq!(Blocking::choose(layer), Blocking { rows: 112, columns: 64, rows_within: false });
    }

    #[test]
    fn gradients_of_weights_are_wide() {
        let of = |m, n| {
            let chosen =
                Blocking::choose(Extents { m: Some(m), n: Some(n), depth: None, alone: true, apart: false });
            (chosen.rows, chosen.columns)
        };
        assert_eq!([of(256, 256), of(1024, 256), of(256, 1024)], [(64, 256), (128, 256), (128, 512)]);
    }

    proptest! {
        #[test]
        fn chunks_fit(
            m in proptest::option::of(0..5000i64),
            n in proptest::option::of(0..5000i64),
            depth in proptest::option::of(0..50000i64),
            alone: bool,
            apart: bool,
        ) {
            let chosen = Blocking::choose(Extents { m, n, depth, alone, apart });
            for (chunk, extent) in [(chosen.rows, m), (chosen.columns, n)] {
                prop_assert!(chunk >= 1 && extent.is_none_or(|extent| chunk <= extent.max(1)), "{chosen:?}");
            }
            prop_assert!(chosen.columns % PANEL == 0 || n.is_some_and(|n| chosen.columns == n.max(1)), "{chosen:?}");
        }
    }
}
