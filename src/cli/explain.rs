//! `nnc explain CODE`: the page of an error code.

use serde_json::{Value, json};

use crate::diag::pages::{self, Page};

use super::arguments::ExplainArguments;
use super::console::{Console, Stop};

pub fn explain(arguments: &ExplainArguments, console: &mut Console) -> Result<u8, Stop> {
    let Some(text) = &arguments.code else {
        list(console);
        return Ok(0);
    };
    let Some(code) = pages::parse(text) else {
        return Err(Stop::Usage(format!("`{text}` is no error code; one looks like E0214")));
    };
    let Some(page) = pages::page(code) else {
        let near = pages::nearest(code).map_or(String::new(), |near| format!("; the nearest is {near}"));
        return Err(Stop::Usage(format!("there is no error {code}{near}")));
    };
    if console.json {
        console.json(&value(&page));
    } else {
        console.print(&page.show());
    }
    Ok(0)
}

fn list(console: &mut Console) {
    if console.json {
        let all = pages::groups().into_iter().flat_map(|(_, pages)| pages);
        console.json(&all.map(|page| json!({"code": page.code.to_string(), "title": page.title})).collect());
        return;
    }
    for (index, (title, pages)) in pages::groups().into_iter().enumerate() {
        if index > 0 {
            console.say("");
        }
        console.say(title);
        for page in pages {
            console.say(format!("  {}  {}", page.code, page.title));
        }
    }
}

fn value(page: &Page) -> Value {
    let blocks: Vec<Value> = page
        .blocks
        .iter()
        .map(|(block, text)| json!({"block": format!("{block:?}"), "text": text}))
        .collect();
    json!({"code": page.code.to_string(), "title": page.title, "text": page.text, "blocks": blocks})
}
