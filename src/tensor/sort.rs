//! Sorting rows of elements.

use super::DType;

/// What a sort tells of entries in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sorted {
    /// The entries.
    Values,
    /// The indices at which they stand.
    Order,
    /// Of each index how many entries stand strictly before its own.
    Rank,
}

impl Sorted {
    pub fn name(self) -> &'static str {
        match self {
            Sorted::Values => "values",
            Sorted::Order => "order",
            Sorted::Rank => "rank",
        }
    }
}

/// Sorts one row of `len` elements. `from` and `to` are its bytes; `to` has elements of `dtype` for `Values`, of i32 for the others.
/// Equal elements keep their order, ±0 are equal, NaN stands last.
pub fn sort_row(what: Sorted, descending: bool, dtype: DType, from: &[u8], to: &mut [u8]) {
    match dtype {
        DType::F32 => row(what, from, to, |bytes: [u8; 4]| {
            let x = f32::from_le_bytes(bytes);
            let bits = (x + 0.0).to_bits();
            float(x.is_nan(), u64::from(if bits >> 31 == 0 { bits | 1 << 31 } else { !bits }), descending)
        }),
        DType::F64 => row(what, from, to, |bytes: [u8; 8]| {
            let x = f64::from_le_bytes(bytes);
            let bits = (x + 0.0).to_bits();
            float(x.is_nan(), if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }, descending)
        }),
        DType::I32 => {
            row(what, from, to, |bytes: [u8; 4]| whole(i64::from(i32::from_le_bytes(bytes)), descending))
        }
        DType::I64 => row(what, from, to, |bytes: [u8; 8]| whole(i64::from_le_bytes(bytes), descending)),
        DType::U8 => row(what, from, to, |[byte]: [u8; 1]| whole(i64::from(byte), descending)),
        DType::F16 | DType::BF16 | DType::Bool => unreachable!("{dtype} is not sorted"),
    }
}

/// Whether rows of this dtype can be sorted.
pub fn sorts(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F64 | DType::I32 | DType::I64 | DType::U8)
}

fn float(nan: bool, key: u64, descending: bool) -> u64 {
    match (nan, descending) {
        (true, _) => u64::MAX,
        // No number's key is the greatest one, nor the least.
        (false, true) => !key,
        (false, false) => key,
    }
}

fn whole(x: i64, descending: bool) -> u64 {
    let key = (x as u64) ^ (1 << 63);
    if descending { !key } else { key }
}

fn row<const W: usize>(what: Sorted, from: &[u8], to: &mut [u8], key: impl Fn([u8; W]) -> u64) {
    let (elements, _) = from.as_chunks::<W>();
    // With its index behind it no key occurs twice: any sort is a stable one.
    let mut keyed: Vec<(u64, u32)> =
        elements.iter().enumerate().map(|(index, bytes)| (key(*bytes), index as u32)).collect();
    keyed.sort_unstable();
    match what {
        Sorted::Values => {
            let (places, _) = to.as_chunks_mut::<W>();
            for (place, (_, index)) in places.iter_mut().zip(keyed) {
                *place = elements[index as usize];
            }
        }
        Sorted::Order => {
            let (places, _) = to.as_chunks_mut::<4>();
            for (place, (_, index)) in places.iter_mut().zip(keyed) {
                *place = (index as i32).to_le_bytes();
            }
        }
        Sorted::Rank => {
            let (places, _) = to.as_chunks_mut::<4>();
            let mut first = 0;
            for (at, (key, index)) in keyed.iter().enumerate() {
                if *key != keyed[first].0 {
                    first = at;
                }
                places[*index as usize] = (first as i32).to_le_bytes();
            }
        }
    }
}
