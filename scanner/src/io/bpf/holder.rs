//! Finds out which program holds XDP on an interface, and how to remove it.

use aya::programs::loaded_programs;

use crate::nic::XdpHolder;

/// The name of the program with this id. The kernel reports it only with CAP_SYS_ADMIN.
pub fn program_name(id: u32) -> Option<String> {
    let program = loaded_programs().map_while(Result::ok).find(|program| program.id() == id)?;
    program.name_as_str().map(str::to_owned)
}

/// Describes the program that holds XDP on `interface`, as far as it is known, and the remedy. The text is the rest of
/// a sentence.
pub fn describe(holder: Option<&XdpHolder>, interface: &str) -> String {
    let name = holder.and_then(|holder| program_name(holder.id));
    let called = name.as_ref().map_or_else(String::new, |name| format!(" `{name}`"));
    let which =
        holder.map_or_else(String::new, |XdpHolder { id, mode }| format!(" ({mode}, id {id}{called})"));
    let way_out = way_out(name.as_deref(), holder.map_or("", |holder| holder.mode), interface);
    format!("another XDP program is attached{which}: {way_out}")
}

fn way_out(name: Option<&str>, mode: &str, interface: &str) -> String {
    match name {
        Some("xdpmap") => "another scan by xdpmap: wait for its end, or stop it".to_owned(),
        Some("xdp_dispatcher") => format!(
            "libxdp's dispatcher: `xdp-loader status {interface}` shows what runs in it, and `xdp-loader unload {interface} \
             --all` removes it"
        ),
        Some(name) if name.starts_with("cil_") => format!(
            "Cilium's, which comes back when removed: turn its XDP acceleration off for {interface}, or scan through \
             another interface"
        ),
        _ => {
            // The kernel detaches a program only if the request names the mode that it is attached in.
            let keyword = match mode {
                "native" => "xdpdrv",
                "generic" => "xdpgeneric",
                "offloaded" => "xdpoffload",
                _ => "xdp",
            };
            format!(
                "another scan, or a filter: stop the process that holds it; without one, `ip link set dev {interface} \
                 {keyword} off` removes it"
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
