//! A cable between two programs that can be cut and mended: TCP and UDP to one port.

use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

pub struct Relay {
    /// Where whoever wants to reach the other end connects to.
    pub port: u16,
    whole: Arc<watch::Sender<bool>>,
    _serving: DropGuard,
}

impl Relay {
    /// To a port of this machine.
    pub async fn to(target: u16) -> Self {
        let (streams, packets, port) = loop {
            let streams = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = streams.local_addr().unwrap().port();
            if let Ok(packets) = UdpSocket::bind(("127.0.0.1", port)).await {
                break (streams, packets, port);
            }
        };
        let whole = Arc::new(watch::Sender::new(true));
        let stop = CancellationToken::new();
        let forwarding = [whole.subscribe(), whole.subscribe()];
        let [of_streams, of_packets] = forwarding;
        let ended = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = forward_streams(streams, target, of_streams) => {}
                () = forward_packets(packets, target, of_packets) => {}
            }
        });
        Self { port, whole, _serving: stop.drop_guard() }
    }

    /// Nothing gets through any more, and what was under way is lost.
    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    pub fn mend(&self) {
        self.whole.send_replace(true);
    }
}

async fn forward_streams(from: TcpListener, target: u16, whole: watch::Receiver<bool>) {
    while let Ok((mut stream, _)) = from.accept().await {
        let mut whole = whole.clone();
        if !*whole.borrow_and_update() {
            continue;
        }
        tokio::spawn(async move {
            let Ok(mut onward) = TcpStream::connect(("127.0.0.1", target)).await else { return };
            tokio::select! {
                _done = copy_bidirectional(&mut stream, &mut onward) => {}
                _cut = whole.wait_for(|whole| !*whole) => {}
            }
        });
    }
}

async fn forward_packets(from: UdpSocket, target: u16, whole: watch::Receiver<bool>) {
    let mut packet = vec![0; 65_536];
    while let Ok((length, _)) = from.recv_from(&mut packet).await {
        if *whole.borrow() {
            let _lost = from.send_to(&packet[..length], ("127.0.0.1", target)).await;
        }
    }
}
