//! The server, the key, and the format of records: the arguments of the output module, and URLs.

use std::path::Path;
use std::time::Duration;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};

use crate::input;

/// Most records per batch. More would take memory in the server for one command.
const BATCH_MAX: usize = 100_000;

/// The type of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyKind {
    /// A list; records are added at its right end.
    List,
    /// A stream; records are the field `record` of its entries.
    Stream,
}

impl KeyKind {
    /// Its name in Redis.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Stream => "stream",
        }
    }
}

/// The format of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordFormat {
    /// The address in 4 bytes, and the port in 2 if several are scanned.
    Packed,
    /// A line of CSV, without its end.
    Csv,
    /// A JSON object.
    Json,
}

/// The destination of records, and how they are sent.
#[derive(Clone, Debug)]
pub struct RedisTarget {
    pub(super) connection: ConnectionInfo,
    /// The server's name in messages, without a password.
    pub(super) name: String,
    /// The key.
    pub(super) key: String,
    /// The type of the key.
    pub(super) kind: KeyKind,
    /// The format of a record.
    pub format: RecordFormat,
    /// Records per batch.
    pub(super) batch: usize,
    /// How long to wait for a server that has gone.
    pub(super) wait: Duration,
}

impl RedisTarget {
    /// The target in `file` (a URL, or `-` for none) and `args` (`key=value` pairs with commas between them). URLs are
    /// `redis://[user[:password]@]host[:port][/db]`, `unix:///path`, and ZMap's `tcp://host:port/key` and
    /// `local:///path/key`.
    ///
    /// # Errors
    /// The error and the remedy.
    pub fn parse(file: &str, args: &str, format: RecordFormat) -> Result<Self, String> {
        let mut host = None;
        let mut port = None;
        let mut socket = None;
        let mut target = Self {
            connection: ConnectionAddr::Tcp("127.0.0.1".to_owned(), 6379).info()?,
            name: String::new(),
            key: "zmap".to_owned(),
            kind: KeyKind::List,
            format,
            batch: 1000,
            wait: Duration::from_secs(60),
        };
        let has_url = file != "-";
        if has_url {
            target.name_url(file)?;
        }
        // Settings from the URL stay, unless an argument changes them.
        let mut settings: RedisConnectionInfo = target.connection.redis_settings().clone();
        for pair in args.split(',').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(|| {
                format!(
                    "'{}' is not an argument; write NAME=VALUE, such as host=127.0.0.1,key=results",
                    word(pair)
                )
            })?;
            let odd = || format!("'{value}' is not valid for {name}");
            if has_url && matches!(name, "host" | "port" | "socket") {
                return Err(format!("both {name} and a URL are given; leave one of them out"));
            }
            match name {
                "host" => host = Some(value.to_owned()),
                "port" => port = Some(value.parse::<u16>().map_err(|_| odd())?),
                "socket" => socket = Some(value.to_owned()),
                "db" => settings = settings.set_db(value.parse().map_err(|_| odd())?),
                "user" => settings = settings.set_username(value),
                "password-file" => {
                    let bytes = input::read(Path::new(value))
                        .map_err(|error| format!("cannot read {value}: {error}"))?;
                    let text = String::from_utf8(bytes)
                        .map_err(|_| format!("the password in {value} is not UTF-8, which it must be"))?;
                    settings = settings.set_password(text.trim_end_matches(['\r', '\n']));
                }
                "key" if !value.is_empty() => target.key = value.to_owned(),
                "kind" => {
                    target.kind = match value {
                        "list" => KeyKind::List,
                        "stream" => KeyKind::Stream,
                        _ => return Err(format!("'{value}' is not a kind; give list or stream")),
                    };
                }
                "format" => {
                    target.format = match value {
                        "packed" => RecordFormat::Packed,
                        "csv" => RecordFormat::Csv,
                        "json" => RecordFormat::Json,
                        _ => return Err(format!("'{value}' is not a format; give packed, csv or json")),
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
                    return Err("both socket and host or port are given; leave one of them out".to_owned());
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

    /// The server's name in messages, without a password.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How long to wait for a server that has gone.
    pub fn wait(&self) -> Duration {
        self.wait
    }

    /// A text of the server with the password hidden, because some servers repeat what they did not understand.
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

    /// The server's host and port, if it is reached over TCP.
    pub fn host(&self) -> Option<(&str, u16)> {
        match self.connection.addr() {
            ConnectionAddr::Tcp(host, port) => Some((host, *port)),
            _ => None,
        }
    }

    fn name_url(&mut self, url: &str) -> Result<(), String> {
        let no_url = || {
            format!(
                "'{}' is not a server's URL; give redis://host:port or unix:///path/of/socket",
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

/// An address that can become a connection.
trait Info {
    fn info(self) -> Result<ConnectionInfo, String>;
}

impl Info for ConnectionAddr {
    fn info(self) -> Result<ConnectionInfo, String> {
        self.into_connection_info().map_err(|error| error.to_string())
    }
}

/// A URL as an error may repeat it. A password may follow its scheme, and precede an `@` even in text that is not a
/// URL.
fn scheme(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, _)) => format!("{}://...", word(scheme)),
        None if url.contains('@') => "...@...".to_owned(),
        None => word(url).to_owned(),
    }
}

/// The start of an argument, up to where a password might begin.
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
            ("-", "socket=/a,host=b", "leave one"),
            ("redis://h", "host=b", "leave one"),
            ("-", "password-file=/no/such", "cannot read /no/such"),
            ("results.csv", "", "'results.csv' is not a server's URL"),
            ("tcp://h:1", "", "is not a server's URL"),
            ("http://me:secret@h", "", "'http://...' is not a server's URL"),
            ("rediss://h", "", "'rediss://...' is not a server's URL"),
            ("redis:/:secret@h", "", "'...@...' is not a server's URL"),
            (":secret@h:6379", "", "'...@...' is not a server's URL"),
            ("redis:secret@h://k", "", "'redis://...' is not a server's URL"),
            ("-", "password:secret", "'password' is not an argument"),
            ("-", "password?secret=1", "there is no argument password;"),
        ] {
            let error = target(file, args).unwrap_err();
            assert!(error.contains(what) && !error.contains("secret"), "{file} {args}: {error}");
        }
    }

    /// Arguments set what the URL does not, and leave the rest alone.
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
