//! The order in which an epoch sees the samples.

use crate::tensor::random::{Key, site};

/// The training samples of an epoch in a random order that depends on the seed and the epoch alone.
pub fn shuffled(samples: &[u32], seed: u64, epoch: u64) -> Vec<u32> {
    let order = Key::new(seed, site("shuffle")).permutation(epoch, samples.len() as u32);
    order.into_iter().map(|index| samples[index as usize]).collect()
}

#[cfg(test)]
mod tests {
    use super::shuffled;

    #[test]
    fn every_sample_comes_once_and_epochs_differ() {
        let samples: Vec<u32> = (0..100).map(|index| index * 3).collect();
        let (first, second) = (shuffled(&samples, 7, 0), shuffled(&samples, 7, 1));
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, samples);
        assert_ne!(first, second);
        assert_eq!(first, shuffled(&samples, 7, 0));
        assert_ne!(first, shuffled(&samples, 8, 0));
    }
}
