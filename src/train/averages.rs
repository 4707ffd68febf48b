//! Averaged weights: what a training measures and gives back where its block says `average …`, while the steps go on with their own.

use super::store::Store;
use crate::check::train::average_path;

/// Does something with a store whose parameters are their averages, where they have some.
pub fn with_averages<T>(store: &mut Store, then: impl FnOnce(&mut Store) -> T) -> T {
    swap(store);
    let done = then(store);
    swap(store);
    done
}

/// Exchanges each parameter with its average.
fn swap(store: &mut Store) {
    for index in 0..store.tensors.len() {
        let Some((path, _)) = store.tensors.get_index(index) else { continue };
        let Some(average) = store.tensors.get_index_of(&average_path(path)) else { continue };
        let (own, averaged) = (&store.tensors[index].array, &store.tensors[average].array);
        let (own, averaged) = (own.clone(), averaged.clone());
        store.tensors[index].array = averaged;
        store.tensors[average].array = own;
    }
}
