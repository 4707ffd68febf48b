//! The library that every program sees: its files, as they lie in `stdlib/`, inside the binary.

/// Module and text of each file. A file that is not listed here is no part of the library.
pub const FILES: [(&str, &str); 19] = [
    ("activations", include_str!("../../stdlib/activations.nn")),
    ("augment", include_str!("../../stdlib/augment.nn")),
    ("averaging", include_str!("../../stdlib/averaging.nn")),
    ("blocks", include_str!("../../stdlib/blocks.nn")),
    ("boxes", include_str!("../../stdlib/boxes.nn")),
    ("convolutions", include_str!("../../stdlib/convolutions.nn")),
    ("graphs", include_str!("../../stdlib/graphs.nn")),
    ("images", include_str!("../../stdlib/images.nn")),
    ("init", include_str!("../../stdlib/init.nn")),
    ("layers", include_str!("../../stdlib/layers.nn")),
    ("losses", include_str!("../../stdlib/losses.nn")),
    ("metrics", include_str!("../../stdlib/metrics.nn")),
    ("norms", include_str!("../../stdlib/norms.nn")),
    ("optim", include_str!("../../stdlib/optim.nn")),
    ("pooling", include_str!("../../stdlib/pooling.nn")),
    ("random", include_str!("../../stdlib/random.nn")),
    ("recurrent", include_str!("../../stdlib/recurrent.nn")),
    ("schedules", include_str!("../../stdlib/schedules.nn")),
    ("transformers", include_str!("../../stdlib/transformers.nn")),
];

/// The name that spans in a library file are shown under.
pub fn shown_name(module: &str) -> String {
    format!("std/{module}.nn")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use nn_grammar::ast::{ItemKind, PatKind};

    use super::FILES;
    use crate::base::Sources;
    use crate::check::defined_names;
    use crate::syntax;

    /// The files are parsed when they are used, and what is said of them then is not shown: so it is asked for here.
    #[test]
    fn every_file_parses_and_its_names_are_found_by_a_glance() {
        let mut all = HashSet::new();
        for (module, text) in FILES {
            let mut sources = Sources::new();
            let file = sources.add(super::shown_name(module), text);
            let parsed = syntax::parse(&sources, file);
            assert!(parsed.diagnostics.is_empty(), "{module}: {:?}", parsed.diagnostics);
            let names = parsed.file.items.iter().filter_map(|item| match &item.kind {
                ItemKind::Def(def) => Some(def.name.name.to_string()),
                ItemKind::Let(binding) => match &binding.pat.kind {
                    PatKind::Name(name) => Some(name.name.to_string()),
                    _ => None,
                },
                _ => None,
            });
            let names: Vec<String> = names.collect();
            assert_eq!(names, defined_names(text).collect::<Vec<_>>(), "{module}");
            for name in names {
                assert!(all.insert(name.clone()), "`{name}` is defined twice");
            }
        }
    }

    #[test]
    fn every_file_of_the_folder_is_listed() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("stdlib");
        let mut there: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter_map(|name| Some(name.strip_suffix(".nn")?.to_owned()))
            .collect();
        there.sort();
        assert_eq!(there, FILES.map(|(module, _)| module.to_owned()));
    }
}
