//! Doors for the fuzz targets (`fuzz/`) to what this layer reads of strangers. In no program: only `cfg(fuzzing)` has it.

use std::net::SocketAddr;

use futures_util::FutureExt as _;
use http::header::HOST;
use http::{HeaderMap, HeaderValue};
use pingora::http::{RequestHeader, ResponseHeader};

use super::life::Connection;
use super::token_query::Target;
use super::{cookies, proxy_protocol, response_headers, route};
use crate::names::{PublicHosts, Site};

/// Where a request says for whom it is.
#[derive(Clone, Copy, Debug)]
pub enum Said<'a> {
    /// In its `Host` field.
    InHost(&'a [u8]),
    /// In its target.
    InTarget(&'a str),
}

/// Whose site it is for. None: it is no request at all.
pub fn site(hosts: &PublicHosts, said: Said<'_>, server_name: Option<&str>) -> Option<Site> {
    let mut request = RequestHeader::build("GET", b"/", None).ok()?;
    match said {
        Said::InHost(host) => drop(request.append_header(HOST, HeaderValue::from_bytes(host).ok()?)),
        Said::InTarget(host) => {
            request.set_uri(
                http::Uri::builder().scheme("https").authority(host).path_and_query("/").build().ok()?,
            );
        }
    }
    let peer = ([127, 0, 0, 1], 1).into();
    let connection = Connection {
        peer,
        server_name: server_name.map(str::to_owned),
        course: Default::default(),
        limits: Default::default(),
    };
    Some(route::site_of(hosts, &request, &connection))
}

/// Whom a balancer speaks for, if it is one, and what it says after its header.
pub fn proxied(mut stream: &[u8]) -> Option<(Option<SocketAddr>, &[u8])> {
    // All there is has come already, so it waits for nothing.
    let address = proxy_protocol::read(&mut stream).now_or_never()?.ok()?;
    Some((address, stream))
}

/// The `token` parameters of a target, each with what is left of the target without it.
pub fn tokens(target: &[u8]) -> Vec<(Option<String>, Vec<u8>)> {
    let target = Target::parse(target);
    target.tokens().map(|token| (token.text().map(str::to_owned), target.without(&token))).collect()
}

/// The value of the cookie `name`.
pub fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    cookies::only(headers, name)
}

/// The cookies that the app gets to see.
pub fn cookies_of_the_app(headers: &HeaderMap) -> Option<HeaderValue> {
    cookies::of_the_app(headers)
}

/// What of an app's `Set-Cookie` reaches the browser.
pub fn set_by_the_app(cookie: &HeaderValue, own_host: &str) -> Option<HeaderValue> {
    let mut response = ResponseHeader::build(200, None).ok()?;
    response.append_header(http::header::SET_COOKIE, cookie).ok()?;
    response_headers::rewrite(&mut response, own_host).ok()?;
    response.headers.get(http::header::SET_COOKIE).cloned()
}
