//! The coordinator's hold on its warden.

use std::ffi::OsStr;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::io::Interest;

use super::warden::{PATIENCE, WARDEN_COMMAND};
use super::wire::{Order, Spawn, Word};

/// A warden that says nothing for so long will never.
const LONGEST_SILENCE: Duration = Duration::from_secs(20);

/// One end of a socket that is read and written at once, and waited for asynchronously.
#[derive(Debug)]
pub(super) struct Line {
    socket: UnixStream,
    /// The same socket, as tokio sees it.
    waiter: tokio::net::UnixStream,
}

impl Line {
    pub(super) fn new(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let waiter = tokio::net::UnixStream::from_std(socket.try_clone()?)?;
        Ok(Self { socket, waiter })
    }

    /// For reading and writing without waiting.
    pub(super) fn socket(&self) -> &UnixStream {
        &self.socket
    }

    /// Waits until something may be there to be read; read it all then.
    pub(super) async fn heard(&self) {
        if self.waiter.readable().await.is_err() {
            std::future::pending::<()>().await;
        }
        // Nothing is read here: this only says that the next waiting is for something new.
        let _ = self
            .waiter
            .try_io(Interest::READABLE, || -> io::Result<()> {
                Err(io::ErrorKind::WouldBlock.into())
            });
    }
}

/// A warden that was started here.
#[derive(Debug)]
pub(super) struct Link {
    child: Child,
    line: Line,
    received: Vec<u8>,
    /// Words that were read while waiting for another one.
    waiting: Vec<Word>,
    ready: bool,
    gone: bool,
}

impl Link {
    /// Starts a warden; `record` is the file in which it tells of itself.
    pub(super) fn start(
        program: &OsStr,
        session: &str,
        keep: bool,
        record: PathBuf,
    ) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let child = Command::new(program)
            .arg(WARDEN_COMMAND)
            .arg(session)
            // Ctrl-C and a terminal that is closed are the coordinator's to act upon.
            .process_group(0)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut link = Self {
            child,
            line: Line::new(ours)?,
            received: Vec::new(),
            waiting: Vec::new(),
            ready: false,
            gone: false,
        };
        link.send(&Order::Mind { keep, record });
        Ok(link)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether the warden has ended, or does not answer.
    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Orders a process and waits for what becomes of it; `None` when the warden is gone.
    pub(super) fn spawn(&mut self, spawn: Spawn) -> Option<Word> {
        self.wait_until_ready()?;
        let of = (spawn.id.trial.0, spawn.id.attempt.0);
        self.send(&Order::Spawn(Box::new(spawn)));
        self.answer(|word| match word {
            Word::Started { trial, attempt, .. }
            | Word::NotStarted { trial, attempt, .. }
            | Word::NoFile { trial, attempt, .. } => (*trial, *attempt) == of,
            _ => false,
        })
    }

    pub(super) fn send(&mut self, order: &Order) {
        let bytes = order.encode();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() && !self.gone {
            match self.line.socket().write(rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait(PollFlags::POLLOUT, LONGEST_SILENCE);
                }
                Err(_) => self.gone = true,
            }
        }
    }

    /// What the warden has said since the last call.
    pub(super) fn words(&mut self) -> Vec<Word> {
        self.receive();
        std::mem::take(&mut self.waiting)
    }

    /// `None` when it never is.
    fn wait_until_ready(&mut self) -> Option<()> {
        let start = Instant::now();
        loop {
            self.receive();
            if self.gone {
                return None;
            }
            if self.ready {
                return Some(());
            }
            self.wait(
                PollFlags::POLLIN,
                LONGEST_SILENCE.saturating_sub(start.elapsed()),
            );
        }
    }

    /// Waits for a word of this kind.
    fn answer(&mut self, wanted: impl Fn(&Word) -> bool) -> Option<Word> {
        let start = Instant::now();
        loop {
            self.receive();
            if let Some(found) = self.waiting.iter().position(&wanted) {
                return Some(self.waiting.remove(found));
            }
            if self.gone {
                return None;
            }
            self.wait(
                PollFlags::POLLIN,
                LONGEST_SILENCE.saturating_sub(start.elapsed()),
            );
        }
    }

    /// Waits until the socket is ready; a warden that lets it wait for too long is taken for gone.
    fn wait(&mut self, until: PollFlags, at_most: Duration) {
        let timeout = PollTimeout::try_from(at_most).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.line.socket().as_fd(), until)];
        if poll(&mut fds, timeout) == Ok(0) {
            tracing::warn!("the warden does not answer");
            self.gone = true;
        }
    }

    fn receive(&mut self) {
        let mut buffer = [0; 4096];
        loop {
            match self.line.socket().read(&mut buffer) {
                Ok(0) => {
                    self.gone = true;
                    break;
                }
                Ok(count) => self.received.extend(buffer.iter().take(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.gone = true;
                    break;
                }
            }
        }
        while let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.received.drain(..=end).collect();
            match serde_json::from_slice(&line) {
                Ok(Word::Ready) => self.ready = true,
                Ok(word) => self.waiting.push(word),
                Err(error) => tracing::warn!(%error, "the warden is not understood"),
            }
        }
    }

    /// Waits until the warden may have said something.
    pub(super) async fn heard(&self) {
        self.line.heard().await;
    }

    /// Has it end everything that it minds, and waits for that.
    pub(super) fn close(mut self) {
        self.send(&Order::Close);
        let start = Instant::now();
        while !self.gone && start.elapsed() < 2 * PATIENCE {
            self.receive();
            if self.waiting.contains(&Word::Closed) {
                break;
            }
            self.wait(PollFlags::POLLIN, 2 * PATIENCE);
        }
        self.abandon();
    }

    /// Makes sure that it starts nothing more. Its trials run on.
    pub(super) fn abandon(mut self) {
        if !self.waiting.contains(&Word::Closed) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}
