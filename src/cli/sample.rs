//! `nnc sample`: a text, written on by a model of characters.

use std::io::Write;

use crate::axes::DimVar;
use crate::check::core::Elem;
use crate::elaborate::Part;
use crate::formats::text;
use crate::runtime::Array;
use crate::session::{self, Given, What, sizing_dims};
use crate::tensor::random::{Key, site};
use crate::tensor::{Number, Tensor};
use crate::train::{Clock, Store, errors, load_weights};

use super::arguments::{Global, SampleArguments};
use super::console::{Console, Stop};
use super::prepare::{failed, prepare, stop};
use super::train::pool;

/// Each character is drawn from softmax(scores / temperature) at the last position, given at most `context` characters before it.
pub fn sample(global: &Global, arguments: &SampleArguments, console: &mut Console) -> Result<u8, Stop> {
    let settings = global.settings();
    let prepared = prepare(&arguments.target, "model", &[What::Model], &settings, console)?;
    let (session, item) = (&prepared.session, &prepared.item);
    let fail = failed(session);
    let loaded = text::load_characters(&arguments.text);
    let (vocabulary, _) = loaded.map_err(|error| fail(Box::new(errors::bad_file(&error))))?;
    let mut written = vocabulary.encode(&arguments.prompt).map_err(|unknown| {
        Stop::Usage(format!("the text has no {unknown:?}, so the model knows none in --prompt"))
    })?;
    if written.is_empty() {
        return Err(Stop::Usage("--prompt needs a character to begin with".to_owned()));
    }
    let context = usize::from(arguments.context);
    let begin = window(&written, context)?;
    let [input] = item.core.as_ref().map_or(&[][..], |core| &core.inputs) else {
        return Err(unfit(&item.name));
    };
    let given = Given { name: None, file: arguments.text.clone(), array: begin };
    let input_name = input.name.clone();
    let fitted = session.fit(item, vec![given], &settings).map_err(|found| stop(session, found))?;
    let core = &fitted.core;
    let input = core.inputs.iter().find(|input| input.name == input_name).ok_or_else(|| unfit(&item.name))?;
    let classes = match &input.elem {
        Elem::Idx(size, _) => size.as_const(),
        _ => None,
    };
    let length: Option<DimVar> = match input.axes.as_slice() {
        [axis] => core.size(*axis).as_var().cloned(),
        _ => None,
    };
    let (Some(classes), Some(length)) = (classes, length) else { return Err(unfit(&item.name)) };
    if classes != vocabulary.len() as i64 {
        let file = arguments.text.display();
        let symbols = vocabulary.len();
        return Err(Stop::Usage(format!("the model knows {classes} characters, but {file} has {symbols}")));
    }
    let sizing = sizing_dims(core);
    let mut dims = settings.dims.clone();
    dims.extend(fitted.dims.iter().filter(|(dim, _)| sizing.contains(*dim)).map(|(d, s)| (d.clone(), *s)));
    let mut timings = session.timings;
    let unit = session::compile(core, Part::Body, &dims, &settings, &mut timings).map_err(&fail)?;
    let memory = |error: crate::runtime::OutOfMemory| fail(Box::new(errors::not_run(&error.into())));
    let mut store = Store::of(core, &dims).map_err(memory)?;
    load_weights(&arguments.weights, &mut store).map_err(&fail)?;
    console.timings(global.timings, &timings);
    let pool = pool(global)?;
    let key = Key::new(arguments.seed, site("sample"));
    let show = |text: &str| {
        if !console.json {
            print!("{text}");
            // A reader that has gone away is noticed when the command ends.
            let _ = std::io::stdout().flush();
        }
    };
    show(&arguments.prompt);
    for turn in 0..u64::from(arguments.length) {
        let seen = window(&written, context)?;
        dims.extend(fitted.dims.iter().map(|(dim, size)| (dim.clone(), *size)));
        dims.insert(length.clone(), seen.len() as i64);
        let array = Array::from_tensor(&seen).map_err(memory)?;
        let clock = Clock { seed: arguments.seed, step: turn, ..Clock::default() };
        let shapes: Vec<_> = unit.output_shapes(&dims).collect();
        let values = unit.run(&dims, &[array], &mut store, clock, &pool).map_err(&fail)?;
        let ([(shape, _)], [value]) = (shapes.as_slice(), values.as_slice()) else {
            return Err(unfit(&item.name));
        };
        if *shape != [seen.len(), vocabulary.len()] {
            return Err(unfit(&item.name));
        }
        let scores = value.to_tensor(shape).map_err(|error| Stop::Usage(error.to_string()))?;
        let last = (seen.len() - 1) * vocabulary.len();
        let scores: Vec<f64> = (last..last + vocabulary.len())
            .map(|at| scores.number(at).map_or(f64::NAN, Number::as_f64) / f64::from(arguments.temperature))
            .collect();
        let drawn = draw(&scores, f64::from(key.uniform(turn, 0)));
        written.push(drawn);
        show(&vocabulary.decode(&[drawn]).unwrap_or_default());
    }
    if console.json {
        let text = vocabulary.decode(&written).unwrap_or_default();
        console.json(&serde_json::json!({"ok": true, "text": text}));
    } else {
        println!();
    }
    Ok(0)
}

/// The last characters, at most `context` of them.
fn window(ids: &[i32], context: usize) -> Result<Tensor, Stop> {
    let seen = ids[ids.len().saturating_sub(context)..].to_vec();
    Tensor::from_vec(&[seen.len()], seen).map_err(|error| Stop::Usage(error.to_string()))
}

/// The id whose part of the softmax holds `at`, a number in 0..1.
fn draw(scores: &[f64], at: f64) -> i32 {
    let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|score| (score - top).exp()).collect();
    let mut left = at * weights.iter().sum::<f64>();
    let found = weights.iter().position(|weight| {
        left -= weight;
        left < 0.0
    });
    // Rounding may leave something after the last.
    found.unwrap_or(weights.len().saturating_sub(1)) as i32
}

fn unfit(name: &str) -> Stop {
    Stop::Usage(format!("`{name}` is no model of characters: Idx[V][T] -> f32[T, V]"))
}

#[cfg(test)]
mod tests {
    use super::draw;

    #[test]
    fn draws_follow_the_softmax() {
        let scores = [0.0, 3f64.ln(), f64::NEG_INFINITY];
        assert_eq!([0.0, 0.24, 0.26, 0.999].map(|at| draw(&scores, at)), [0, 0, 1, 1]);
    }
}
