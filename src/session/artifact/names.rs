//! Names of a program as identifiers of C.

use std::collections::HashSet;

/// Words that C or C++ keep for themselves, and the names of our own arguments.
const TAKEN: &str = "alignas alignof and and_eq asm auto bitand bitor bool break case catch char class compl concept const consteval \
    constexpr constinit const_cast continue co_await co_return co_yield decltype default delete do double dynamic_cast else enum explicit \
    export extern false float for friend goto if inline int long mutable namespace new noexcept not not_eq nullptr operator or or_eq private \
    protected public register reinterpret_cast requires restrict return short signed sizeof static static_assert static_cast struct switch \
    template this thread_local throw true try typedef typeid typename typeof union unsigned using virtual void volatile wchar_t while xor \
    xor_eq plan build weights workspace workspace_bytes threads";

/// Whether exported names may begin with it.
pub fn is_prefix(text: &str) -> bool {
    let mut letters = text.chars();
    let first = letters.next().is_some_and(|c| c.is_ascii_alphabetic());
    let rest = letters.all(|c| c.is_ascii_alphanumeric() || c == '_');
    first
        && rest
        && text.len() <= 100
        && !text.starts_with("nnc_")
        && !TAKEN.split_whitespace().any(|word| word == text)
}

/// The letters of C in a name.
pub fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// Gives each name an identifier that nothing else has.
#[derive(Default)]
pub struct Identifiers(HashSet<String>);

impl Identifiers {
    pub fn of(&mut self, name: &str) -> String {
        let mut base = plain(name);
        if !base.starts_with(|c: char| c.is_ascii_alphabetic()) {
            base.insert_str(0, "n_");
        }
        if TAKEN.split_whitespace().any(|word| word == base) {
            base.push('_');
        }
        let mut own = base.clone();
        let mut number = 1;
        while !self.0.insert(own.clone()) {
            number += 1;
            own = format!("{base}_{number}");
        }
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_an_identifier_of_its_own() {
        let mut identifiers = Identifiers::default();
        let given = ["x", "x'", "x_", "int", "stack_0.*.w", "größe", "", "3d", "x"];
        let own: Vec<String> = given.iter().map(|name| identifiers.of(name)).collect();
        assert_eq!(own, ["x", "x_", "x__2", "int_", "stack_0___w", "gr__e", "n_", "n_3d", "x_2"]);
        assert!(
            is_prefix("digits_v2")
                && !is_prefix("2d")
                && !is_prefix("a-b")
                && !is_prefix("int")
                && !is_prefix("")
        );
    }
}
