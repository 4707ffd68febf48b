//! The thread of the engine. It may be lost, by a defect or because nobody waits for it any more; a new one takes its place.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::engine::Engine;
use super::{Options, Reply};

/// Limits of nesting are met before such a stack ends.
const STACK: usize = 512 << 20;

/// An engine in a thread, and what it has to be told if it is lost.
pub struct Worker {
    options: Options,
    colour: bool,
    link: Option<(Sender<String>, Receiver<Reply>)>,
    kept: Vec<String>,
}

impl Worker {
    pub fn start(options: Options, colour: bool) -> Worker {
        let colour = colour && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let link = spawn(options.clone(), colour);
        Worker { options, colour, link, kept: Vec::new() }
    }

    /// The reply to an input. Ctrl-C ends the waiting.
    pub fn ask(&mut self, text: &str) -> Reply {
        interrupted().store(false, Ordering::Relaxed);
        match self.send(text) {
            Ok(reply) => {
                if reply.kept {
                    self.kept.push(text.to_owned());
                }
                if text.trim() == ":reset" {
                    self.kept.clear();
                }
                reply
            }
            Err(message) => {
                self.again();
                Reply { err: message.to_owned(), failed: Some(130), ..Reply::default() }
            }
        }
    }

    fn send(&self, text: &str) -> Result<Reply, &'static str> {
        let Some((ask, replies)) = &self.link else { return Err("error: no thread can be started\n") };
        // A panic has told of itself.
        let lost = "the session goes on with what was defined before\n";
        ask.send(text.to_owned()).map_err(|_| lost)?;
        loop {
            match replies.recv_timeout(Duration::from_millis(50)) {
                Ok(reply) => return Ok(reply),
                Err(RecvTimeoutError::Disconnected) => return Err(lost),
                Err(RecvTimeoutError::Timeout) if interrupted().swap(false, Ordering::Relaxed) => {
                    return Err("interrupted\n");
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// A new engine, which is told what the lost one knew.
    fn again(&mut self) {
        self.link = spawn(self.options.clone(), self.colour);
        for text in std::mem::take(&mut self.kept) {
            if self.send(&text).is_ok() {
                self.kept.push(text);
            }
        }
    }
}

fn spawn(options: Options, colour: bool) -> Option<(Sender<String>, Receiver<Reply>)> {
    let (ask, texts) = channel::<String>();
    let (answer, replies) = channel();
    let work = move || {
        let mut engine = Engine::new(&options, colour);
        while let Ok(text) = texts.recv() {
            if answer.send(engine.input(&text)).is_err() {
                break;
            }
        }
    };
    std::thread::Builder::new().name("nnc repl".into()).stack_size(STACK).spawn(work).ok()?;
    Some((ask, replies))
}

/// Becomes true at Ctrl-C.
fn interrupted() -> &'static AtomicBool {
    static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    FLAG.get_or_init(|| {
        let flag = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&flag);
        let _ = ctrlc::set_handler(move || seen.store(true, Ordering::Relaxed));
        flag
    })
}
