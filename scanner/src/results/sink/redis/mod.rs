//! Records in a list or stream of a Redis server.
//!
//! A separate thread talks to the server, so other sinks do not wait for the server while the queue has room. What
//! always holds: that thread starts with the results and not before, when the scan has dropped its privileges. A batch
//! is released when the server has acknowledged it. If the server goes away, the thread waits for it and sends the
//! batch again. If the server had stored the batch before it could acknowledge it, the batch is there twice, never in
//! part.

mod target;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use redis::{Client, Connection, ErrorKind, RedisError, RedisResult};
use tracing::{info, warn};

use target::KeyKind;
pub use target::{RecordFormat, RedisTarget};

use super::Sink;
use crate::reply::Reply;
use crate::reply::fields::Extractor;
use crate::results::format::Encoder;
use crate::results::output::{OutputError, OutputPart, Place, UnderWay};
use crate::sandbox::{self, Class};

/// Batches that may wait for the server. Fewer make the collector wait sooner; more take memory and are lost together
/// when the scan fails.
const QUEUE_LEN: usize = 64;
/// How long a connection and an answer may take. Shorter gives up on a busy server; longer delays the reconnection to a
/// dead one.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Pauses between attempts to reach a server that has gone. Shorter costs load on the server; longer delays its return.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Errors of a server that will be able to accept the batch later.
const LATER: [&str; 7] = ["OOM", "MISCONF", "BUSY", "LOADING", "MASTERDOWN", "READONLY", "NOREPLICAS"];

/// Passes batches of records to the thread that talks to the server.
pub struct RedisSink {
    name: String,
    encoder: Encoder,
    per_batch: usize,
    batch: Batch,
    /// The connection, until the thread has it.
    link: Option<RedisLink>,
    queue: Option<SyncSender<Batch>>,
    sending: Option<JoinHandle<Result<(), String>>>,
    /// Records in batches that were passed on.
    handed_over: u64,
    /// Records that the server has acknowledged.
    acknowledged: Arc<AtomicU64>,
}

/// Concatenated records.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Batch {
    fn records(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.bytes[start..end])
    }
}

impl RedisSink {
    /// Connects, and checks that the key is free or of the right kind.
    ///
    /// # Errors
    /// There is no such server, or it does not accept the records.
    pub fn open(target: &RedisTarget, encoder: Encoder) -> Result<Self, OutputError> {
        let name = format!("redis at {}", target.name);
        let refused = |what: String| {
            let what = format!("{name}: {}", target.without_password(&what));
            OutputError::Refused { part: OutputPart::Module, what }
        };
        let client = Client::open(target.connection.clone()).map_err(|error| refused(error.to_string()))?;
        let mut link = RedisLink { client, connection: None, target: target.clone() };
        let kind = link
            .reach()
            .and_then(|connection| redis::cmd("TYPE").arg(&target.key).query::<String>(connection));
        let kind =
            kind.map_err(|error| refused(format!("{error}; check that the server runs and accepts us")))?;
        if kind != "none" && kind != target.kind.name() {
            let what = format!(
                "the key {} holds a {kind}, not a {}; give another key",
                target.key,
                target.kind.name()
            );
            return Err(refused(what));
        }
        Ok(Self {
            name,
            encoder,
            per_batch: target.batch,
            batch: Batch::default(),
            link: Some(link),
            queue: None,
            sending: None,
            handed_over: 0,
            acknowledged: Arc::default(),
        })
    }

    /// Waits for room in the queue if it is full.
    fn hand_over(&mut self) -> Result<(), OutputError> {
        if self.batch.ends.is_empty() {
            // The thread may have failed with an earlier batch.
            return if self.sending.as_ref().is_some_and(JoinHandle::is_finished) {
                self.end()
            } else {
                Ok(())
            };
        }
        let batch = std::mem::take(&mut self.batch);
        self.handed_over += batch.ends.len() as u64;
        match &self.queue {
            Some(queue) if queue.send(batch).is_ok() => Ok(()),
            _ => self.end(),
        }
    }

    /// Lets the thread finish, and says how that went.
    fn end(&mut self) -> Result<(), OutputError> {
        self.queue = None;
        let Some(sending) = self.sending.take() else { return Ok(()) };
        let outcome = sending.join().unwrap_or_else(|_| Err("its thread ended by a panic".to_owned()));
        outcome.map_err(|what| OutputError::Server { name: self.name.clone(), what })
    }
}

impl Sink for RedisSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn begin(&mut self) -> Result<(), OutputError> {
        let Some(link) = self.link.take() else { return Ok(()) };
        let (queue, batches) = sync_channel(QUEUE_LEN);
        let acknowledged = Arc::clone(&self.acknowledged);
        let send = move || {
            sandbox::enter(Class::Redis);
            link.send(&batches, &acknowledged)
        };
        let sending = thread::Builder::new().name("redis".to_owned()).spawn(send).map_err(|error| {
            OutputError::Server { name: self.name.clone(), what: format!("starting its thread: {error}") }
        })?;
        (self.queue, self.sending) = (Some(queue), Some(sending));
        Ok(())
    }

    fn write(&mut self, reply: &Reply<'_>, extractor: &mut Extractor) -> Result<(), OutputError> {
        let encoded = self.encoder.encode(reply, extractor, &mut self.batch.bytes);
        encoded.map_err(|error| OutputError::from_write(&self.name, error))?;
        // A record does not end with a line feed here.
        if !matches!(self.encoder, Encoder::Packed(_)) && self.batch.bytes.ends_with(b"\n") {
            self.batch.bytes.pop();
        }
        self.batch.ends.push(self.batch.bytes.len());
        if self.batch.ends.len() >= self.per_batch { self.hand_over() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), OutputError> {
        self.hand_over()
    }

    /// A record that the server has acknowledged stays there, so a scan that goes on may send it again.
    fn place(&mut self) -> Result<Place, OutputError> {
        let under_way = UnderWay { done: Arc::clone(&self.acknowledged), all: self.handed_over };
        Ok(Place { under_way: Some(under_way), ..Place::default() })
    }

    fn finish(&mut self) -> Result<(), OutputError> {
        self.hand_over()?;
        self.end()
    }

    fn pending(&self) -> u64 {
        let taken = self.handed_over + self.batch.ends.len() as u64;
        taken - self.acknowledged.load(Ordering::Relaxed)
    }
}

/// The connection, which is opened again when it breaks.
struct RedisLink {
    client: Client,
    connection: Option<Connection>,
    target: RedisTarget,
}

impl RedisLink {
    /// Delivers batches until there are no more.
    fn send(mut self, batches: &Receiver<Batch>, acknowledged: &AtomicU64) -> Result<(), String> {
        for batch in batches {
            self.deliver(&batch).map_err(|what| self.target.without_password(&what))?;
            acknowledged.fetch_add(batch.ends.len() as u64, Ordering::Release);
        }
        Ok(())
    }

    fn deliver(&mut self, batch: &Batch) -> Result<(), String> {
        let mut pause = PAUSE_FIRST;
        let mut troubled: Option<Instant> = None;
        loop {
            let Err(error) = self.push(batch) else { break };
            if !passes(&error) {
                return Err(error.to_string());
            }
            if error.is_io_error() {
                self.connection = None;
            }
            let since = *troubled.get_or_insert_with(|| {
                let error = self.target.without_password(&error.to_string());
                warn!(target: "output", "redis at {}: {error}; trying again", self.target.name);
                Instant::now()
            });
            if since.elapsed() >= self.target.wait {
                return Err(format!("{error}, for {} s by now", self.target.wait.as_secs()));
            }
            thread::sleep(pause.min(self.target.wait));
            pause = (pause * 2).min(PAUSE_MAX);
        }
        if let Some(since) = troubled {
            info!(target: "output", "redis at {} is back after {:.1} s", self.target.name, since.elapsed().as_secs_f64());
        }
        Ok(())
    }

    /// Adds a batch whole or not at all.
    fn push(&mut self, batch: &Batch) -> RedisResult<()> {
        let key = self.target.key.clone();
        match self.target.kind {
            KeyKind::List => {
                let mut command = redis::cmd("RPUSH");
                command.arg(key);
                batch.records().for_each(|record| {
                    command.arg(record);
                });
                command.exec(self.reach()?)
            }
            KeyKind::Stream => {
                let mut pipe = redis::pipe();
                pipe.atomic();
                for record in batch.records() {
                    pipe.cmd("XADD").arg(&key).arg("*").arg("record").arg(record).ignore();
                }
                pipe.exec(self.reach()?)
            }
        }
    }

    /// The connection; a new one has answered once.
    fn reach(&mut self) -> RedisResult<&mut Connection> {
        if self.connection.is_none() {
            let mut connection = self.client.get_connection_with_timeout(ANSWER_TIMEOUT)?;
            connection.set_read_timeout(Some(ANSWER_TIMEOUT))?;
            connection.set_write_timeout(Some(ANSWER_TIMEOUT))?;
            redis::cmd("PING").exec(&mut connection)?;
            self.connection = Some(connection);
        }
        self.connection.as_mut().ok_or_else(|| (ErrorKind::Client, "no connection").into())
    }
}

/// Whether an error is temporary: of the connection, or of a server that is busy.
fn passes(error: &RedisError) -> bool {
    error.is_io_error() || error.code().is_some_and(|code| LATER.contains(&code))
}
