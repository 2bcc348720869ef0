//! The definition of a reply: the record that a worker makes of it, and the fields of a result.
//!
//! Owns the layout of records and the meaning of the fields that all probes share. A worker writes records and the
//! collector reads them; probes define fields and outputs write them. They share these terms and need not know each
//! other.

pub mod fields;
pub mod record;
#[cfg(test)]
pub(crate) mod testing;
mod view;

pub use view::Reply;
