//! What `--help` tells about the chosen probe and output module.

/// The text for the modules with these names; the output module's default is csv. Unknown names have none.
pub(super) fn help(probe: Option<&str>, output: Option<&str>) -> String {
    let mut text = String::new();
    if let Some(help) = probe.and_then(of_probe) {
        text.push_str(&format!("\nProbe module {}:\n{help}", probe.unwrap_or_default()));
    }
    let output = output.unwrap_or("csv");
    if let Some(help) = of_output(output) {
        text.push_str(&format!("\nOutput module {output}:\n{help}"));
    }
    text
}

fn of_probe(name: &str) -> Option<&'static str> {
    match name {
        "tcp_synscan" => Some(
            "  Sends a TCP SYN. A SYN-ACK is a success, a RST is none. --probe-args names the TCP options, as the
  system of that name orders them: windows (default), linux, bsd; or smallest-probes, an MSS alone.
",
        ),
        _ => None,
    }
}

fn of_output(name: &str) -> Option<&'static str> {
    match name {
        "csv" => Some(
            "  Comma separated values, quoted where RFC 4180 asks for it. A header row comes first where -f or -O
  is given, unless --no-header-row is.
",
        ),
        "json" => Some("  One JSON object a line. Fields without a value are left out.\n"),
        _ => None,
    }
}
