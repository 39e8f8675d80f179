//! One boot, from the start of QEMU to its end: reads the console, feeds it where a script is given, and stops a guest that
//! hangs.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::console::Console;
use crate::interrupt;
use crate::report::{Frames, Guest, Piece};

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
}

/// How a boot ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit status of QEMU. None: it was stopped, because the guest went past the limit or was abandoned.
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

/// Runs QEMU to its end. `limit` is how long the guest may take, `is_abandoned` whether to stop it because it cannot go on.
pub(crate) fn run(
    mut command: Command,
    input: Input,
    limit: Option<Duration>,
    mut is_abandoned: impl FnMut() -> bool,
    frames: &mut Frames<'_>,
    console: &mut Console,
    show_records: bool,
) -> Result<Ended> {
    let started = Instant::now();
    let stdin = match input {
        Input::None => Stdio::null(),
        Input::Terminal => Stdio::inherit(),
        Input::Script(_) => Stdio::piped(),
    };
    let child = command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = Stopped(child.with_context(|| format!("cannot start {}", command.get_program().display()))?);
    let events = listen(&mut child.0);
    let mut typist = Typist::new(child.0.stdin.take(), input);
    let mut ended = Ended {
        status: None,
        abandoned: false,
        guest: Guest::default(),
        complaints: Vec::new(),
        spoke: false,
        duration: Duration::ZERO,
    };

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
            // Both streams are closed: QEMU is gone, or as good as.
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if interrupt::asked() {
            break;
        }
        ended.abandoned = is_abandoned();
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
    ended.status = Some(child.0.wait().context("cannot wait for QEMU")?);
    for message in frames.new_messages() {
        console.side("defmt", &message);
    }
    ended.guest.end();
    console.finish();
    ended.duration = started.elapsed();
    Ok(ended)
}

/// A child that does not outlive this value, whichever way the run is left.
struct Stopped(Child);

impl Drop for Stopped {
    fn drop(&mut self) {
        // Both fail if it has ended, which is as well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a reader for each stream; the channel closes when both have ended.
fn listen(child: &mut Child) -> mpsc::Receiver<Event> {
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
    fn new(keyboard: Option<ChildStdin>, input: Input) -> Typist {
        let mut lines = VecDeque::new();
        if let Input::Script(script) = input {
            lines.extend(script);
            // Without it the guest would wait for input that never comes.
            lines.push_back("quit".to_owned());
        }
        Typist {
            keyboard,
            lines,
            tail: Vec::new(),
        }
    }

    fn saw(&mut self, text: &[u8]) {
        let Some(keyboard) = &mut self.keyboard else { return };
        let prompt = image_blk::PROMPT.as_bytes();
        self.tail.extend_from_slice(text);
        if self.tail.ends_with(prompt)
            && let Some(line) = self.lines.pop_front()
        {
            // A guest that is gone reads nothing; its exit status tells.
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
    use super::*;
    use crate::report::Strings;
    use std::path::Path;

    /// Runs a shell script in the place of QEMU.
    fn boot(script: &str, input: Input, limit: Duration) -> (Ended, String) {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let strings = Strings::none();
        let mut frames = Frames::follow(Path::new("/no/such/file"), &strings);
        let mut console = Console::default();
        let ended = run(command, input, Some(limit), || false, &mut frames, &mut console, false).unwrap();
        (ended, console.text())
    }

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn text_records_complaints_and_status_are_told_apart() {
        let script = r#"printf 'hello\n\036{"done":{"passed":1,"failed":0}}\nbye'; echo oops >&2; exit 7"#;
        let (ended, text) = boot(script, Input::None, LONG);
        assert_eq!(ended.status.unwrap().code(), Some(7));
        assert_eq!(ended.guest.done(), Some((1, 0)));
        assert_eq!(ended.complaints, ["oops"]);
        assert!(ended.spoke);
        assert!(
            text.contains("hello\n") && text.contains("bye\n") && text.contains("[qemu] oops\n"),
            "{text}"
        );
        assert!(!text.contains("passed"));
    }

    #[test]
    fn a_guest_that_hangs_is_stopped() {
        let (ended, text) = boot("echo started; exec sleep 1000", Input::None, Duration::from_millis(300));
        assert!(ended.status.is_none());
        assert_eq!(text, "started\n");
    }

    #[test]
    fn a_script_is_typed_a_line_per_prompt_and_ends_with_quit() {
        let script =
            r#"while printf 'blk> ' && read -r word; do echo "got $word"; [ "$word" = quit ] && exit 0; done; exit 1"#;
        let (ended, text) = boot(script, Input::Script(vec!["info".into(), "read 0".into()]), LONG);
        assert_eq!(ended.status.unwrap().code(), Some(0), "{text}");
        assert_eq!(text, "blk> got info\nblk> got read 0\nblk> got quit\n");
    }

    #[test]
    fn a_guest_that_is_abandoned_is_stopped() {
        let mut command = Command::new("sh");
        command.args(["-c", "exec sleep 1000"]);
        let strings = Strings::none();
        let mut frames = Frames::follow(Path::new("/no/such/file"), &strings);
        let mut console = Console::default();
        let ended = run(
            command,
            Input::None,
            Some(LONG),
            || true,
            &mut frames,
            &mut console,
            false,
        )
        .unwrap();
        assert!(ended.abandoned && ended.status.is_none());
    }

    #[test]
    fn silence_is_seen() {
        let (ended, _) = boot("exit 1", Input::None, LONG);
        assert!(!ended.spoke);
    }
}
