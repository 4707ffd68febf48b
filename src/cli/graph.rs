//! `nnc graph`: a definition as a picture, in SVG or for Graphviz.

use std::ffi::OsStr;
use std::fmt::Write;
use std::path::PathBuf;

use layout::backends::svg::SVGWriter;
use layout::core::base::Orientation;
use layout::core::color::Color;
use layout::core::geometry::Point;
use layout::core::style::StyleAttr;
use layout::std_shapes::shapes::{Arrow, Element, ShapeKind};
use layout::topo::layout::VisualGraph;

use crate::formats::write_atomic;
use crate::session::{BoxKind, Diagram, DiagramBox, What, diagram};

use super::arguments::{Global, GraphArguments};
use super::console::{Console, Stop};
use super::prepare::{prepare, stop};

/// Points; a character of the drawing's font is about as wide as half of it is high.
const FONT: usize = 14;
const CHARACTER: f64 = 7.8;
const LINE: f64 = 20.0;

pub fn graph(global: &Global, arguments: &GraphArguments, console: &mut Console) -> Result<u8, Stop> {
    let settings = global.settings();
    let prepared =
        prepare(&arguments.target, "model", &[What::Model, What::Layer, What::Fn], &settings, console)?;
    let item = &prepared.item;
    let core = item.alone().map_err(|found| stop(&prepared.session, found))?;
    let drawn = diagram(core, &prepared.session.sources, &settings.dims);
    let path = arguments.output.clone().unwrap_or_else(|| PathBuf::from(format!("{}.svg", item.name)));
    let text = match path.extension().and_then(OsStr::to_str) {
        Some("svg") => svg(&drawn),
        Some("dot" | "gv") => dot(&drawn, &item.name),
        _ => {
            return Err(Stop::Usage(format!(
                "{}: a picture is *.svg, or *.dot for Graphviz",
                path.display()
            )));
        }
    };
    write_atomic(&path, |file| file.write_all(text.as_bytes()))?;
    if console.json {
        console.json(
            &serde_json::json!({"file": path, "boxes": drawn.boxes.len(), "arrows": drawn.arrows.len()}),
        );
    } else {
        console.say(format!(
            "{}: {} boxes, {} arrows",
            path.display(),
            drawn.boxes.len(),
            drawn.arrows.len()
        ));
    }
    Ok(0)
}

/// What stands in a box.
fn lines(shown: &DiagramBox) -> Vec<String> {
    let mut lines = vec![shown.label.clone()];
    lines.extend((!shown.gives.is_empty()).then(|| shown.gives.clone()));
    lines.extend(shown.parameters.as_ref().map(|count| format!("{count} parameters")));
    lines
}

fn svg(drawn: &Diagram) -> String {
    let mut picture = VisualGraph::new(Orientation::TopToBottom);
    let handles: Vec<_> = drawn
        .boxes
        .iter()
        .map(|shown| {
            let lines = lines(shown);
            let longest = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
            let size = Point::new(longest as f64 * CHARACTER + 24.0, lines.len() as f64 * LINE + 12.0);
            let (fill, rounded) = match shown.kind {
                BoxKind::Input | BoxKind::Output => ("white", 15),
                BoxKind::Layer => ("lightblue", 5),
                BoxKind::Function => ("whitesmoke", 5),
            };
            let style = StyleAttr::new(Color::fast("black"), 1, Some(Color::fast(fill)), rounded, FONT);
            let shape = ShapeKind::new_box(&lines.join("\n"));
            picture.add_node(Element::create(shape, style, Orientation::TopToBottom, size))
        })
        .collect();
    for &(from, to) in &drawn.arrows {
        picture.add_edge(Arrow::simple(""), handles[from], handles[to]);
    }
    let mut writer = SVGWriter::new();
    picture.do_it(false, false, false, &mut writer);
    // The crate offers no choice of fonts.
    writer.finalize().replace("Times, serif", "sans-serif")
}

fn dot(drawn: &Diagram, name: &str) -> String {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let mut text = format!(
        "digraph \"{}\" {{\n  node [shape=box, style=\"rounded,filled\", fontname=\"sans-serif\"]\n",
        quoted(name)
    );
    for (index, shown) in drawn.boxes.iter().enumerate() {
        let label: Vec<String> = lines(shown).iter().map(|line| quoted(line)).collect();
        let fill = match shown.kind {
            BoxKind::Input | BoxKind::Output => "white",
            BoxKind::Layer => "lightblue",
            BoxKind::Function => "whitesmoke",
        };
        let _ = writeln!(text, "  n{index} [label=\"{}\", fillcolor={fill}]", label.join("\\n"));
    }
    for (from, to) in &drawn.arrows {
        let _ = writeln!(text, "  n{from} -> n{to}");
    }
    text + "}\n"
}
