//! Who else holds XDP on an interface, and the way out.

use aya::programs::loaded_programs;

use crate::nic::XdpHolder;

/// The name of the program with this number. Only who has CAP_SYS_ADMIN is told.
pub fn program_name(id: u32) -> Option<String> {
    let program = loaded_programs().map_while(Result::ok).find(|program| program.id() == id)?;
    program.name_as_str().map(str::to_owned)
}

/// Who holds XDP on `interface`, if that is known, and what to do about it, as the rest of a sentence.
pub fn describe(holder: Option<&XdpHolder>, interface: &str) -> String {
    let name = holder.and_then(|holder| program_name(holder.id));
    let called = name.as_ref().map_or_else(String::new, |name| format!(" `{name}`"));
    let which =
        holder.map_or_else(String::new, |XdpHolder { id, mode }| format!(" ({mode}, id {id}{called})"));
    let way_out = way_out(name.as_deref(), holder.map_or("", |holder| holder.mode), interface);
    format!("another XDP program is there{which}: {way_out}; --io-mode packet scans beside it")
}

fn way_out(name: Option<&str>, mode: &str, interface: &str) -> String {
    match name {
        Some("xdpmap") => "another scan by xdpmap: let it end, or end it".to_owned(),
        Some("xdp_dispatcher") => format!(
            "libxdp's dispatcher: `xdp-loader status {interface}` shows what runs in it, and `xdp-loader unload {interface} \
             --all` removes it"
        ),
        Some(name) if name.starts_with("cil_") => format!(
            "Cilium's, which comes back when removed: turn its XDP acceleration off for {interface}, or scan through \
             another interface"
        ),
        _ => {
            // The kernel takes a program off only where it is asked for its mode.
            let keyword = match mode {
                "native" => "xdpdrv",
                "generic" => "xdpgeneric",
                "offloaded" => "xdpoffload",
                _ => "xdp",
            };
            format!(
                "another scan, or somebody's filter: end the process that holds it; if none does, `ip link set dev \
                 {interface} {keyword} off` removes it"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_out() {
        for (name, mode, words) in [
            (Some("xdpmap"), "native", "another scan by xdpmap"),
            (Some("xdp_dispatcher"), "native", "xdp-loader unload eth0 --all"),
            (Some("cil_xdp_entry"), "native", "Cilium"),
            (Some("my_filter"), "native", "`ip link set dev eth0 xdpdrv off`"),
            (None, "generic", "`ip link set dev eth0 xdpgeneric off`"),
            (None, "several", "`ip link set dev eth0 xdp off`"),
        ] {
            assert!(way_out(name, mode, "eth0").contains(words), "{name:?}");
        }
    }
}
