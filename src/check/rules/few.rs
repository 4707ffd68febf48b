//! A map of few entries: in order, in one piece of memory. Most flows know of one root and one place.

use smallvec::SmallVec;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Few<K, V>(SmallVec<[(K, V); 1]>);

impl<K: Ord, V> Few<K, V> {
    pub fn new() -> Few<K, V> {
        Few(SmallVec::new())
    }

    pub fn one(key: K, value: V) -> Few<K, V> {
        Few(SmallVec::from_buf([(key, value)]))
    }

    fn place(&self, key: &K) -> Result<usize, usize> {
        self.0.binary_search_by(|(own, _)| own.cmp(key))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn get(&self, key: &K) -> Option<&V> {
        self.place(key).ok().map(|at| &self.0[at].1)
    }

    pub fn insert(&mut self, key: K, value: V) {
        match self.place(&key) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.0.insert(at, (key, value)),
        }
    }

    /// Puts `join(present, value)` where there is a value already.
    pub fn merge(&mut self, key: K, value: V, join: impl FnOnce(&V, V) -> V) {
        match self.place(&key) {
            Ok(at) => self.0[at].1 = join(&self.0[at].1, value),
            Err(at) => self.0.insert(at, (key, value)),
        }
    }

    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.place(key).ok().map(|at| self.0.remove(at).1)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.iter().map(|(key, _)| key)
    }

    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for Few<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Few<K, V> {
        let mut map = Few::new();
        entries.into_iter().for_each(|(key, value)| map.insert(key, value));
        map
    }
}

impl<K, V> IntoIterator for Few<K, V> {
    type Item = (K, V);
    type IntoIter = smallvec::IntoIter<[(K, V); 1]>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
