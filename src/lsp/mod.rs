//! The language server, `nnc lsp`: what an editor asks about an open program, by the protocol that editors share.
//!
//! It says what `nnc check` says, of texts that need not be saved. It must never write to a program's files: it hands edits to the editor.

mod answers;
mod document;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use lsp_server::{Connection, ErrorCode, Message, Notification, Request, Response};
use serde_json::{Value, json};

use answers::{Analysis, formatting};

/// Why the server ended early.
pub type Stopped = Box<dyn std::error::Error + Send + Sync>;

/// Serves the editor at standard input and output until it says goodbye.
///
/// # Errors
/// The editor breaks the protocol, or is gone.
pub fn serve() -> Result<(), Stopped> {
    let (connection, threads) = Connection::stdio();
    answer(&connection)?;
    drop(connection);
    threads.join()?;
    Ok(())
}

/// Answers until the shutdown.
fn answer(connection: &Connection) -> Result<(), Stopped> {
    connection.initialize(json!({
        // Each change brings the whole text.
        "textDocumentSync": {"openClose": true, "change": 1},
        "hoverProvider": true,
        "definitionProvider": true,
        "documentFormattingProvider": true,
        "documentSymbolProvider": true,
        "completionProvider": {},
        "codeActionProvider": {"codeActionKinds": ["quickfix"]},
    }))?;
    let mut server = Server { connection, texts: HashMap::new(), analyses: HashMap::new() };
    for message in &connection.receiver {
        match message {
            Message::Request(request) => {
                if connection.handle_shutdown(&request)? {
                    return Ok(());
                }
                server.request(request)?;
            }
            Message::Notification(notification) => server.notification(&notification)?,
            Message::Response(_) => {}
        }
    }
    Ok(())
}

struct Server<'c> {
    connection: &'c Connection,
    /// The open documents by address.
    texts: HashMap<String, String>,
    /// `None`: the compiler failed on this text, and would again.
    analyses: HashMap<String, Option<Analysis>>,
}

impl Server<'_> {
    fn notification(&mut self, notification: &Notification) -> Result<(), Stopped> {
        let params = &notification.params;
        let document = &params["textDocument"];
        let Some(uri) = document["uri"].as_str().map(str::to_owned) else { return Ok(()) };
        let text = match notification.method.as_str() {
            "textDocument/didOpen" => document["text"].as_str(),
            "textDocument/didChange" => {
                params["contentChanges"].as_array().and_then(|all| all.last()?["text"].as_str())
            }
            "textDocument/didClose" => {
                self.texts.remove(&uri);
                self.analyses.remove(&uri);
                return self.publish(&uri, json!([]));
            }
            _ => None,
        };
        let Some(text) = text else { return Ok(()) };
        let path = document::path_of(&uri);
        let analysis = guarded(|| Analysis::of(&path, text));
        let found = match &analysis {
            Some(analysis) => analysis.diagnostics(),
            None => json!([{
                "range": {"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 0}},
                "severity": 1,
                "source": "nnc",
                "message": "this is a defect of nnc; please report it, with the program",
            }]),
        };
        self.texts.insert(uri.clone(), text.to_owned());
        self.analyses.insert(uri.clone(), analysis);
        self.publish(&uri, found)
    }

    fn publish(&self, uri: &str, diagnostics: Value) -> Result<(), Stopped> {
        let params = json!({"uri": uri, "diagnostics": diagnostics});
        let notification = Notification::new("textDocument/publishDiagnostics".to_owned(), params);
        Ok(self.connection.sender.send(Message::Notification(notification))?)
    }

    fn request(&self, request: Request) -> Result<(), Stopped> {
        let uri = request.params["textDocument"]["uri"].as_str().unwrap_or_default();
        let at = &request.params["position"];
        let of = |answer: &dyn Fn(&Analysis) -> Value| {
            let analysis = self.analyses.get(uri).and_then(Option::as_ref);
            analysis.and_then(|analysis| guarded(|| answer(analysis))).unwrap_or(Value::Null)
        };
        let result = match request.method.as_str() {
            "textDocument/hover" => of(&|analysis| analysis.hover(at)),
            "textDocument/definition" => of(&|analysis| analysis.definition(at)),
            "textDocument/completion" => of(&Analysis::completion),
            "textDocument/codeAction" => of(&|analysis| analysis.actions(uri, &request.params["range"])),
            "textDocument/documentSymbol" => of(&Analysis::symbols),
            "textDocument/formatting" => {
                let text = self.texts.get(uri);
                text.and_then(|text| guarded(|| formatting(text))).unwrap_or(Value::Null)
            }
            other => {
                let error = Response::new_err(
                    request.id,
                    ErrorCode::MethodNotFound as i32,
                    format!("nnc does not answer {other}"),
                );
                return Ok(self.connection.sender.send(Message::Response(error))?);
            }
        };
        Ok(self.connection.sender.send(Message::Response(Response::new_ok(request.id, result)))?)
    }
}

/// A defect of the compiler costs an answer, not the session.
fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: &str = "/// Twice as much.\nfn twice(x: f32[N]) -> f32[N] = x + x\nmodel m(x: f32[set N]) -> f32 = sum(relu(twice(x)))\n";

    /// What the server answers to these messages; each request is followed by its answer.
    fn talk(messages: Vec<Message>) -> Vec<Message> {
        let (server, client) = Connection::memory();
        let thread = std::thread::spawn(move || answer(&server).map_err(|error| error.to_string()));
        let request =
            |id: i32, method: &str| Message::Request(Request::new(id.into(), method.to_owned(), json!({})));
        let note = |method: &str| Message::Notification(Notification::new(method.to_owned(), json!({})));
        let begin = vec![request(-1, "initialize"), note("initialized")];
        let end = vec![request(-2, "shutdown"), note("exit")];
        begin.into_iter().chain(messages).chain(end).for_each(|message| client.sender.send(message).unwrap());
        thread.join().unwrap().unwrap();
        client.receiver.try_iter().collect()
    }

    fn opened(text: &str) -> Message {
        let document = json!({"uri": "file:///nowhere/a.nn", "languageId": "nn", "version": 1, "text": text});
        Message::Notification(Notification::new(
            "textDocument/didOpen".to_owned(),
            json!({"textDocument": document}),
        ))
    }

    /// The result of one request about a program, at the first letter of `needle`.
    fn ask(text: &str, method: &str, needle: &str) -> Value {
        let offset = text.find(needle).unwrap();
        let line = text[..offset].matches('\n').count();
        let character = offset - text[..offset].rfind('\n').map_or(0, |at| at + 1);
        let params = json!({"textDocument": {"uri": "file:///nowhere/a.nn"}, "position": {"line": line, "character": character}});
        let request = Message::Request(Request::new(7.into(), format!("textDocument/{method}"), params));
        let answers = talk(vec![opened(text), request]);
        let found = answers.into_iter().find_map(|message| match message {
            Message::Response(response) if response.id == 7.into() => response.result,
            _ => None,
        });
        found.expect("an answer")
    }

    fn published(text: &str) -> Value {
        let found = talk(vec![opened(text)]).into_iter().find_map(|message| match message {
            Message::Notification(note) => Some(note.params["diagnostics"].clone()),
            _ => None,
        });
        found.expect("diagnostics")
    }

    #[test]
    fn errors_stand_where_they_are() {
        assert_eq!(published(PROGRAM), json!([]));
        let found = published(&PROGRAM.replace("sum(relu", "sum(reluu"));
        assert_eq!(found[0]["code"], "E0101");
        assert_eq!(found[0]["range"]["start"], json!({"line": 2, "character": 36}));
        assert!(found[0]["message"].as_str().unwrap().contains("relu"));
        assert!(published("fn f(").as_array().unwrap().len() == 1);
    }

    #[test]
    fn names_lead_to_their_definitions() {
        let own = ask(PROGRAM, "definition", "twice(x)))");
        assert_eq!(own["range"]["start"], json!({"line": 1, "character": 3}));
        assert_eq!(own["uri"], "file:///nowhere/a.nn");
        let library = ask(PROGRAM, "definition", "relu");
        let path = document::path_of(library["uri"].as_str().unwrap());
        let line = library["range"]["start"]["line"].as_u64().unwrap() as usize;
        assert!(std::fs::read_to_string(path).unwrap().lines().nth(line).unwrap().contains("relu"));
        assert_eq!(ask(PROGRAM, "definition", "-> f32 = sum"), Value::Null);
    }

    #[test]
    fn hover_tells_type_and_theorem() {
        let text = ask(PROGRAM, "hover", "twice(x)))")["contents"]["value"].as_str().unwrap().to_owned();
        assert!(
            text.contains("fn twice(x: f32[N]) -> f32[N]\n") && text.contains("Twice as much."),
            "{text}"
        );
        let text = ask(PROGRAM, "hover", "m(x: f32[set")["contents"]["value"].as_str().unwrap().to_owned();
        assert!(text.contains("invariant under permutations of N"), "{text}");
    }

    #[test]
    fn what_is_proposed_can_be_done() {
        let wrong = PROGRAM.replace("sum(relu", "sum(rellu");
        let line = wrong.lines().nth(2).unwrap();
        let at = line.find("rellu").unwrap();
        let place = json!({"line": 2, "character": at});
        let params =
            json!({"textDocument": {"uri": "file:///nowhere/a.nn"}, "range": {"start": place, "end": place}});
        let request = Message::Request(Request::new(7.into(), "textDocument/codeAction".to_owned(), params));
        let found = talk(vec![opened(&wrong), request]).into_iter().find_map(|message| match message {
            Message::Response(response) if response.id == 7.into() => response.result,
            _ => None,
        });
        let edit = &found.unwrap()[0]["edit"]["changes"]["file:///nowhere/a.nn"][0];
        assert_eq!(edit["newText"], "relu");
        assert_eq!(edit["range"]["start"], place);
        assert_eq!(edit["range"]["end"], json!({"line": 2, "character": at + 5}));
    }

    #[test]
    fn texts_are_formatted_and_listed() {
        assert_eq!(ask(PROGRAM, "formatting", "fn"), json!([]));
        let edits = ask("fn f( x :f32 )->f32=x", "formatting", "fn");
        assert_eq!(edits[0]["newText"], "fn f(x: f32) -> f32 = x\n");
        assert_eq!(ask("fn f(", "formatting", "fn"), Value::Null);
        let symbols = ask(PROGRAM, "documentSymbol", "fn");
        assert_eq!(symbols.as_array().unwrap().len(), 2);
        let names = ask(PROGRAM, "completion", "fn");
        assert!(
            ["twice", "m", "relu", "conv2d"].iter().all(|name| names
                .as_array()
                .unwrap()
                .iter()
                .any(|own| own["label"] == *name))
        );
    }
}
