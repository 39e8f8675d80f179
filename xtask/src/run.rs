//! One boot, from the start of QEMU to its end: reads the console, feeds it where a script is given, and stops a guest that
//! hangs.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{self, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use guest_protocol::stream::Piece;

use crate::child::{self, Child};
use crate::console::Console;
use crate::interrupt;
use crate::progress::{Progress, ProgressStep};
use crate::report::{Frames, Guest, Strings};
use crate::terminal::Lent;
use crate::workspace::Workspace;

/// How often defmt frames and the clock are looked at while the guest is silent.
const TICK: Duration = Duration::from_millis(50);

/// Lines kept of what QEMU itself complains about.
const COMPLAINTS: usize = 20;

/// Where the guest's console input comes from.
#[derive(Debug)]
pub(crate) enum Input {
    /// Nowhere.
    None,
    /// The terminal, which QEMU takes over.
    Terminal,
    /// These lines, one for each prompt; then `quit`.
    Script(Vec<String>),
    /// A line end for each [`Next::Answer`].
    Answers,
}

/// What is to happen to a guest.
pub(crate) enum Next<'a> {
    GoOn,
    /// It cannot go on.
    Abandon,
    /// It has asked for something, which is done.
    Answer,
    /// Its QEMU is killed, unless it has ended, and another one goes on in its place.
    Replace(Successor<'a>),
}

/// Says, of a guest whose QEMU has ended and whose output is all heard, how the next QEMU is started.
pub(crate) type Successor<'a> = Box<dyn FnOnce(&mut Guest) -> Result<Command> + 'a>;

/// How a boot ended.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    /// The exit status of QEMU. None: it was stopped, at the time limit or because the guest was abandoned.
    pub(crate) status: Option<ExitStatus>,
    /// Something that the guest needs had ended before.
    pub(crate) abandoned: bool,
    /// What the guest reported.
    pub(crate) guest: Guest,
    /// What QEMU itself printed as errors.
    pub(crate) complaints: Vec<String>,
    /// Whether the guest printed anything at all.
    pub(crate) spoke: bool,
    pub(crate) duration: Duration,
}

enum Event {
    Uart(Vec<u8>),
    Complaint(String),
}

/// Receivers of the guest's output.
pub(crate) struct Outputs<'a, 's> {
    pub(crate) frames: &'a mut Frames<'s>,
    pub(crate) console: &'a mut Console,
    /// Shows the last line.
    pub(crate) step: &'a ProgressStep,
    /// Whether records are shown too.
    pub(crate) show_records: bool,
}

/// [`run`] of a guest that gets no input and sends text, without a sign of progress. Returns the text as well.
pub(crate) fn silently(workspace: &Workspace, command: &Command, limit: Duration) -> (Result<Ended>, String) {
    let strings = Strings::none();
    let mut frames = Frames::follow(&workspace.scratch(), &strings);
    let mut console = Console::default();
    let ended = Progress::Silent.step("", |step| {
        let outputs = Outputs {
            frames: &mut frames,
            console: &mut console,
            step,
            show_records: false,
        };
        run(command, Input::None, Some(limit), |_| Next::GoOn, outputs)
    });
    (ended, console.guest_text())
}

/// Runs QEMU to its end. `limit` is how long the guest may take; `follow` hears of all the guest has reported, again and again,
/// and says what is to happen.
pub(crate) fn run<'a>(
    command: &Command,
    input: Input,
    limit: Option<Duration>,
    mut follow: impl FnMut(&Guest) -> Next<'a>,
    outputs: Outputs<'_, '_>,
) -> Result<Ended> {
    let Outputs {
        frames,
        console,
        step,
        show_records,
    } = outputs;
    let started = Instant::now();
    let stdin = || match input {
        Input::None => Stdio::null(),
        Input::Terminal => Stdio::inherit(),
        Input::Script(_) | Input::Answers => Stdio::piped(),
    };
    // Before the child, so that QEMU has ended when the terminal gets its settings back.
    let _lent = matches!(input, Input::Terminal).then(Lent::lend);
    let start = |command: &Command| {
        let mut command = child::bound(command);
        Child::start(command.stdin(stdin()).stdout(Stdio::piped()).stderr(Stdio::piped()))
    };
    let mut child = start(command)?;
    let mut events = listen(&mut child.process);
    let mut typist = Typist::new(child.process.stdin.take(), &input);
    let mut successor: Option<Successor<'a>> = None;
    let mut ended = Ended::default();

    let mut line = Vec::new();
    loop {
        let event = events.recv_timeout(TICK);
        for message in frames.new_messages() {
            console.side("defmt", &message);
        }
        match event {
            Ok(Event::Uart(bytes)) => {
                ended.spoke = true;
                for piece in ended.guest.hear(started.elapsed(), &bytes) {
                    match piece {
                        Piece::Text(text) => {
                            console.guest(&text);
                            line.extend_from_slice(&text);
                            if let Some(end) = line.iter().rposition(|byte| *byte == b'\n') {
                                step.now(&last_line(&line[..end]));
                                line.drain(..=end);
                            }
                            typist.saw(&text);
                        }
                        Piece::Record(line) => {
                            if show_records {
                                console.side("record", line.trim_start_matches(guest_protocol::MARK));
                            }
                        }
                    }
                }
            }
            Ok(Event::Complaint(line)) => {
                console.side("qemu", &line);
                if ended.complaints.len() < COMPLAINTS {
                    ended.complaints.push(line);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            // Both streams are closed: QEMU has ended.
            Err(RecvTimeoutError::Disconnected) => {
                let Some(successor) = successor.take() else { break };
                child.wait()?;
                child = start(&successor(&mut ended.guest)?)?;
                events = listen(&mut child.process);
                typist.keyboard = child.process.stdin.take();
            }
        }
        if interrupt::asked() {
            break;
        }
        // Between two QEMUs nothing is to happen.
        if successor.is_none() {
            match follow(&ended.guest) {
                Next::GoOn => {}
                Next::Abandon => ended.abandoned = true,
                Next::Answer => typist.answer()?,
                Next::Replace(next) => {
                    successor = Some(next);
                    // It may have ended by itself.
                    let _ = child.process.kill();
                }
            }
        }
        if ended.abandoned || limit.is_some_and(|limit| started.elapsed() > limit) {
            console.finish();
            ended.duration = started.elapsed();
            return Ok(ended);
        }
    }
    if interrupt::asked() {
        console.finish();
        bail!("interrupted");
    }
    ended.status = Some(child.wait()?);
    for message in frames.new_messages() {
        console.side("defmt", &message);
    }
    ended.guest.end();
    console.finish();
    ended.duration = started.elapsed();
    Ok(ended)
}

/// The last line of a text that is not empty.
fn last_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let line = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).collect()
}

/// Starts a reader for each stream; the channel closes when both have ended.
fn listen(child: &mut process::Child) -> mpsc::Receiver<Event> {
    let (sender, events) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        let sender = sender.clone();
        thread::spawn(move || read_uart(stdout, &sender));
    }
    if let Some(stderr) = child.stderr.take() {
        thread::spawn(move || read_complaints(stderr, &sender));
    }
    events
}

fn read_uart(mut stream: impl Read, sender: &Sender<Event>) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        if sender.send(Event::Uart(buffer[..count].to_vec())).is_err() {
            return;
        }
    }
}

fn read_complaints(stream: impl Read, sender: &Sender<Event>) {
    for line in BufReader::new(stream).split(b'\n').map_while(std::io::Result::ok) {
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        if !line.is_empty() && sender.send(Event::Complaint(line)).is_err() {
            return;
        }
    }
}

/// Types a script, a line whenever the monitor prompts: typed ahead, the input would be lost while the console starts.
struct Typist {
    keyboard: Option<ChildStdin>,
    lines: VecDeque<String>,
    /// The end of what the guest printed last.
    tail: Vec<u8>,
}

impl Typist {
    fn new(keyboard: Option<ChildStdin>, input: &Input) -> Typist {
        let mut lines = VecDeque::new();
        if let Input::Script(script) = input {
            lines.extend(script.iter().cloned());
            // Without it the guest would wait for input that never comes.
            lines.push_back("quit".to_owned());
        }
        Typist {
            keyboard,
            lines,
            tail: Vec::new(),
        }
    }

    /// Types the end of a line.
    fn answer(&mut self) -> Result<()> {
        let keyboard = self.keyboard.as_mut().context("the guest has no keyboard")?;
        keyboard
            .write_all(b"\n")
            .and_then(|()| keyboard.flush())
            .context("cannot type at the console of the guest")
    }

    fn saw(&mut self, text: &[u8]) {
        let Some(keyboard) = &mut self.keyboard else { return };
        let prompt = image_blk::PROMPT.as_bytes();
        self.tail.extend_from_slice(text);
        if self.tail.ends_with(prompt)
            && let Some(line) = self.lines.pop_front()
        {
            // A guest that has ended reads nothing; its exit status tells why.
            let _ = keyboard
                .write_all(format!("{line}\n").as_bytes())
                .and_then(|()| keyboard.flush());
            self.tail.clear();
        }
        let surplus = self.tail.len().saturating_sub(prompt.len());
        self.tail.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use std::io::stdin;

    use rustix::termios::{LocalModes, tcgetattr};

    use super::*;
    use crate::pty::Pty;

    /// Sets the terminal up as QEMU does, and waits.
    const QEMU: &str = "stty -icanon -echo; echo here; exec sleep 60";

    /// Fails on purpose, in a process of its own that the next test starts.
    #[test]
    #[ignore = "it is a part of the next test"]
    fn a_panic_while_the_guest_has_the_terminal() {
        let settings = tcgetattr(stdin()).expect("the next test gives this process a terminal");
        assert!(settings.local_modes.contains(LocalModes::ECHO));
        let strings = Strings::none();
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let mut frames = Frames::follow(folder.path(), &strings);
        let mut command = Command::new("sh");
        command.args(["-c", QEMU]);
        let _ = Progress::Silent.step("", |step| {
            let outputs = Outputs {
                frames: &mut frames,
                console: &mut Console::default(),
                step,
                show_records: false,
            };
            let follow = |_: &Guest| {
                let settings = tcgetattr(stdin()).expect("it is there as long as the process");
                assert!(settings.local_modes.contains(LocalModes::ECHO), "on purpose");
                Next::GoOn
            };
            run(&command, Input::Terminal, None, follow, outputs)
        });
    }

    #[test]
    fn a_panic_leaves_the_terminal_as_it_was() {
        let pty = Pty::open().expect("the host has terminals");
        let output = Command::new(std::env::current_exe().expect("this program has a path"))
            .args(["--ignored", "--exact"])
            .arg("run::tests::a_panic_while_the_guest_has_the_terminal")
            .stdin(pty.stdin().expect("a terminal can be shared"))
            .output()
            .expect("this program can run");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("on purpose"), "{text}");
        assert!(pty.is_usual().expect("it is still there"));
    }
}
