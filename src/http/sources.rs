//! How many connections each address holds, where that is bounded.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The places of all addresses. It knows those alone that hold some.
pub(super) struct Sources {
    /// Of one address.
    most: usize,
    held: Mutex<HashMap<IpAddr, usize>>,
}

/// A place of one address, until it is dropped.
pub(super) struct Place {
    sources: Arc<Sources>,
    source: IpAddr,
}

/// Whose connections are counted together: those of an IPv4 address, or of 64 bits of an IPv6 address, since
/// one customer of a provider has that many addresses. None are counted of this machine itself: whoever is on
/// it, a proxy as a rule, has better ways to harm its node.
pub(super) fn source_of(ip: IpAddr) -> Option<IpAddr> {
    match ip.to_canonical() {
        ip if ip.is_loopback() => None,
        IpAddr::V4(ip) => Some(ip.into()),
        IpAddr::V6(ip) => {
            let network = u128::from(ip) & !u128::from(u64::MAX);
            Some(Ipv6Addr::from(network).into())
        }
    }
}

impl Sources {
    /// Nobody holds any yet.
    pub(super) fn new(most: usize) -> Self {
        Self { most, held: Mutex::default() }
    }

    /// A place for one more of `source`, if it may have that.
    pub(super) fn admit(self: &Arc<Self>, source: IpAddr) -> Option<Place> {
        let mut held = self.held();
        let count = held.entry(source).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        drop(held);
        Some(Place { sources: Arc::clone(self), source })
    }

    /// Numbers that a panic has left are still numbers.
    fn held(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.sources.held();
        if let Some(count) = held.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_of_one_customer_are_one_source() {
        for (text, source) in [
            ("127.0.0.1", None),
            ("127.9.9.9", None),
            ("::1", None),
            ("::ffff:127.0.0.1", None),
            ("10.0.0.1", Some("10.0.0.1")),
            ("::ffff:10.0.0.1", Some("10.0.0.1")),
            ("2001:db8:1:2:3:4:5:6", Some("2001:db8:1:2::")),
            ("2001:db8:1:2:ffff::", Some("2001:db8:1:2::")),
        ] {
            assert_eq!(source_of(ip(text)), source.map(ip), "{text}");
        }
    }

    #[test]
    fn each_source_has_places_of_its_own_and_gives_them_back() {
        let sources = Arc::new(Sources::new(2));
        let (one, other) = (ip("10.0.0.1"), ip("10.0.0.2"));
        let held = [sources.admit(one).unwrap(), sources.admit(one).unwrap()];
        assert!(sources.admit(one).is_none());
        let elsewhere = sources.admit(other).unwrap();
        drop(held);
        let again = sources.admit(one).unwrap();
        drop((again, elsewhere));
        assert!(sources.held().is_empty(), "whoever holds none is forgotten");
    }
}
