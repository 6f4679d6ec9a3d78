//! Bare connections, as a 0.3 guest makes and takes them.

use wasip3::sockets::ip_name_lookup::resolve_addresses;
use wasip3::sockets::types::{ErrorCode, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, TcpSocket, UdpSocket};
use wasip3::{wit_bindgen, wit_stream};

/// `ACT|…` → what came of it.
pub async fn act(what: &str) -> String {
    let words: Vec<&str> = what.split('|').collect();
    let done = match words[..] {
        ["talk", address, text] => talk(address, text).await,
        ["many", address, n] => many(address, n.parse().unwrap()).await,
        ["listen", address] => listen(address).await,
        ["udp", address] => match UdpSocket::create(IpAddressFamily::Ipv4) {
            Ok(socket) => socket.bind(parsed(address)).map(|()| "bound".into()),
            Err(code) => Err(code),
        },
        ["lookup", name] => {
            return match resolve_addresses(name.to_owned()).await {
                Ok(found) => format!("{} found", found.len()),
                Err(code) => format!("{code:?}").split(' ').next().unwrap_or_default().to_owned(),
            };
        }
        _ => return format!("what? {what}"),
    };
    done.unwrap_or_else(|code| match code {
        ErrorCode::Other(Some(why)) => why,
        ErrorCode::AccessDenied => "denied".into(),
        ErrorCode::ConnectionRefused => "refused".into(),
        code => format!("{code:?}"),
    })
}

fn parsed(address: &str) -> IpSocketAddress {
    let address: std::net::SocketAddrV4 = address.parse().unwrap();
    let [a, b, c, d] = address.ip().octets();
    IpSocketAddress::Ipv4(Ipv4SocketAddress { port: address.port(), address: (a, b, c, d) })
}

async fn connected(address: &str) -> Result<TcpSocket, ErrorCode> {
    let socket = TcpSocket::create(IpAddressFamily::Ipv4)?;
    socket.connect(parsed(address)).await?;
    Ok(socket)
}

async fn talk(address: &str, text: &str) -> Result<String, ErrorCode> {
    let socket = connected(address).await?;
    let (mut data, reader) = wit_stream::new();
    let sent = socket.send(reader);
    let text = text.as_bytes().to_vec();
    wit_bindgen::spawn_local(async move {
        data.write_all(text).await;
    });
    let (heard, end) = socket.receive();
    let heard = heard.collect().await;
    sent.await?;
    end.await?;
    Ok(String::from_utf8_lossy(&heard).into_owned())
}

/// How many connections there can be at once when only what is heard of each is kept, then again once those are gone.
async fn many(address: &str, n: usize) -> Result<String, ErrorCode> {
    let mut counts = Vec::new();
    for _ in 0..2 {
        let mut held = Vec::new();
        for _ in 0..n {
            let Ok(socket) = connected(address).await else { break };
            held.push(socket.receive().0);
        }
        counts.push(held.len().to_string());
        drop(held);
        // What was dropped is taken down when the host has its turn.
        wasip3::clocks::monotonic_clock::wait_for(50_000_000).await;
    }
    Ok(counts.join(" "))
}

/// Takes one connection and says how much it heard.
async fn listen(address: &str) -> Result<String, ErrorCode> {
    let socket = TcpSocket::create(IpAddressFamily::Ipv4)?;
    socket.bind(parsed(address))?;
    let mut incoming = socket.listen()?;
    match incoming.next().await {
        Some(taken) => Ok(format!("{} heard", taken.receive().0.collect().await.len())),
        None => Ok("over".into()),
    }
}
