//! Instances of layers: each has a path, under which its parameters and states lie.

use std::sync::Arc;

use crate::base::{Name, Span};

use super::errors;
use super::state::{Checker, Checking};
use super::value::{Func, Value};

impl Checker<'_> {
    /// The path of a layer's parameters. An instance without a name gets `layer_k` of the layer that applies it.
    pub fn instance_path(&mut self, func: &Arc<Func>, span: Span) -> Checking<String> {
        let instance = func.instance.clone().unwrap_or_default();
        if let Some(path) = instance.path.get() {
            return Ok(path.to_string());
        }
        let name = func.name();
        let Some(owner) = self.frame.owner.as_mut() else {
            return self.fail(errors::instance_in_function(span, &name, self.own_head()));
        };
        let count = owner.counters.entry(name.clone()).or_insert(0);
        let own = format!("{name}_{count}{}", owner.turns);
        *count += 1;
        let path = owner.join(&own);
        instance.path.get_or_init(|| Name::new(&path));
        Ok(path)
    }

    /// A binding gives a fresh instance its name: `let enc = encoder(64)`.
    pub fn name_instance(&mut self, name: &Name, value: &Value) {
        let Value::Func(func) = value else { return };
        let Some(instance) = &func.instance else { return };
        if instance.path.get().is_some() {
            return;
        }
        let Some(owner) = self.frame.owner.as_mut() else { return };
        let used = owner.names.entry(name.clone()).or_insert(0);
        let own = if *used == 0 {
            format!("{name}{}", owner.turns)
        } else {
            format!("{name}_{used}{}", owner.turns)
        };
        *used += 1;
        let path = owner.join(&own);
        instance.path.get_or_init(|| Name::new(path));
    }

    /// The word `fn` of the definition that is checked, where its own body is walked.
    pub fn own_head(&self) -> Option<Span> {
        self.head.filter(|_| self.path.is_none())
    }

    pub fn stack_path(&mut self, func: &Arc<Func>, span: Span) -> Checking<String> {
        let instance = func.instance.clone().unwrap_or_default();
        if let Some(path) = instance.path.get() {
            return Ok(path.to_string());
        }
        let Some(owner) = self.frame.owner.as_mut() else {
            return self.fail(errors::instance_in_function(span, "stack", self.own_head()));
        };
        let count = owner.counters.entry(Name::new("stack")).or_insert(0);
        let own = format!("stack_{count}{}", owner.turns);
        *count += 1;
        let path = owner.join(&own);
        instance.path.get_or_init(|| Name::new(&path));
        Ok(path)
    }
}
