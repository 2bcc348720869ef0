//! How a scan stands, as metrics for Prometheus.
//!
//! It owns the list of metrics ([`METRICS`]), the text that they are written in ([`text`]), the file that node_exporter
//! reads ([`MetricsFile`]), and what a request over HTTP asks for ([`http`]). It is a function of numbers that others
//! keep ([`Reading`]), and counts nothing itself. The threads that write and serve the text are of `survey`.
//!
//! What always holds: a label is one of this program's own words, a number, or the name of an interface. Nothing that
//! the network or a server has said is in a metric, nor anything that the user has typed but that name.

mod catalog;
mod file;
pub mod http;
mod reading;
mod text;

pub use catalog::{Kind, METRICS, Metric, Samples};
pub use file::MetricsFile;
pub use reading::{Reading, WorkerPlace, WorkerReading};
pub use text::{CONTENT_TYPE, text};
