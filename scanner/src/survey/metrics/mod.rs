//! The metrics of a running scan: in a file that is replaced once per second, and served over HTTP.
//!
//! Each has a thread of its own, which reads the board and nothing else. File and address are opened before the
//! privileges are dropped. What always holds: neither delays the scan, and a failure of either does not end it.
//!
//! At the end, the file has the last counts. Where metrics are fetched, the process waits for one more fetch, so that
//! the last counts are in the monitoring as well.

mod scrapes;
mod serving;
mod writing;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use tracing::info;

use super::board::Board;
use super::error::SurveyError;
use crate::metrics::MetricsFile;
use crate::plan::MetricsPlan;
use crate::printable::printable;
use serving::Server;
use writing::Writer;

/// Where the metrics go.
#[derive(Debug, Default)]
pub(super) struct OpenMetrics {
    file: Option<MetricsFile>,
    listener: Option<TcpListener>,
}

impl OpenMetrics {
    /// Opens what the plan names.
    ///
    /// # Errors
    /// What is unavailable, by its flag.
    pub(super) fn new(plan: &MetricsPlan) -> Result<Self, SurveyError> {
        let refused = |flag, what| SurveyError::Refused { flag, what };
        let file = plan.file.as_deref().map(MetricsFile::open).transpose();
        let file = file.map_err(|error| {
            let name = plan.file.as_deref().map(printable).unwrap_or_default();
            let what =
                format!("cannot write {name} ({error}); name a file of yours, or one that is not there yet");
            refused("--metrics-file", what)
        })?;
        let listener = plan.listen.map(listen).transpose();
        let listener = listener.map_err(|error| {
            let address = plan.listen.map(|address| address.to_string()).unwrap_or_default();
            let what = format!("cannot listen on {address} ({error}); name another address or port");
            refused("--metrics-listen", what)
        })?;
        Ok(Self { file, listener })
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    info!(target: "metrics", "metrics at http://{}/metrics", listener.local_addr()?);
    Ok(listener)
}

/// The threads that hand the metrics out. Ends them when it is dropped.
pub(super) struct Metrics {
    board: Arc<Board>,
    server: Option<Server>,
    writer: Option<Writer>,
}

impl Metrics {
    /// Hands out how the scan of `board` stands from now on.
    ///
    /// # Errors
    /// No thread can be started.
    pub(super) fn start(places: OpenMetrics, board: &Arc<Board>) -> io::Result<Self> {
        let server = places.listener.map(|listener| Server::start(listener, Arc::clone(board)));
        let writer = places.file.map(|file| Writer::start(file, Arc::clone(board)));
        Ok(Self { board: Arc::clone(board), server: server.transpose()?, writer: writer.transpose()? })
    }

    /// The scan has ended, and the board says how: writes the file for the last time, and waits for the last fetch.
    pub(super) fn finish(mut self) {
        drop(self.writer.take());
        if let Some(server) = &self.server {
            server.wait_for_last(&self.board.control);
        }
    }
}
