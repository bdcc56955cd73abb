//! What a coordinator and its warden say to each other over a socket: frames of fields one way (a
//! field holds whatever a path or an argument can), lines of JSON the other.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use hpo_study::{AttemptNumber, TrialId};
use serde::{Deserialize, Serialize};

use super::records::Exit;
use crate::session::AttemptId;

/// From the coordinator to its warden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    /// The first word: what to mind. `keep`: trials outlive the coordinator.
    Mind { keep: bool, record: PathBuf },
    /// Start a process. Answered by [`Word::Started`], [`Word::NotStarted`] or [`Word::NoFile`].
    Spawn(Box<Spawn>),
    /// End a process: SIGTERM after so many milliseconds, SIGKILL after so many.
    Stop { id: AttemptId, term: u64, kill: u64 },
    /// End all and leave.
    Close,
}

/// A process to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spawn {
    pub(crate) id: AttemptId,
    /// Its mark.
    pub(crate) word: String,
    pub(crate) directory: PathBuf,
    pub(crate) stdout: PathBuf,
    pub(crate) stderr: PathBuf,
    pub(crate) process_record: PathBuf,
    pub(crate) exit_record: PathBuf,
    pub(crate) program: PathBuf,
    /// What it is told that its name is, and its arguments.
    pub(crate) argv: Vec<OsString>,
    /// Variables to be set, and to be removed where there is no value.
    pub(crate) environment: Vec<(OsString, Option<OsString>)>,
}

/// From a warden to its coordinator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "word", rename_all = "snake_case")]
pub(crate) enum Word {
    /// It is ready for orders.
    Ready,
    /// A process runs.
    Started { trial: u32, attempt: u32, pid: i32 },
    /// A process could not be started; the system's error number.
    NotStarted {
        trial: u32,
        attempt: u32,
        error: i32,
    },
    /// An output file cannot be opened.
    NoFile {
        trial: u32,
        attempt: u32,
        path: PathBuf,
        error: i32,
    },
    /// An attempt is over. `peak`: the most main memory that one of its processes held, in bytes. `lingering`: something of
    /// it cannot be killed.
    Ended {
        trial: u32,
        attempt: u32,
        exit: Exit,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        peak: Option<u64>,
        lingering: bool,
    },
    /// Everything is ended.
    Closed,
}

/// A frame's length comes first, in four bytes.
const HEAD: usize = 4;

impl Order {
    /// The order as bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut frame = Frame(vec![0; HEAD]);
        match self {
            Self::Mind { keep, record } => {
                frame.text("mind");
                frame.text(if *keep { "keep" } else { "kill" });
                frame.add(record.as_os_str());
            }
            Self::Spawn(spawn) => {
                frame.text("spawn");
                frame.id(spawn.id);
                frame.text(&spawn.word);
                for path in [
                    &spawn.directory,
                    &spawn.stdout,
                    &spawn.stderr,
                    &spawn.process_record,
                    &spawn.exit_record,
                    &spawn.program,
                ] {
                    frame.add(path.as_os_str());
                }
                frame.number(spawn.argv.len() as u64);
                for argument in &spawn.argv {
                    frame.add(argument);
                }
                for (name, value) in &spawn.environment {
                    frame.text(if value.is_some() { "+" } else { "-" });
                    frame.add(name);
                    frame.add(value.as_deref().unwrap_or_default());
                }
            }
            Self::Stop { id, term, kill } => {
                frame.text("stop");
                frame.id(*id);
                frame.number(*term);
                frame.number(*kill);
            }
            Self::Close => frame.text("close"),
        }
        frame.done()
    }

    /// Takes the first whole order out of what was received; `Ok(None)` while there is none.
    ///
    /// # Errors
    /// When it is no order: the two do not speak the same language.
    pub(crate) fn decode(received: &mut Vec<u8>) -> Result<Option<Self>, String> {
        let Some(head) = received.first_chunk::<HEAD>() else {
            return Ok(None);
        };
        let end = HEAD + u32::from_le_bytes(*head) as usize;
        let Some(body) = received.get(HEAD..end) else {
            return Ok(None);
        };
        let order = Fields(body).order();
        received.drain(..end);
        order.map(Some).ok_or_else(|| "not an order".to_owned())
    }
}

/// Fields, each ended by a NUL: nothing that the system takes has one inside.
struct Frame(Vec<u8>);

impl Frame {
    fn add(&mut self, field: &OsStr) {
        let clean = field.as_bytes().iter().filter(|byte| **byte != 0);
        self.0.extend(clean);
        self.0.push(0);
    }
    fn text(&mut self, text: &str) {
        self.add(OsStr::new(text));
    }
    fn number(&mut self, number: u64) {
        self.text(&number.to_string());
    }
    fn id(&mut self, id: AttemptId) {
        self.number(u64::from(id.trial.0));
        self.number(u64::from(id.attempt.0));
    }
    fn done(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len() - HEAD).unwrap_or(u32::MAX);
        for (byte, digit) in self.0.iter_mut().zip(length.to_le_bytes()) {
            *byte = digit;
        }
        self.0
    }
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn next(&mut self) -> Option<OsString> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let field = OsString::from_vec(self.0.get(..end)?.to_vec());
        self.0 = self.0.get(end + 1..)?;
        Some(field)
    }
    fn text(&mut self) -> Option<String> {
        self.next()?.into_string().ok()
    }
    fn number<T: std::str::FromStr>(&mut self) -> Option<T> {
        self.text()?.parse().ok()
    }
    fn path(&mut self) -> Option<PathBuf> {
        self.next().map(PathBuf::from)
    }
    fn id(&mut self) -> Option<AttemptId> {
        Some(AttemptId {
            trial: TrialId(self.number()?),
            attempt: AttemptNumber(self.number()?),
        })
    }

    fn order(&mut self) -> Option<Order> {
        Some(match self.text()?.as_str() {
            "mind" => Order::Mind {
                keep: self.text()? == "keep",
                record: self.path()?,
            },
            "spawn" => Order::Spawn(Box::new(self.spawn()?)),
            "stop" => Order::Stop {
                id: self.id()?,
                term: self.number()?,
                kill: self.number()?,
            },
            "close" => Order::Close,
            _ => return None,
        })
    }

    fn spawn(&mut self) -> Option<Spawn> {
        let mut spawn = Spawn {
            id: self.id()?,
            word: self.text()?,
            directory: self.path()?,
            stdout: self.path()?,
            stderr: self.path()?,
            process_record: self.path()?,
            exit_record: self.path()?,
            program: self.path()?,
            argv: Vec::new(),
            environment: Vec::new(),
        };
        let arguments: usize = self.number()?;
        for _ in 0..arguments {
            spawn.argv.push(self.next()?);
        }
        while !self.0.is_empty() {
            let set = self.text()? == "+";
            let (name, value) = (self.next()?, self.next()?);
            spawn.environment.push((name, set.then_some(value)));
        }
        Some(spawn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_come_over_whole_however_they_are_cut() {
        let id = AttemptId {
            trial: TrialId(3),
            attempt: AttemptNumber(2),
        };
        let odd = OsString::from_vec(b"\xff odd\n".to_vec());
        let orders = [
            Order::Mind {
                keep: true,
                record: "/r".into(),
            },
            Order::Spawn(Box::new(Spawn {
                id,
                word: "w/1/3/2".to_owned(),
                directory: PathBuf::from(&odd),
                stdout: "/o".into(),
                stderr: "/e".into(),
                process_record: "/p".into(),
                exit_record: "/x".into(),
                program: "/bin/sh".into(),
                argv: vec!["sh".into(), OsString::new(), odd.clone()],
                environment: vec![("A".into(), Some(odd)), ("B".into(), None)],
            })),
            Order::Stop {
                id,
                term: 0,
                kill: 10_000,
            },
            Order::Close,
        ];
        let bytes: Vec<u8> = orders.iter().flat_map(Order::encode).collect();
        let (mut received, mut decoded) = (Vec::new(), Vec::new());
        for byte in bytes {
            received.push(byte);
            decoded.extend(Order::decode(&mut received).unwrap());
        }
        assert_eq!(decoded, orders);
        assert!(Order::decode(&mut vec![2, 0, 0, 0, b'x', 0]).is_err());
    }
}
