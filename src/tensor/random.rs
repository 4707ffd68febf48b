//! Counter-based random numbers: Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as
//! easy as 1, 2, 3"), a pure function of seed, site, step and index.
//!
//! **Layout**, which generated code repeats to the bit:
//! - a *site* is a place in the program, named by the FNV-1a hash of its path (`site`);
//! - each (seed, site) has a key: the first two words of Philox at counter
//!   `[site low, site high, 0, 0]` under the key `[seed low, seed high]` (`Key::new`);
//! - element `index` at a `step` is word `index % 4` of Philox at counter
//!   `[block low, block high, step low, step high]`, `block = index / 4`, under that key;
//! - a normal pair takes two neighbouring words: elements 0, 1 of a block the words 0, 1, elements
//!   2, 3 the words 2, 3.
//!
//! So any element is computed alone, in any order and by any thread, and whoever wants four in a
//! row runs Philox once. `index` is the row-major position of the coordinates.
//! It stands here and not in `runtime`, because the interpreter of the graph needs it too.

use std::f64::consts::TAU;

const MULTIPLIERS: [u32; 2] = [0xd251_1f53, 0xcd9e_8d57];
/// The golden ratio and the square root of three, minus one, as fractions of 2^32.
const WEYL: [u32; 2] = [0x9e37_79b9, 0xbb67_ae85];
const ROUNDS: usize = 10;

/// Philox4x32-10: a bijection of the counter for each key.
pub fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let ([mut c0, mut c1, mut c2, mut c3], [mut k0, mut k1]) = (counter, key);
    for _ in 0..ROUNDS {
        let (low0, high0) = wide_mul(MULTIPLIERS[0], c0);
        let (low1, high1) = wide_mul(MULTIPLIERS[1], c2);
        (c0, c1, c2, c3) = (high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0);
        k0 = k0.wrapping_add(WEYL[0]);
        k1 = k1.wrapping_add(WEYL[1]);
    }
    [c0, c1, c2, c3]
}

fn wide_mul(a: u32, b: u32) -> (u32, u32) {
    halves(u64::from(a) * u64::from(b))
}

/// The low and the high 32 bits.
fn halves(value: u64) -> (u32, u32) {
    (value as u32, (value >> 32) as u32)
}

/// The stable hash of a path, FNV-1a with 64 bits (Fowler, Noll and Vo): the same in every build.
pub const fn site(path: &str) -> u64 {
    let bytes = path.as_bytes();
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        i += 1;
    }
    hash
}

/// The stream of random numbers of one site under one seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(pub [u32; 2]);

impl Key {
    pub fn new(seed: u64, site: u64) -> Key {
        let ((seed_low, seed_high), (site_low, site_high)) = (halves(seed), halves(site));
        let [k0, k1, ..] = philox([site_low, site_high, 0, 0], [seed_low, seed_high]);
        Key([k0, k1])
    }

    /// The words of elements `4 * block .. 4 * block + 4`.
    pub fn block(self, step: u64, block: u64) -> [u32; 4] {
        let ((block_low, block_high), (step_low, step_high)) = (halves(block), halves(step));
        philox([block_low, block_high, step_low, step_high], self.0)
    }

    /// 32 uniform bits.
    pub fn bits(self, step: u64, index: u64) -> u32 {
        self.block(step, index / 4)[(index % 4) as usize]
    }

    /// Uniform in [0, 1): the upper 24 bits, all of which f32 holds.
    pub fn uniform(self, step: u64, index: u64) -> f32 {
        unit(self.bits(step, index))
    }

    /// Standard normal by Box and Muller 1958: with the two words u and v of the pair,
    /// `sqrt(-2 ln(1 - u))` times `cos(2πv)` for the even element and `sin(2πv)` for the odd one,
    /// in f64, rounded once. At most 5.77 in size.
    pub fn normal(self, step: u64, index: u64) -> f32 {
        let words = self.block(step, index / 4);
        let pair = (index % 4 / 2 * 2) as usize;
        let (u, v) = (f64::from(unit(words[pair])), f64::from(unit(words[pair + 1])));
        // 1 - u lies in (0, 1] and is exact.
        let radius = (-2.0 * (1.0 - u).ln()).sqrt();
        let (sin, cos) = (TAU * v).sin_cos();
        (radius * if index.is_multiple_of(2) { cos } else { sin }) as f32
    }

    /// Uniform in `0 .. n`, by the high half of a product (Lemire 2019, without its rejection): each
    /// value's probability is within `2^-32` of `1 / n`. 0 for `n == 0`.
    pub fn below(self, step: u64, index: u64, n: u32) -> u32 {
        wide_mul(self.bits(step, index), n).1
    }

    /// A uniformly drawn order of `0 .. n` (Fisher and Yates; Durstenfeld 1964), element i being
    /// swapped with one below it drawn at index i.
    pub fn permutation(self, step: u64, n: u32) -> Vec<u32> {
        let mut order: Vec<u32> = (0..n).collect();
        for last in (1..n).rev() {
            let other = self.below(step, u64::from(last), last + 1);
            order.swap(last as usize, other as usize);
        }
        order
    }
}

/// The upper 24 bits of a word as a fraction in [0, 1).
pub fn unit(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// The words of the block that holds element `index`.
pub fn draw(seed: u64, site: u64, step: u64, index: u64) -> [u32; 4] {
    Key::new(seed, site).block(step, index / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers of Random123 (`kat_vectors`, philox4x32 10).
    #[test]
    fn philox_matches_the_published_vectors() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
        let ones = u32::MAX;
        assert_eq!(philox([ones; 4], [ones; 2]), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
        let pi = [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344];
        let expected = [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1];
        assert_eq!(philox(pi, [0xa4093822, 0x299f31d0]), expected);
    }

    /// The test vectors of the FNV authors.
    #[test]
    fn sites_are_fnv_1a() {
        assert_eq!(site(""), 0xcbf29ce484222325);
        assert_eq!(site("a"), 0xaf63dc4c8601ec8c);
        assert_eq!(site("foobar"), 0x85944171f73967e8);
    }

    #[test]
    fn every_argument_matters() {
        let base = draw(1, 2, 3, 4);
        assert_eq!(base, draw(1, 2, 3, 7));
        for other in [draw(2, 2, 3, 4), draw(1, 3, 3, 4), draw(1, 2, 4, 4), draw(1, 2, 3, 8)] {
            assert_ne!(base, other);
        }
        for high in [draw(1 << 32 | 1, 2, 3, 4), draw(1, 1 << 32 | 2, 3, 4), draw(1, 2, 1 << 32 | 3, 4)] {
            assert_ne!(base, high);
        }
        let key = Key::new(1, 2);
        assert_eq!((0..4).map(|i| key.bits(3, 4 + i)).collect::<Vec<_>>(), base);
    }

    #[test]
    fn moments_are_right() {
        let key = Key::new(7, site("a.b"));
        let n = 200_000;
        let moments = |draw: &dyn Fn(u64) -> f32| {
            let values = (0..n).map(|i| f64::from(draw(i)));
            let [mut one, mut two, mut three, mut four] = [0.0; 4];
            for x in values {
                (one, two, three, four) = (one + x, two + x * x, three + x * x * x, four + x.powi(4));
            }
            [one, two, three, four].map(|sum| sum / n as f64)
        };
        let near = |found: [f64; 4], expected: [f64; 4]| {
            found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 0.05)
        };
        let uniform = moments(&|i| key.uniform(0, i));
        assert!(near(uniform, [0.5, 1.0 / 3.0, 0.25, 0.2]), "{uniform:?}");
        let normal = moments(&|i| key.normal(0, i));
        assert!(near(normal, [0.0, 1.0, 0.0, 3.0]), "{normal:?}");
        // Neighbours of a pair share a radius; they are uncorrelated all the same.
        let products = (0..n / 2).map(|i| f64::from(key.normal(0, 2 * i) * key.normal(0, 2 * i + 1)));
        assert!((products.sum::<f64>() / (n / 2) as f64).abs() < 0.01);
    }

    #[test]
    fn ranges_are_kept() {
        assert_eq!((unit(0), unit(u32::MAX)), (0.0, 1.0 - 2f32.powi(-24)));
        let key = Key::new(0, 0);
        let mut seen = [0; 7];
        (0..7000).for_each(|i| seen[key.below(0, i, 7) as usize] += 1);
        assert!(seen.iter().all(|&count| (850..1150).contains(&count)), "{seen:?}");
        let mut order = key.permutation(5, 100);
        assert_ne!(order, key.permutation(6, 100));
        order.sort();
        assert!(order.into_iter().eq(0..100));
        assert!(key.permutation(0, 0).is_empty());
    }
}
