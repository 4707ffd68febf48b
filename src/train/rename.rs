//! `--map OLD=NEW`: what a file of weights calls otherwise, or has in another order of axes.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::check::errors::nearest;
use crate::tensor::Tensor;

/// Calls what a file has as `from`, and what it has below `from.`, `to`. With `axes` it is one entry, and axis i of the program's tensor is
/// axis `axes[i]` of the file's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rename {
    from: String,
    to: String,
    axes: Option<Vec<usize>>,
}

impl FromStr for Rename {
    type Err = String;

    /// `encoder=linear_0`, `conv.weight=conv2d_0.w.permute(2,3,1,0)`; `permute` may stand behind either name.
    fn from_str(text: &str) -> Result<Rename, String> {
        const FORM: &str = "write what the file has and what the program has: --map encoder=linear_0, or --map conv.weight=conv2d_0.w.permute(2,3,1,0)";
        let (from, to) = text.split_once('=').ok_or(FORM)?;
        let ((from, first), (to, second)) = (permuted(from)?, permuted(to)?);
        if from.is_empty() || to.is_empty() || (first.is_some() && second.is_some()) {
            return Err(FORM.to_owned());
        }
        Ok(Rename { from: from.to_owned(), to: to.to_owned(), axes: first.or(second) })
    }
}

/// A name, and the axes of a `.permute(…)` behind it.
fn permuted(text: &str) -> Result<(&str, Option<Vec<usize>>), String> {
    let Some((name, rest)) = text.split_once(".permute(") else { return Ok((text, None)) };
    let wrong = || format!("`{text}`: permute wants each axis once, counted from 0: .permute(2,3,1,0)");
    let inside = rest.strip_suffix(')').ok_or_else(wrong)?;
    let axes: Result<Vec<usize>, _> = inside.split(',').map(|axis| axis.trim().parse()).collect();
    let axes = axes.map_err(|_| wrong())?;
    let mut sorted = axes.clone();
    sorted.sort_unstable();
    if sorted != (0..axes.len()).collect::<Vec<_>>() {
        return Err(wrong());
    }
    Ok((name, Some(axes)))
}

impl fmt::Display for Rename {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--map {}={}", self.from, self.to)?;
        match &self.axes {
            None => Ok(()),
            Some(axes) => {
                let axes: Vec<String> = axes.iter().map(usize::to_string).collect();
                write!(f, ".permute({})", axes.join(","))
            }
        }
    }
}

impl Rename {
    /// The new name of an entry that this is about.
    fn name(&self, entry: &str) -> Option<String> {
        let rest = entry.strip_prefix(self.from.as_str())?;
        let fits = rest.is_empty() || (rest.starts_with('.') && self.axes.is_none());
        fits.then(|| format!("{}{rest}", self.to))
    }
}

/// The entries of a file under their new names. Of several renames the first that fits a name counts.
///
/// # Errors
/// All of: renames that fit nothing, axes that an entry has not, two entries of one name.
pub fn renamed(
    entries: BTreeMap<String, Tensor>,
    renames: &[Rename],
) -> Result<BTreeMap<String, Tensor>, Vec<String>> {
    let mut differences: Vec<String> = renames
        .iter()
        .filter(|rename| !entries.keys().any(|name| rename.name(name).is_some()))
        .map(|rename| {
            let near = nearest(&rename.from, entries.keys().map(String::as_str));
            let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            let below = entries.keys().any(|name| name.starts_with(&format!("{}.", rename.from)));
            let entry = if below { "is no tensor, and only a tensor has axes" } else { "is not in the file" };
            format!("{rename}: `{}` {entry}{near}", rename.from)
        })
        .collect();
    let mut all = BTreeMap::new();
    for (name, mut tensor) in entries {
        let rename = renames.iter().find_map(|rename| Some((rename, rename.name(&name)?)));
        if let Some((rename, _)) = &rename
            && let Some(axes) = &rename.axes
        {
            match tensor.permuted(axes) {
                Some(permuted) => tensor = permuted,
                None => differences.push(format!("{rename}: `{name}` has shape {:?}", tensor.shape())),
            }
        }
        let called = rename.map_or(name, |(_, called)| called);
        if all.contains_key(&called) {
            differences.push(format!("several entries of the file would be `{called}`"));
        }
        all.insert(called, tensor);
    }
    if differences.is_empty() { Ok(all) } else { Err(differences) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(texts: &[&str]) -> Vec<Rename> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn file(names: &[&str]) -> BTreeMap<String, Tensor> {
        names.iter().map(|name| ((*name).to_owned(), Tensor::scalar(1f32))).collect()
    }

    #[test]
    fn names_are_mapped_whole_and_from_the_front() {
        let mapped = renamed(
            file(&["encoder.0.w", "encoder_2.w", "head"]),
            &map(&["encoder.0=linear_0", "encoder=other", "head=b"]),
        );
        // The second pair fits nothing that the first has left, and yet the file has such a name.
        assert_eq!(mapped.unwrap().into_keys().collect::<Vec<_>>(), ["b", "encoder_2.w", "linear_0.w"]);
        let wrong = renamed(file(&["a", "b", "encode"]), &map(&["a=b", "encoder=c"]));
        assert_eq!(
            wrong.unwrap_err(),
            [
                "--map encoder=c: `encoder` is not in the file; did you mean `encode`?",
                "several entries of the file would be `b`"
            ]
        );
    }

    #[test]
    fn axes_are_put_into_the_programs_order() {
        let numbers: Vec<f32> = (0..24).map(|i| i as f32).collect();
        let entry = Tensor::from_vec(&[2, 3, 4], numbers).unwrap();
        for text in ["conv.weight=c.permute(2,0,1)", "conv.weight.permute(2, 0, 1)=c"] {
            let mapped = renamed([("conv.weight".to_owned(), entry.clone())].into(), &map(&[text])).unwrap();
            assert_eq!(mapped["c"].shape(), [4, 2, 3]);
            // Entry (i, j, k) of the program's is entry (j, k, i) of the file's.
            assert_eq!(mapped["c"].contiguous().as_slice::<f32>().unwrap()[6 + 3 + 2], 12.0 + 8.0 + 1.0);
        }
        let wrong =
            renamed([("a.w".to_owned(), entry)].into(), &map(&["a.w=b.permute(1,0)", "a=c.permute(0)"]));
        assert_eq!(
            wrong.unwrap_err(),
            [
                "--map a=c.permute(0): `a` is no tensor, and only a tensor has axes",
                "--map a.w=b.permute(1,0): `a.w` has shape [2, 3, 4]"
            ]
        );
        for text in [
            "a",
            "=b",
            "a=",
            "a=b.permute(0,0)",
            "a=b.permute(1)",
            "a=b.permute(x)",
            "a=b.permute(0",
            "a.permute(0)=b.permute(0)",
        ] {
            assert!(text.parse::<Rename>().is_err(), "{text}");
        }
    }
}
