//! A real nginx on the far side. Only this file writes its configuration.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use crate::Lab;
use crate::tools::Error;

impl Lab {
    /// Starts nginx on port 80 of each given address. It listens when this returns.
    #[track_caller]
    pub fn start_nginx(&self, addresses: &[Ipv4Addr]) {
        let listeners: Vec<_> = addresses.iter().map(|&address| (address, 80)).collect();
        self.serve(&listeners).unwrap_or_else(|error| panic!("{error}"));
    }

    /// As [`Self::start_nginx`], on any ports, for callers that report the error. 0.0.0.0 is every address that the far
    /// side has.
    pub(crate) fn serve(&self, listeners: &[(Ipv4Addr, u16)]) -> Result<(), Error> {
        let folder = self.folder().join("nginx");
        let root = folder.display().to_string();
        let (mut routes, mut listens) = (String::new(), String::new());
        for (address, port) in listeners {
            if !address.is_unspecified() {
                let _ = writeln!(routes, "route replace local {address}/32 dev lo");
            }
            let _ = writeln!(listens, "listen {address}:{port};");
        }
        self.ip(&self.net, &routes)?;
        let file = folder.join("nginx.conf");
        let config = format!(
            "worker_processes 1;\npid {root}/pid;\nerror_log {root}/error.log;\n\
             events {{ worker_connections 4096; }}\n\
             http {{ access_log off; server {{\n{listens}return 200;\n}} }}\n"
        );
        std::fs::create_dir_all(&folder)
            .and_then(|()| std::fs::write(&file, config))
            .map_err(|error| Error::io(root.clone(), error))?;
        // nginx goes into the background once all its sockets listen.
        self.try_in_ns(&self.net, "nginx", &["-p", &root, "-c", &file.display().to_string()])
    }
}
