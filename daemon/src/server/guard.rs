//! Who is let in: every request passes here before it is routed, in this order.
//!
//! 1. `Host` names this machine, so that a page which rebinds its DNS name to 127.0.0.1 gets nowhere;
//! 2. `Origin` is absent or ours, and `Sec-Fetch-Site` is not another site, so that no page acts through a browser;
//! 3. the caller proves who they are: the socket's peer by its uid, TCP by the token;
//! 4. a body is JSON, uncompressed, and not longer than anything this daemon takes.

use super::refusal::Refusal;
use super::token::Token;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use rheostat_runtime::observe::Actor;

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A process on this machine, by the kernel's word.
    Process {
        /// Its user.
        uid: u32,
    },
    /// Somebody on TCP.
    Network,
}

impl Peer {
    /// The name under which the peer's changes are journaled.
    pub(crate) fn actor(self) -> Actor {
        Actor::User(match self {
            Peer::Process { uid } => format!("uid {uid}"),
            Peer::Network => "token".into(),
        })
    }
}

/// The rules of one listener.
#[derive(Debug)]
pub(crate) struct Guard {
    /// The port that `Host` and `Origin` must name; on a socket there is none to name.
    pub port: Option<u16>,
    /// What TCP callers must show; `None` where the listener gives nothing away and takes no orders.
    pub token: Option<Token>,
    /// Whether this is the control socket, which its owner and root may use.
    pub owner_only: bool,
    /// Bytes of the longest body any route takes.
    pub body_bytes_max: usize,
}

impl Guard {
    /// Lets a request pass or says why not.
    pub(crate) fn admit<B>(&self, request: &Request<B>, peer: Peer) -> Result<(), Refusal> {
        let headers = request.headers();
        self.check_host(request)?;
        self.check_origin(headers)?;
        self.check_caller(headers, peer)?;
        self.check_body(request.method(), headers)
    }

    fn check_host<B>(&self, request: &Request<B>) -> Result<(), Refusal> {
        let mut named = request.headers().get_all(header::HOST).iter();
        let refuse = |name: &str| {
            let detail =
                format!("`{name}` is no name of this daemon; use localhost, 127.0.0.1 or [::1]{}", self.port_hint());
            Err(Refusal::new(StatusCode::FORBIDDEN, "wrong-host", detail))
        };
        match (named.next().map(|host| host.to_str()), named.next()) {
            (Some(Ok(host)), None) if self.is_ours(host) => {}
            (Some(Ok(host)), _) => return refuse(host),
            _ => return refuse(""),
        }
        // A request line may carry a whole URL, whose authority then counts.
        match request.uri().authority() {
            Some(authority) if !self.is_ours(authority.as_str()) => refuse(authority.as_str()),
            _ => Ok(()),
        }
    }

    fn is_ours(&self, host: &str) -> bool {
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
            _ => (host, None),
        };
        let port_fits = match (self.port, port) {
            (Some(ours), Some(port)) => port.parse() == Ok(ours),
            (Some(ours), None) => ours == 80,
            (None, _) => true,
        };
        port_fits && ["localhost", "127.0.0.1", "[::1]"].iter().any(|ours| name.eq_ignore_ascii_case(ours))
    }

    fn port_hint(&self) -> String {
        self.port.map_or_else(String::new, |port| format!(", with port {port}"))
    }

    fn check_origin(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let refuse = |detail| Err(Refusal::new(StatusCode::FORBIDDEN, "other-origin", detail));
        for origin in headers.get_all(header::ORIGIN) {
            let ours = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
            if !ours.is_some_and(|host| self.is_ours(host)) {
                return refuse("pages of other origins are not served");
            }
        }
        match headers.get("sec-fetch-site").map(|site| site.as_bytes()) {
            None | Some(b"same-origin" | b"none") => Ok(()),
            Some(_) => refuse("requests made by pages of other sites are not served"),
        }
    }

    fn check_caller(&self, headers: &HeaderMap, peer: Peer) -> Result<(), Refusal> {
        match (peer, &self.token) {
            (Peer::Process { uid }, _) if self.owner_only => {
                let own = rustix::process::geteuid().as_raw();
                if uid == own || uid == 0 {
                    return Ok(());
                }
                let detail = format!("uid {uid} may not use this daemon; only uid {own}, who runs it, and root may");
                Err(Refusal::new(StatusCode::FORBIDDEN, "not-yours", detail))
            }
            (_, Some(token)) => {
                let shown =
                    headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
                if shown.is_some_and(|shown| token.is(shown)) {
                    return Ok(());
                }
                let detail = "no token or a wrong one: send `Authorization: Bearer TOKEN` with what the daemon's token file holds";
                Err(Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", detail))
            }
            (_, None) => Ok(()),
        }
    }

    fn check_body(&self, method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
        let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let writes = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        let body = length.is_some_and(|length| length > 0) || headers.contains_key(header::TRANSFER_ENCODING);
        let refuse = |detail| Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-json", detail));
        let kind = headers.get(header::CONTENT_TYPE).map(|kind| kind.to_str().unwrap_or_default());
        let json = |kind: &str| {
            kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
        };
        // A form's empty post has a type and no body: it is refused by the type.
        if writes && (body || kind.is_some()) && !kind.is_some_and(json) {
            return refuse("bodies are JSON: send `Content-Type: application/json`");
        }
        if headers.contains_key(header::CONTENT_ENCODING) {
            return refuse("compressed bodies are not taken; send it plain");
        }
        if length.is_some_and(|length| length > self.body_bytes_max as u64) {
            return Err(too_large(self.body_bytes_max));
        }
        Ok(())
    }
}

pub(super) fn too_large(limit: usize) -> Refusal {
    let detail = format!("the body is longer than the {limit} bytes that are taken here");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(port: Option<u16>) -> Guard {
        Guard { port, token: None, owner_only: false, body_bytes_max: 100 }
    }

    fn admitted(guard: &Guard, head: &[(&str, &str)], method: Method) -> Result<(), u16> {
        use axum::response::IntoResponse;
        let mut request = Request::builder().method(method).uri("/v1/resources");
        for (name, value) in head {
            request = request.header(*name, *value);
        }
        guard
            .admit(&request.body(()).unwrap(), Peer::Network)
            .map_err(|refusal| refusal.into_response().status().as_u16())
    }

    #[test]
    fn hosts() {
        let tcp = guard(Some(9745));
        for host in ["localhost:9745", "127.0.0.1:9745", "[::1]:9745", "LOCALHOST:9745"] {
            assert_eq!(admitted(&tcp, &[("host", host)], Method::GET), Ok(()), "{host}");
        }
        let foreign = [
            "evil.example",
            "evil.example:9745",
            "localhost.evil:9745",
            "127.0.0.1.evil:9745",
            "localhost:9746",
            "localhost",
            "0.0.0.0:9745",
            "[::ffff:127.0.0.1]:9745",
            "[::]:9745",
            "127.0.0.2:9745",
            "127.1:9745",
            "",
            ":9745",
            "localhost:",
            "localhost:9745:9745",
            "user@localhost:9745",
            "[::1",
            "::1:9745",
        ];
        for host in foreign {
            assert_eq!(admitted(&tcp, &[("host", host)], Method::GET), Err(403), "{host}");
        }
        assert_eq!(admitted(&tcp, &[], Method::GET), Err(403), "no host");
        let twice = [("host", "localhost:9745"), ("host", "evil.example")];
        assert_eq!(admitted(&tcp, &twice, Method::GET), Err(403), "two hosts");
    }

    #[test]
    fn pages_and_bodies() {
        let guard = guard(Some(9745));
        type Case = (&'static [(&'static str, &'static str)], Method, Result<(), u16>);
        let cases: [Case; 13] = [
            (&[("origin", "http://localhost:9745")], Method::GET, Ok(())),
            (&[("origin", "http://evil.example")], Method::GET, Err(403)),
            (&[("origin", "http://localhost:9999")], Method::GET, Err(403)),
            (&[("origin", "null")], Method::GET, Err(403)),
            (&[("sec-fetch-site", "cross-site")], Method::GET, Err(403)),
            (&[("sec-fetch-site", "same-site")], Method::GET, Err(403)),
            (&[("sec-fetch-site", "same-origin")], Method::GET, Ok(())),
            (&[("content-type", "text/plain"), ("content-length", "5")], Method::POST, Err(415)),
            (&[("content-length", "5")], Method::PATCH, Err(415)),
            (&[("content-type", "application/x-www-form-urlencoded")], Method::POST, Err(415)),
            (&[("content-type", "application/json; charset=utf-8"), ("content-length", "5")], Method::POST, Ok(())),
            (&[("content-type", "application/json"), ("content-length", "101")], Method::POST, Err(413)),
            (
                &[("content-type", "application/json"), ("content-encoding", "gzip"), ("content-length", "5")],
                Method::POST,
                Err(415),
            ),
        ];
        for (head, method, expected) in cases {
            let head: Vec<_> = head.iter().copied().chain([("host", "localhost:9745")]).collect();
            assert_eq!(admitted(&guard, &head, method), expected, "{head:?}");
        }
    }
}
