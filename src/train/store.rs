//! The tensors that a program owns: parameters, states, and the optimizer's states.
//!
//! In memory the members of a `stack` share one array with a leading axis, `stack_0.*.linear_0.w`; in files each has an
//! entry of its own: `stack_0.0.linear_0.w`, `stack_0.1.linear_0.w` …

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use indexmap::IndexMap;

use crate::axes::DimVar;
use crate::base::Name;
use crate::check::core::{Core, Slot};
use crate::check::train::below;
use crate::runtime::{Array, OutOfMemory};
use crate::tensor::{DType, Tensor};

use super::errors;

/// Whose a tensor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    Param,
    State,
    /// A state of the optimizer: it is no part of the weights.
    Optimizer,
}

/// One tensor.
#[derive(Clone)]
pub struct Owned {
    pub ownership: Ownership,
    pub dtype: DType,
    pub shape: Vec<usize>,
    pub array: Array,
}

/// All tensors of a program by path, in the order of its declarations.
#[derive(Clone)]
pub struct Store {
    pub tensors: IndexMap<Name, Owned>,
}

impl Store {
    /// Zeros for every parameter and state of a core; their sizes must be known.
    pub fn of(core: &Core, dims: &BTreeMap<DimVar, i64>) -> Result<Store, OutOfMemory> {
        Store::of_all([core], dims)
    }

    /// The same for several cores, which share what they have in common.
    pub fn of_all<'c>(
        cores: impl IntoIterator<Item = &'c Core>,
        dims: &BTreeMap<DimVar, i64>,
    ) -> Result<Store, OutOfMemory> {
        let mut store = Store { tensors: IndexMap::new() };
        for core in cores {
            store.add(core, dims)?;
        }
        Ok(store)
    }

    fn add(&mut self, core: &Core, dims: &BTreeMap<DimVar, i64>) -> Result<(), OutOfMemory> {
        let shape = |slot: &Slot| -> Vec<usize> {
            let sizes = slot.axes.iter().map(|&axis| core.expand(&core.size(axis)).eval(dims).unwrap_or(0));
            sizes.map(|size| usize::try_from(size).unwrap_or(0)).collect()
        };
        let slots = core.params.iter().map(|slot| (slot, Ownership::Param));
        for (slot, ownership) in slots.chain(core.states.iter().map(|slot| (slot, Ownership::State))) {
            if self.tensors.contains_key(&slot.path) {
                continue;
            }
            let ownership = if slot.is_of_optimizer() { Ownership::Optimizer } else { ownership };
            let (dtype, shape) = (slot.elem.dtype(), shape(slot));
            let len = shape.iter().try_fold(1usize, |len, &size| len.checked_mul(size));
            let array = Array::zeros(dtype, len.ok_or(OutOfMemory(usize::MAX))?)?;
            self.tensors.insert(slot.path.clone(), Owned { ownership, dtype, shape, array });
        }
        Ok(())
    }

    /// Takes over the weights of one instance, those `only` below a path in it: names in the file begin inside of the instance.
    /// On a difference nothing changes, and all are told. What else the file holds is left. Gives the bytes that were taken over, by path.
    pub fn import_part(
        &mut self,
        entries: &BTreeMap<String, Tensor>,
        instance: &str,
        only: Option<&str>,
    ) -> Result<Vec<(Name, Range<usize>)>, Vec<String>> {
        let mut part = BTreeMap::new();
        let mut places = Vec::new();
        let mut differences = Vec::new();
        for (path, owned) in self.wanted(false) {
            let size = owned.dtype.size();
            for (name, first, count, shape) in members(path, &owned.shape) {
                let Some(inner) = below(instance, &name) else { continue };
                if only.is_some_and(|only| inner != only && below(only, inner).is_none()) {
                    continue;
                }
                match entries.get(inner) {
                    Some(entry) => {
                        places.push((path.clone(), first * size..(first + count) * size));
                        part.insert(name, entry.clone());
                    }
                    None => {
                        let known = entries.keys().map(String::as_str);
                        differences.push(errors::missing_entry(inner, &shape, known));
                    }
                }
            }
        }
        if part.is_empty() && differences.is_empty() {
            differences.push(format!("the program has nothing below `{}`", only.unwrap_or(instance)));
        }
        if !differences.is_empty() {
            return Err(differences);
        }
        // The rest stays as it is.
        let mut all = self.export(false);
        all.extend(part);
        self.import(&all, false)?;
        Ok(places)
    }

    /// Whether all numbers are.
    pub fn is_finite(&self) -> bool {
        self.tensors.values().all(|owned| owned.array.all_finite())
    }

    /// The first entry of a weights file with an infinity or a NaN in it, by its path.
    pub fn not_finite(&self) -> Option<Name> {
        let weights = self.tensors.iter().filter(|(_, owned)| owned.ownership != Ownership::Optimizer);
        let mut wrong = weights.filter(|(_, owned)| !owned.array.all_finite());
        wrong.next().map(|(path, _)| path.clone())
    }

    /// Numbers in all trained parameters.
    pub fn parameter_count(&self) -> usize {
        let params = self.tensors.values().filter(|owned| owned.ownership == Ownership::Param);
        params.map(|owned| owned.array.len()).sum()
    }

    /// The contents of a weights file; with `optimizer`, those of a checkpoint.
    pub fn export(&self, optimizer: bool) -> BTreeMap<String, Tensor> {
        let mut entries = BTreeMap::new();
        for (path, owned) in self.wanted(optimizer) {
            for (name, first, count, shape) in members(path, &owned.shape) {
                let size = owned.dtype.size();
                let bytes = &owned.array.bytes()[first * size..(first + count) * size];
                // The array holds as many elements as its shape says.
                if let Ok(entry) = Tensor::from_le_bytes(owned.dtype, &shape, bytes) {
                    entries.insert(name, entry);
                }
            }
        }
        entries
    }

    /// Takes the contents of a file over. On a difference in names, shapes or types nothing changes, and all differences
    /// are told, one in a line.
    pub fn import(&mut self, entries: &BTreeMap<String, Tensor>, optimizer: bool) -> Result<(), Vec<String>> {
        let mut differences = Vec::new();
        let mut expected = BTreeSet::new();
        for (path, owned) in self.wanted(optimizer) {
            expected.extend(members(path, &owned.shape).into_iter().map(|(name, ..)| name));
        }
        let unused = || entries.keys().filter(|name| !expected.contains(*name)).map(String::as_str);
        let mut near = BTreeSet::new();
        for (path, owned) in self.wanted(optimizer) {
            for (name, _, _, shape) in members(path, &owned.shape) {
                match entries.get(&name) {
                    None => {
                        near.extend(crate::check::errors::nearest(&name, unused()));
                        differences.push(errors::missing_entry(&name, &shape, unused()));
                    }
                    Some(entry) if entry.shape() != shape => differences.push(format!(
                        "`{name}` has shape {:?} in the file, {shape:?} in the program",
                        entry.shape()
                    )),
                    Some(entry)
                        if entry.dtype() != owned.dtype
                            && !(entry.dtype().is_float() && owned.dtype.is_float()) =>
                    {
                        differences.push(format!(
                            "`{name}` has elements of {} in the file, of {} in the program",
                            entry.dtype(),
                            owned.dtype
                        ));
                    }
                    // What an optimizer keeps may overflow, and training goes on (the square of a gradient of 1e20): so it is resumed, too.
                    Some(entry) if owned.ownership != Ownership::Optimizer && !entry.all_finite() => {
                        differences.push(format!(
                            "`{name}{:?}` is not a finite number",
                            entry.first_non_finite().unwrap_or_default()
                        ))
                    }
                    Some(_) => {}
                }
            }
        }
        // What stands beside a missing name as its likely meaning is not told again.
        differences.extend(
            unused().filter(|name| !near.contains(*name)).map(|name| {
                format!("the file has `{name}` {:?}, the program has not", entries[name].shape())
            }),
        );
        if !differences.is_empty() {
            return Err(differences);
        }
        for (path, owned) in &mut self.tensors {
            if !optimizer && owned.ownership == Ownership::Optimizer {
                continue;
            }
            let size = owned.dtype.size();
            for (name, first, count, _) in members(path, &owned.shape) {
                let bytes = entries[&name].cast(owned.dtype).contiguous().to_le_bytes();
                owned.array.bytes_mut()[first * size..(first + count) * size].copy_from_slice(&bytes);
            }
        }
        Ok(())
    }

    fn wanted(&self, optimizer: bool) -> impl Iterator<Item = (&Name, &Owned)> {
        self.tensors.iter().filter(move |(_, owned)| optimizer || owned.ownership != Ownership::Optimizer)
    }
}

/// The entries of one tensor: name, first element, number of elements, shape. Each `*` of the path stands for a leading axis.
fn members(path: &str, shape: &[usize]) -> Vec<(String, usize, usize, Vec<usize>)> {
    let stars = path.split('.').filter(|part| *part == "*").count().min(shape.len());
    let (stacked, inner) = shape.split_at(stars);
    let count: usize = inner.iter().product();
    let total: usize = stacked.iter().product();
    (0..total)
        .map(|member| {
            let mut rest = member;
            let mut at: Vec<usize> = stacked
                .iter()
                .rev()
                .map(|&size| {
                    let index = rest % size;
                    rest /= size;
                    index
                })
                .collect();
            let named = path.split('.').map(|part| match part {
                "*" => at.pop().unwrap_or(0).to_string(),
                part => part.to_owned(),
            });
            (named.collect::<Vec<_>>().join("."), member * count, count, inner.to_vec())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(path: &str, shape: &[usize]) -> Store {
        let len: usize = shape.iter().product();
        let elements: Vec<f32> = (0..len).map(|index| index as f32).collect();
        let array = Array::from_slice(&elements).unwrap();
        let owned = Owned { ownership: Ownership::Param, dtype: DType::F32, shape: shape.to_vec(), array };
        Store { tensors: IndexMap::from([(Name::new(path), owned)]) }
    }

    #[test]
    fn a_stack_has_an_entry_for_each_member() {
        let names: Vec<String> =
            members("a.*.b.*.w", &[2, 2, 3]).into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, ["a.0.b.0.w", "a.0.b.1.w", "a.1.b.0.w", "a.1.b.1.w"]);
        let saved = store("a.*.w", &[2, 3]).export(false);
        assert_eq!(saved["a.1.w"], Tensor::from_vec(&[3], vec![3f32, 4.0, 5.0]).unwrap());
        let mut again = store("a.*.w", &[2, 3]);
        again.tensors[0].array.bytes_mut().fill(0);
        again.import(&saved, false).unwrap();
        assert_eq!(again.export(false), saved);
    }

    #[test]
    fn an_optimizer_may_keep_what_is_not_finite() {
        let infinite = |ownership| {
            let mut store = store("w", &[2]);
            store.tensors[0].ownership = ownership;
            store.tensors[0].array = Array::from_slice(&[1f32, f32::INFINITY]).unwrap();
            store
        };
        let states = infinite(Ownership::Optimizer);
        assert!(infinite(Ownership::Optimizer).import(&states.export(true), true).is_ok());
        assert!(infinite(Ownership::Param).import(&states.export(true), true).is_err());
    }

    #[test]
    fn all_differences_are_told_with_the_nearest_name() {
        let entries = store("linear_1.w", &[2, 3]).export(false);
        let differences = store("linear_0.w", &[2, 3]).import(&entries, false).unwrap_err();
        assert_eq!(differences, ["no `linear_0.w` [2, 3]; did it mean `linear_1.w`?"]);
        let entries = store("linear_0.w", &[3, 2]).export(false);
        let differences = store("linear_0.w", &[2, 3]).import(&entries, false).unwrap_err();
        assert_eq!(differences, ["`linear_0.w` has shape [3, 2] in the file, [2, 3] in the program"]);
    }
}
