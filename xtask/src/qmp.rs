//! The machine protocol of QEMU (QMP), as far as runs need it: commands, and waiting for an event.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// How long QEMU may take to make the socket, to answer, and to report an event.
const LIMIT: Duration = Duration::from_secs(30);
/// How often the socket is tried.
const TICK: Duration = Duration::from_millis(20);

/// A connection, ready for commands.
#[derive(Debug)]
pub(crate) struct Qmp {
    stream: UnixStream,
    lines: BufReader<UnixStream>,
    /// Events that came while an answer was waited for.
    events: Vec<Value>,
}

impl Qmp {
    /// Connects to the QEMU that serves this socket, or will soon.
    pub(crate) fn connect(socket: &Path) -> Result<Qmp> {
        let started = Instant::now();
        let stream = loop {
            match UnixStream::connect(socket) {
                Err(_) if started.elapsed() < LIMIT => thread::sleep(TICK),
                outcome => break outcome.context("cannot connect to QEMU")?,
            }
        };
        stream
            .set_read_timeout(Some(LIMIT))
            .context("cannot set a time limit")?;
        let lines = BufReader::new(stream.try_clone().context("cannot share a socket")?);
        let mut qmp = Qmp {
            stream,
            lines,
            events: Vec::new(),
        };
        // The greeting. Commands are taken after this one.
        qmp.read()?;
        qmp.command("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Gives a command and waits for its answer.
    pub(crate) fn command(&mut self, name: &str, arguments: Value) -> Result<Value> {
        let command = json!({ "execute": name, "arguments": arguments });
        let line = format!("{command}\n");
        self.stream.write_all(line.as_bytes()).context("cannot reach QEMU")?;
        loop {
            let mut message = self.read()?;
            if let Some(value) = message.get_mut("return") {
                return Ok(value.take());
            }
            if let Some(error) = message.get("error") {
                let text = error["desc"].as_str().unwrap_or_default();
                bail!("QEMU refuses {name}: {text}");
            }
            self.events.push(message);
        }
    }

    /// Lets a disk do so many requests a second; 0: as many as come.
    pub(crate) fn limit(&mut self, drive: &str, rate: u64) -> Result<()> {
        let mut limits = json!({ "device": drive, "iops": rate });
        for name in ["bps", "bps_rd", "bps_wr", "iops_rd", "iops_wr"] {
            limits[name] = json!(0);
        }
        self.command("block_set_io_throttle", limits).map(drop)
    }

    /// Waits until an event of this name has come, before or after now.
    pub(crate) fn event(&mut self, name: &str) -> Result<()> {
        while !self.events.iter().any(|event| event["event"] == name) {
            let event = self.read().with_context(|| format!("{name} did not come"))?;
            self.events.push(event);
        }
        Ok(())
    }

    fn read(&mut self) -> Result<Value> {
        let mut line = String::new();
        let count = self.lines.read_line(&mut line).context("QEMU does not answer")?;
        if count == 0 {
            bail!("QEMU has hung up");
        }
        serde_json::from_str(&line).with_context(|| format!("QEMU says no JSON: {}", line.trim_end()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn answers_and_events_are_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("qmp");
        let listener = UnixListener::bind(&socket).unwrap();
        let qemu = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            stream.write_all(b"{\"QMP\":{}}\n").unwrap();
            let answers = [
                "{\"return\":{}}\n",
                "{\"event\":\"DEVICE_DELETED\"}\n{\"return\":{\"a\":1}}\n",
                "{\"error\":{\"desc\":\"no such device\"}}\n",
            ];
            let asked = answers.map(|answer| {
                let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
                line["execute"].as_str().unwrap().to_owned()
            });
            asked.to_vec()
        });
        let mut qmp = Qmp::connect(&socket).unwrap();
        assert_eq!(qmp.command("query", json!({})).unwrap()["a"], 1);
        let refused = qmp.command("device_del", json!({ "id": "d" })).unwrap_err();
        assert_eq!(refused.to_string(), "QEMU refuses device_del: no such device");
        qmp.event("DEVICE_DELETED").unwrap();
        assert_eq!(qemu.join().unwrap(), ["qmp_capabilities", "query", "device_del"]);
        assert!(format!("{:#}", qmp.event("STOP").unwrap_err()).contains("hung up"));
    }
}
