//! The library that every program sees: its files, as they lie in `stdlib/`, inside the binary.

/// Module and text of each file. A file that is not listed here is no part of the library.
pub const FILES: [(&str, &str); 18] = [
    ("activations", include_str!("../../stdlib/activations.nn")),
    ("augment", include_str!("../../stdlib/augment.nn")),
    ("averaging", include_str!("../../stdlib/averaging.nn")),
    ("blocks", include_str!("../../stdlib/blocks.nn")),
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
    use super::FILES;

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
