//! Which etcd, and who we are to it: `etcd://HOST:PORT,HOST:PORT[/NAME]`.

use std::path::PathBuf;

use super::super::{Error, Result};

/// The port where etcd serves its clients.
const PORT: &str = "2379";
/// What a cluster's keys begin with unless the address names something else.
const NAME: &str = "wctl";

/// Where etcd is and how to talk to it.
#[derive(Clone)]
pub struct Options {
    /// `HOST:PORT` of each member.
    pub members: Vec<String>,
    /// What all keys begin with, so that several clusters can share an etcd.
    pub name: String,
    /// TLS, where the address says `etcds://` or a file for it is named.
    pub tls: Option<Tls>,
    /// User and password, where etcd asks for them.
    pub login: Option<(String, String)>,
}

/// Files for TLS, all PEM.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// The authorities that members' certificates come from. None is good for nothing: no public authority vouches for an etcd.
    pub ca: Option<PathBuf>,
    /// Our own certificate and its key, where etcd asks for one.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let login = self.login.as_ref().map(|(user, _)| user);
        f.debug_struct("Options")
            .field("members", &self.members)
            .field("name", &self.name)
            .field("tls", &self.tls)
            .field("user", &login)
            .finish()
    }
}

impl Options {
    /// Reads `etcd://h1:2379,h2:2379/NAME`; `etcds://` means TLS. Errors are sentences for whoever typed it.
    pub fn parse(address: &str) -> Result<Options> {
        let wrong =
            |why: &str| Error::Refused(format!("`{}` is no address of an etcd: {why}; write etcd://HOST:2379,HOST:2379", hidden(address)));
        let (rest, tls) = match (address.strip_prefix("etcd://"), address.strip_prefix("etcds://")) {
            (Some(rest), _) => (rest, None),
            (_, Some(rest)) => (rest, Some(Tls::default())),
            _ => return Err(wrong("it begins with neither etcd:// nor etcds://")),
        };
        if rest.contains('@') {
            return Err(wrong(
                "a user and a password do not belong into it (use --store-user, and WCTL_STORE_PASSWORD or --store-password-file)",
            ));
        }
        let (hosts, name) = rest.split_once('/').unwrap_or((rest, NAME));
        let name = name.trim_end_matches('/');
        if name.is_empty() || name.chars().any(|c| !(c.is_ascii_alphanumeric() || "-_.".contains(c))) {
            return Err(wrong("after the slash stands a name of letters, digits and dashes"));
        }
        let members = hosts.split(',').map(|host| member(host.trim()).ok_or_else(|| wrong(&format!("`{host}` is no HOST:PORT"))));
        Ok(Options { members: members.collect::<Result<_>>()?, name: name.to_owned(), tls, login: None })
    }
}

/// Nobody's password gets into a message.
fn hidden(address: &str) -> String {
    address.rsplit_once('@').map_or_else(|| address.to_owned(), |(_, hosts)| format!("…@{hosts}"))
}

fn member(typed: &str) -> Option<String> {
    let with_port = match typed.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && !port.contains(']') => {
            port.parse::<u16>().ok()?;
            typed.to_owned()
        }
        _ => format!("{typed}:{PORT}"),
    };
    let authority = with_port.parse::<http::uri::Authority>().ok()?;
    (!authority.host().is_empty()).then_some(with_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_members_and_a_cluster() {
        let options = Options::parse("etcd://a:1,b, [::1]:2379/shop").unwrap();
        assert_eq!(options.members, ["a:1", "b:2379", "[::1]:2379"]);
        assert_eq!((options.name.as_str(), options.tls.is_some()), ("shop", false));
        let options = Options::parse("etcds://[::1]").unwrap();
        assert_eq!((options.members, options.name.as_str(), options.tls.is_some()), (vec!["[::1]:2379".to_owned()], "wctl", true));
    }

    #[test]
    fn what_is_no_address_is_refused_in_one_sentence() {
        for wrong in ["", "http://a", "etcd://", "etcd://a,,b", "etcd://a:x", "etcd://a/", "etcd://a/b/c", "etcd://u:secret@a"] {
            let why = Options::parse(wrong).unwrap_err().to_string();
            assert!(why.contains("write etcd://HOST:2379") && !why.contains("secret"), "{wrong}: {why}");
        }
    }
}
