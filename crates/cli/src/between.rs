//! Where other nodes reach this machine's: the address that it tells them, and the listener behind it.

use std::fmt;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs, UdpSocket};

use anyhow::{Context, Result, bail};

use crate::exit::Usage;
use crate::home::Home;

/// The port, unless another is asked for.
const PORT: u16 = 6444;
/// Remembers the address in the node's folder, for a start at which the server cannot be asked, and the port where any would do.
const FILE: &str = "advertise";

/// A port for other nodes.
pub struct Between {
    /// What they are told.
    pub address: SocketAddr,
    /// Where they end up.
    pub listener: TcpListener,
}

impl fmt::Display for Between {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

impl Between {
    /// The address that is `asked` for, else the one from which this machine reaches the server at `url`, else that of last time. A port that
    /// nobody asked for gives way to a free one where it is taken: several nodes may share a machine.
    pub fn of(home: &Home, asked: Option<&str>, url: &str) -> Result<Between> {
        let asked = asked.map(read).transpose()?;
        let file = home.node().join(FILE);
        let before: Option<SocketAddr> = std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok());
        let address = asked.map(|(address, _)| address).or_else(|| towards(url)).or(before.map(|before| before.ip()));
        let address = address.unwrap_or(IpAddr::from(Ipv4Addr::LOCALHOST));
        let listener = match asked {
            Some((_, Some(port))) => listen(address, port).with_context(|| format!("listening for other nodes on port {port}"))?,
            _ => {
                let usual = if address.is_loopback() { 0 } else { PORT };
                let ports = before.map(|before| before.port()).into_iter().chain([usual, 0]);
                let first = ports.map(|port| listen(address, port)).find(|tried| !tried.as_ref().is_err_and(is_taken));
                first.context("finding a port for other nodes")?.context("listening for other nodes")?
            }
        };
        let port = match asked {
            Some((_, Some(port))) if port != 0 => port,
            _ => listener.local_addr().context("listening for other nodes")?.port(),
        };
        let address = SocketAddr::new(address, port);
        std::fs::create_dir_all(home.node())
            .and_then(|()| std::fs::write(&file, address.to_string()))
            .with_context(|| format!("writing {}", file.display()))?;
        Ok(Between { address, listener })
    }
}

fn is_taken(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::AddrInUse
}

/// An address, with or without a port.
fn read(text: &str) -> Result<(IpAddr, Option<u16>)> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let read = match (text.parse::<SocketAddr>(), bare.parse::<IpAddr>()) {
        (Ok(address), _) => (address.ip(), Some(address.port())),
        (_, Ok(address)) => (address, None),
        _ => bail!(Usage(format!("--advertise takes an IP address, with a port or without (192.0.2.7:6444), not `{text}`"))),
    };
    if read.0.is_unspecified() {
        bail!(Usage(format!("--advertise {text} is no address that another machine could reach; name one of this machine's")));
    }
    Ok(read)
}

/// On the address where this machine has it; one that is translated on the way has it elsewhere.
fn listen(address: IpAddr, port: u16) -> std::io::Result<TcpListener> {
    match TcpListener::bind((address, port)) {
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => match address {
            IpAddr::V4(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)),
            IpAddr::V6(_) => TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)),
        },
        other => other,
    }
}

/// The address from which this machine would send to a server. Nothing is sent.
fn towards(url: &str) -> Option<IpAddr> {
    let uri: http::Uri = url.parse().ok()?;
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
    let server = (host, uri.port_u16().unwrap_or(443)).to_socket_addrs().ok()?.next()?;
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(server).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|address| !address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_with_its_port_and_without() {
        assert_eq!(read("192.0.2.7").unwrap(), (IpAddr::from([192, 0, 2, 7]), None));
        assert_eq!(read("192.0.2.7:7000").unwrap().1, Some(7000));
        assert_eq!(read("[2001:db8::1]:7000").unwrap(), ("2001:db8::1".parse().unwrap(), Some(7000)));
        assert_eq!(read("2001:db8::1").unwrap().1, None);
        assert!(read("edge-1").is_err() && read("0.0.0.0").is_err() && read(":::7000").is_err());
    }

    #[test]
    fn the_port_stays_and_gives_way_only_if_nobody_asked_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home { path: folder.path().to_owned() };
        let first = Between::of(&home, None, "https://127.0.0.1:6443").unwrap();
        let address = first.address;
        assert!(address.ip().is_loopback() && address.port() != 0);
        let beside = Between::of(&home, None, "https://127.0.0.1:6443").unwrap();
        assert_ne!(beside.address, address, "it is taken");
        drop((first, beside));
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let asked = taken.local_addr().unwrap().to_string();
        assert!(Between::of(&home, Some(&asked), "https://127.0.0.1:6443").is_err());
        // A server that cannot be found: what was told before is told again.
        std::fs::write(home.node().join(FILE), address.to_string()).unwrap();
        assert_eq!(Between::of(&home, None, "https://nowhere.invalid:6443").unwrap().address, address);
    }
}
