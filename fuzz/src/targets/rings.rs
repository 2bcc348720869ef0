//! The rings of an AF_XDP socket: no frame is lost or there twice, whatever order of sending, completing and receiving.

#[path = "../../../crates/xsk/src/model.rs"]
mod model;

pub fn run(bytes: &[u8]) {
    let Some((before_wrap, steps)) = bytes.split_first() else { return };
    model::run(u32::from(*before_wrap).wrapping_neg(), steps);
}
