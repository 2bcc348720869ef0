//! Which server, which key, and in which form: the arguments of the output module, and URLs.

use std::fs;
use std::path::Path;
use std::time::Duration;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};

/// Most records a batch may have.
const BATCH_MAX: usize = 100_000;

/// What the key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A list; records are added at its right end.
    List,
    /// A stream; records are the field `record` of its entries.
    Stream,
}

impl Kind {
    /// As Redis calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Stream => "stream",
        }
    }
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordFormat {
    /// The address in 4 bytes, and the port in 2 where several are scanned.
    Packed,
    /// A line of CSV, without its end.
    Csv,
    /// A JSON object.
    Json,
}

/// Where records go, and how.
#[derive(Clone, Debug)]
pub struct RedisTarget {
    pub(super) connection: ConnectionInfo,
    /// The server, as messages call it: without a password.
    pub(super) name: String,
    /// The key.
    pub(super) key: String,
    /// What the key holds.
    pub(super) kind: Kind,
    /// What a record is.
    pub format: RecordFormat,
    /// Records a batch.
    pub(super) batch: usize,
    /// How long a server that went away is waited for.
    pub(super) wait: Duration,
}

impl RedisTarget {
    /// The target that `file` (a URL, or `-` for none) and `args` (`key=value` pairs with commas between them) name.
    /// URLs are `redis://[user[:password]@]host[:port][/db]`, `unix:///path`, and ZMap's `tcp://host:port/key` and
    /// `local:///path/key`.
    ///
    /// # Errors
    /// What is wrong, and what to do.
    pub fn parse(file: &str, args: &str, format: RecordFormat) -> Result<Self, String> {
        let mut host = None;
        let mut port = None;
        let mut socket = None;
        let mut target = Self {
            connection: ConnectionAddr::Tcp("127.0.0.1".to_owned(), 6379).info()?,
            name: String::new(),
            key: "zmap".to_owned(),
            kind: Kind::List,
            format,
            batch: 1000,
            wait: Duration::from_secs(60),
        };
        let has_url = file != "-";
        if has_url {
            target.name_url(file)?;
        }
        // What the URL says of them stays, unless an argument says something else.
        let mut settings: RedisConnectionInfo = target.connection.redis_settings().clone();
        for pair in args.split(',').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(|| {
                format!(
                    "'{}' is no argument; write NAME=VALUE, such as host=127.0.0.1,key=results",
                    word(pair)
                )
            })?;
            let odd = || format!("'{value}' makes no sense for {name}; see --list-output-modules");
            if has_url && matches!(name, "host" | "port" | "socket") {
                return Err(format!("{name} is given, and a URL too; leave out one of them"));
            }
            match name {
                "host" => host = Some(value.to_owned()),
                "port" => port = Some(value.parse::<u16>().map_err(|_| odd())?),
                "socket" => socket = Some(value.to_owned()),
                "db" => settings = settings.set_db(value.parse().map_err(|_| odd())?),
                "user" => settings = settings.set_username(value),
                "password-file" => {
                    let text =
                        fs::read_to_string(value).map_err(|error| format!("cannot read {value}: {error}"))?;
                    settings = settings.set_password(text.trim_end_matches(['\r', '\n']));
                }
                "key" if !value.is_empty() => target.key = value.to_owned(),
                "kind" => {
                    target.kind = match value {
                        "list" => Kind::List,
                        "stream" => Kind::Stream,
                        _ => return Err(format!("'{value}' is no kind; give list or stream")),
                    };
                }
                "format" => {
                    target.format = match value {
                        "packed" => RecordFormat::Packed,
                        "csv" => RecordFormat::Csv,
                        "json" => RecordFormat::Json,
                        _ => return Err(format!("'{value}' is no format; give packed, csv or json")),
                    };
                }
                "batch" => {
                    let batch = value.parse().ok().filter(|batch| (1..=BATCH_MAX).contains(batch));
                    target.batch = batch.ok_or_else(odd)?;
                }
                "wait" => target.wait = Duration::from_secs(value.parse::<u32>().map_err(|_| odd())?.into()),
                _ => {
                    return Err(format!(
                        "there is no argument {}; give host, port, socket, db, user, password-file, key, kind, \
                         format, batch or wait",
                        word(name)
                    ));
                }
            }
        }
        if !has_url {
            let address = match socket {
                Some(_) if host.is_some() || port.is_some() => {
                    return Err("socket is given, and host or port too; leave out one of them".to_owned());
                }
                Some(path) => ConnectionAddr::Unix(path.into()),
                None => {
                    ConnectionAddr::Tcp(host.unwrap_or_else(|| "127.0.0.1".to_owned()), port.unwrap_or(6379))
                }
            };
            target.connection = address.info()?;
        }
        target.connection = target.connection.set_redis_settings(settings);
        target.name = target.connection.addr().to_string();
        Ok(target)
    }

    /// The server, as messages call it: without a password.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How long a server that went away is waited for.
    pub fn wait(&self) -> Duration {
        self.wait
    }

    /// A text of the server's with the password hidden, should it be in it: some repeat what they did not understand.
    pub(super) fn without_password(&self, text: &str) -> String {
        match self.connection.redis_settings().password().filter(|password| !password.is_empty()) {
            Some(password) => text.replace(password, "***"),
            None => text.to_owned(),
        }
    }

    /// The server's Unix socket, if it has one.
    pub fn socket(&self) -> Option<&Path> {
        match self.connection.addr() {
            ConnectionAddr::Unix(path) => Some(path),
            _ => None,
        }
    }

    fn name_url(&mut self, url: &str) -> Result<(), String> {
        let no_url = || {
            format!(
                "'{}' is no URL of a server; give redis://host:port or unix:///path/of/socket",
                scheme(url)
            )
        };
        let with_key = |rest: &str| {
            let (place, key) = rest.rsplit_once('/').filter(|(_, key)| !key.is_empty()).ok_or_else(no_url)?;
            Ok::<_, String>((place.to_owned(), key.to_owned()))
        };
        self.connection = if let Some(rest) = url.strip_prefix("tcp://") {
            let (place, key) = with_key(rest)?;
            let (host, port) = place.rsplit_once(':').ok_or_else(no_url)?;
            self.key = key;
            ConnectionAddr::Tcp(host.to_owned(), port.parse().map_err(|_| no_url())?).info()?
        } else if let Some(rest) = url.strip_prefix("local://") {
            let (path, key) = with_key(rest)?;
            self.key = key;
            ConnectionAddr::Unix(path.into()).info()?
        } else {
            url.into_connection_info().map_err(|_| no_url())?
        };
        match self.connection.addr().is_supported() {
            true => Ok(()),
            false => Err("TLS is not built in; reach the server through a tunnel such as stunnel".to_owned()),
        }
    }
}

/// An address as a connection to be made.
trait Info {
    fn info(self) -> Result<ConnectionInfo, String>;
}

impl Info for ConnectionAddr {
    fn info(self) -> Result<ConnectionInfo, String> {
        self.into_connection_info().map_err(|error| error.to_string())
    }
}

/// A URL as an error may repeat it: a password may stand behind its scheme, and before an `@` even in what is no URL.
fn scheme(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, _)) => format!("{}://...", word(scheme)),
        None if url.contains('@') => "...@...".to_owned(),
        None => word(url).to_owned(),
    }
}

/// What an argument begins with, up to where a password might follow.
fn word(text: &str) -> &str {
    let end = text.find([':', '@', '?', ' ']).unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn target(file: &str, args: &str) -> Result<(String, String), String> {
        let target = RedisTarget::parse(file, args, RecordFormat::Packed)?;
        Ok((target.name, target.key))
    }

    #[test]
    fn servers_and_keys() {
        for (file, args, name, key) in [
            ("-", "", "127.0.0.1:6379", "zmap"),
            (
                "-",
                "host=192.0.2.1,port=7000,key=a:b,kind=stream,format=json,batch=1",
                "192.0.2.1:7000",
                "a:b",
            ),
            ("-", "socket=/run/redis.sock,db=3", "/run/redis.sock", "zmap"),
            ("redis://me:secret@192.0.2.1:7/2", "key=k", "192.0.2.1:7", "k"),
            ("redis://192.0.2.1", "", "192.0.2.1:6379", "zmap"),
            ("unix:///run/redis.sock", "", "/run/redis.sock", "zmap"),
            ("tcp://192.0.2.1:7/list", "", "192.0.2.1:7", "list"),
            ("local:///run/redis.sock/list", "key=other", "/run/redis.sock", "other"),
        ] {
            assert_eq!(target(file, args), Ok((name.to_owned(), key.to_owned())), "{file} {args}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_and_no_password() {
        for (file, args, what) in [
            ("-", "host", "NAME=VALUE"),
            ("-", "hots=1", "there is no argument hots"),
            ("-", "port=x", "port"),
            ("-", "kind=set", "list or stream"),
            ("-", "format=xml", "packed, csv or json"),
            ("-", "batch=0", "batch"),
            ("-", "socket=/a,host=b", "leave out one"),
            ("redis://h", "host=b", "leave out one"),
            ("-", "password-file=/no/such", "cannot read /no/such"),
            ("results.csv", "", "'results.csv' is no URL"),
            ("tcp://h:1", "", "is no URL"),
            ("http://me:secret@h", "", "'http://...' is no URL"),
            ("rediss://h", "", "'rediss://...' is no URL"),
            ("redis:/:secret@h", "", "'...@...' is no URL"),
            (":secret@h:6379", "", "'...@...' is no URL"),
            ("redis:secret@h://k", "", "'redis://...' is no URL"),
            ("-", "password:secret", "'password' is no argument"),
            ("-", "password?secret=1", "there is no argument password;"),
        ] {
            let error = target(file, args).unwrap_err();
            assert!(error.contains(what) && !error.contains("secret"), "{file} {args}: {error}");
        }
    }

    /// Arguments say what the URL does not, and leave alone what it does.
    #[test]
    fn url_and_arguments_together() {
        let both = RedisTarget::parse("redis://me:secret@h/2", "db=3", RecordFormat::Packed).unwrap();
        let settings = both.connection.redis_settings();
        assert_eq!(
            (settings.username(), settings.password(), settings.db()),
            (Some("me"), Some("secret"), 3)
        );
        assert_eq!(both.without_password("what is AUTH secret?"), "what is AUTH ***?");
    }

    proptest! {
        #[test]
        fn any_text_ends_well(file: String, args in "((host|port|db|key|kind|batch|x)=[a-z0-9/=]{0,5},?){0,4}|.*") {
            let _ = target(&file, &args);
        }
    }
}
