//! `v4.channel.k8s.io`: one connection for each port that the client named. Each message begins with its channel: twice the port's place for
//! data, one more for an error; the first message of a channel is the port.

use bytes::{BufMut, Bytes, BytesMut};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::socket::Line;
use super::{Dialer, PIECES, STALL};

/// Passes on until the client goes or the pod has ended all connections.
pub(super) async fn serve(dialer: Dialer, ports: Vec<u16>, mut line: Line) {
    let (mut to_pods, mut connections) = (Vec::new(), JoinSet::new());
    for (place, port) in ports.into_iter().enumerate() {
        // There are few enough for a byte.
        let data = u8::try_from(2 * place).unwrap_or(u8::MAX - 1);
        let (to_pod, pieces) = mpsc::channel(PIECES);
        to_pods.push(Some(to_pod));
        connections.spawn(connect(dialer.clone(), port, data, pieces, line.outgoing.clone()));
    }
    loop {
        tokio::select! {
            message = line.incoming.recv() => match message {
                Some(message) => pass(&mut to_pods, message).await,
                None => return,
            },
            ended = connections.join_next() => if ended.is_none() {
                return line.close().await;
            },
        }
    }
}

async fn pass(to_pods: &mut [Option<mpsc::Sender<Bytes>>], mut message: Bytes) {
    if message.len() < 2 {
        return;
    }
    let channel = message.split_to(1)[0];
    // Nothing is asked on the channels of errors.
    let Some(to_pod) = to_pods.get_mut(usize::from(channel / 2)).filter(|_| channel.is_multiple_of(2)) else { return };
    let Some(sender) = to_pod else { return };
    if !matches!(tokio::time::timeout(STALL, sender.send(message)).await, Ok(Ok(()))) {
        *to_pod = None;
    }
}

async fn connect(dialer: Dialer, port: u16, data: u8, to_pod: mpsc::Receiver<Bytes>, outgoing: mpsc::Sender<Bytes>) {
    let told = async |channel: u8, bytes: &[u8]| {
        let mut message = BytesMut::with_capacity(1 + bytes.len());
        message.put_u8(channel);
        message.put_slice(bytes);
        outgoing.send(message.freeze()).await.is_ok()
    };
    for channel in [data, data + 1] {
        if !told(channel, &port.to_le_bytes()).await {
            return;
        }
    }
    match dialer.dial(port, to_pod).await {
        Ok(mut dialled) => {
            while let Some(piece) = dialled.pieces.recv().await {
                if !told(data, &piece).await {
                    return;
                }
            }
        }
        Err(sentence) => drop(told(data + 1, sentence.as_bytes()).await),
    }
}
