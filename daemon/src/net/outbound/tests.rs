//! Which addresses may be connected to.

use std::net::SocketAddr;

use hyper_rustls::ResolveServerName as _;

use super::resolve::{Named, ResolveError, checked};
use super::special::is_public;

#[test]
fn only_addresses_on_the_internet_are_public() {
    for address in ["1.1.1.1", "9.255.255.255", "100.128.0.1", "172.32.0.1", "192.0.1.1", "2606::1"]
    {
        assert!(is_public(address.parse().unwrap()), "{address}");
    }
    for address in [
        "0.0.0.0",
        "10.0.0.5",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.168.1.1",
        "198.19.0.1",
        "203.0.113.7",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:10.0.0.5",
        "::ffff:127.0.0.1",
        "::7f00:1",
        "64:ff9b::a00:5",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:a00:5::1",
        "3fff::1",
        "fc00::1",
        "fe80::1",
        "ff02::1",
    ] {
        assert!(!is_public(address.parse().unwrap()), "{address}");
    }
}

#[test]
fn a_name_means_its_public_addresses_and_localhost_this_machine() {
    let of = |name: &str, addresses: &[&str]| {
        let found = addresses.iter().map(|it| SocketAddr::new(it.parse().unwrap(), 0));
        let kept = checked(name, found)
            .map(|kept| kept.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>());
        kept.map_err(|error| matches!(error, ResolveError::Refused))
    };
    assert_eq!(of("a.example", &["10.0.0.1", "1.1.1.1", "::1"]), Ok(vec!["1.1.1.1".to_owned()]));
    assert_eq!(of("a.example", &["127.0.0.1"]), Err(true));
    assert_eq!(of("a.localhost", &["127.0.0.1"]), Err(true));
    assert_eq!(of("localhost", &["127.0.0.1"]), Ok(vec!["127.0.0.1".to_owned()]));
    assert_eq!(of("localhost", &["10.0.0.1"]), Err(true));
    assert_eq!(of("a.example", &[]), Err(true));
}

#[test]
fn tls_is_told_the_name_and_not_the_address() {
    let of = |url: &str| {
        let name = Named.resolve(&url.parse().unwrap()).unwrap();
        name.to_str().into_owned()
    };
    assert_eq!(of("https://api.example.com@1.1.1.1:443/x"), "api.example.com");
    assert_eq!(of("https://api.example.com@[2606::1]:443/x"), "api.example.com");
    assert_eq!(of("https://1.1.1.1/x"), "1.1.1.1");
    assert_eq!(of("https://[2606::1]:8443/x"), "2606::1");
}
