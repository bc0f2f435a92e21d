//! Takes connections, no more than can be borne.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;

/// Connections at a time; further ones wait. Each costs some kilobytes.
const MOST: usize = 512;

/// How long a client may take to say what it wants; who takes longer, or says nothing, makes room.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// How long nothing is accepted after an error, such as too many open files.
const REST: Duration = Duration::from_millis(100);

/// An address that is listened at.
pub struct Listener(TcpListener);

impl Listener {
    /// Takes the address.
    ///
    /// # Errors
    /// When somebody else has it, or it is not of this machine.
    pub fn bind(address: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .with_context(|| format!("http.listen: {address} cannot be listened at; give another address"))?;
        Ok(Self(listener))
    }

    /// The address, with the port that was taken where none was asked for.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Serves until the process ends, on the thread with the event loop.
    ///
    /// # Errors
    /// When that thread cannot listen.
    pub(super) async fn serve(self, router: Router) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.0)?;
        let room = Arc::new(Semaphore::new(MOST));
        let mut connection = http1::Builder::new();
        connection.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
        loop {
            let room = room.clone().acquire_owned().await.expect("the semaphore is never closed");
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(REST).await;
                continue;
            };
            let service = TowerToHyperService::new(router.clone());
            let served = connection.serve_connection(TokioIo::new(stream), service);
            tokio::spawn(async move {
                // A client that is gone or talks nonsense is no concern of the daemon's.
                let _ = served.await;
                drop(room);
            });
        }
    }
}
