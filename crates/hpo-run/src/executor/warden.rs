//! The warden: a small process that outlives its coordinator by a moment and ends what that one
//! left behind, however it came to its own end (`kill -9`, out of memory).

use std::ffi::OsStr;
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::orphans;

/// The program's hidden command that runs [`warden`], with the session's mark as its argument.
pub const WARDEN_COMMAND: &str = "warden";

/// What the coordinator says when it has cleaned up itself.
const ALL_CLEAN: u8 = b'.';

/// Waits until standard input ends, which is when the coordinator has, and kills every process of
/// its session. The whole of the hidden command [`WARDEN_COMMAND`].
pub fn warden(session: &str) {
    let mut said = Vec::new();
    let _ = std::io::stdin().read_to_end(&mut said);
    if !said.contains(&ALL_CLEAN) && !session.is_empty() {
        orphans::kill_marked(session, Duration::from_secs(30));
        // What was being started at the very end may have got its mark only now.
        std::thread::sleep(Duration::from_millis(100));
        orphans::kill_marked(session, Duration::from_secs(30));
    }
}

/// The coordinator's hold on its warden.
#[derive(Debug)]
pub(crate) struct Warden {
    child: Child,
}

impl Warden {
    /// Starts the warden of a session.
    pub(crate) fn start(program: &OsStr, session: &str) -> std::io::Result<Self> {
        let child = Command::new(program)
            .arg(WARDEN_COMMAND)
            .arg(session)
            // Ctrl-C and a terminal that is closed are the coordinator's to act upon.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { child })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended, which it never should.
    pub(crate) fn is_gone(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// Tells it that there is nothing to do.
    pub(crate) fn dismiss(mut self) {
        if let Some(mut pipe) = self.child.stdin.take() {
            let _ = pipe.write_all(&[ALL_CLEAN]);
        }
        let _ = self.child.wait();
    }
}
