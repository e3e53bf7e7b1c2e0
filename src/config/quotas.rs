//! `[[quotas]]`: how much the objects of a binding may take, and how many there may be.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::check;
use crate::bindings::Bindings;
use crate::limits;
use crate::machine::{NamespaceId, Quota, Quotas};

/// The quota of a binding. One that has none in the file has the default.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct QuotaSettings {
    /// The binding.
    pub binding: String,
    /// Bytes of one object.
    #[serde(default = "object_bytes_max_default")]
    pub object_bytes_max: u64,
    /// Objects; as many as there is disk for without it.
    pub objects_max: Option<u64>,
}

fn object_bytes_max_default() -> u64 {
    limits::OBJECT_BYTES_MAX_DEFAULT
}

/// Checks the bounds of each.
pub(super) fn validate(quotas: &[QuotaSettings]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for QuotaSettings { binding, object_bytes_max, objects_max } in quotas {
        let name = 1..=limits::NAME_BYTES_MAX;
        check(name.contains(&binding.len()), || {
            format!("[[quotas]] binding must have 1 to {} bytes", limits::NAME_BYTES_MAX)
        })?;
        let least = limits::OBJECT_BYTES_MAX_MIN;
        check(*object_bytes_max >= least, || {
            format!("[[quotas]] {binding}: object_bytes_max must be at least {least}")
        })?;
        check(objects_max.is_none_or(|most| most > 0), || {
            format!("[[quotas]] {binding}: objects_max must be at least 1")
        })?;
        check(seen.insert(binding), || format!("[[quotas]] {binding} is there twice"))?;
    }
    Ok(())
}

/// The quotas of all bindings, by their namespaces.
pub(super) fn resolve(quotas: &[QuotaSettings], bindings: &Bindings) -> Result<Quotas, String> {
    let record = bindings.record();
    let quota = |namespace: NamespaceId, object_bytes_max, objects_max| {
        let exempt = record.as_ref().filter(|record| record.namespace == namespace);
        Quota { object_bytes_max, objects_max, exempt: exempt.map(|record| record.id) }
    };
    let default = |namespace| (namespace, quota(namespace, object_bytes_max_default(), None));
    let namespaces = bindings.iter().map(|binding| binding.namespace.id());
    let mut resolved: Quotas = namespaces.map(default).collect();
    let mut seen = BTreeSet::new();
    for QuotaSettings { binding, object_bytes_max, objects_max } in quotas {
        let found = bindings
            .get(binding)
            .ok_or_else(|| format!("[[quotas]] {binding}: there is no such binding"))?;
        let namespace = found.namespace.id();
        // Two bindings may be of one class in one script.
        check(seen.insert(namespace), || {
            format!("[[quotas]] {binding}: its objects have the quota of another binding already")
        })?;
        resolved.insert(namespace, quota(namespace, *object_bytes_max, *objects_max));
    }
    Ok(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(binding: &str, object_bytes_max: u64, objects_max: Option<u64>) -> QuotaSettings {
        QuotaSettings { binding: binding.to_owned(), object_bytes_max, objects_max }
    }

    #[test]
    fn each_binding_has_a_quota_and_the_record_is_exempt() {
        let bindings = Bindings::default_for("test");
        let [limiter, audit] =
            [bindings.limiter(), bindings.audit()].map(|one| one.unwrap().namespace.id());
        let exempt = Some(bindings.record().unwrap().id);
        let quotas = resolve(&[settings("RATE_LIMITER", 70_000, Some(9))], &bindings).unwrap();
        let default = Quota { object_bytes_max: 128 << 20, objects_max: None, exempt };
        let own = Quota { object_bytes_max: 70_000, objects_max: Some(9), exempt: None };
        assert_eq!(quotas, Quotas::from([(limiter, own), (audit, default)]));
        let none = resolve(&[settings("OTHER", 70_000, None)], &bindings).unwrap_err();
        assert!(none.contains("OTHER: there is no such binding"), "{none}");
    }

    #[test]
    fn bindings_of_one_class_in_one_script_have_one_quota() {
        let file = r#"
            name = "s"
            [[durable_objects.bindings]]
            name = "A"
            class_name = "RateLimiter"
            [[durable_objects.bindings]]
            name = "B"
            class_name = "RateLimiter"
            [[migrations]]
            tag = "v1"
            new_classes = ["RateLimiter"]
        "#;
        let bindings = Bindings::from_wrangler(file, None).unwrap();
        let two = [settings("A", 70_000, None), settings("B", 70_000, None)];
        assert!(validate(&two).is_ok());
        assert!(resolve(&two, &bindings).unwrap_err().contains("another binding"));
        assert_eq!(resolve(&two[1..], &bindings).unwrap().len(), 1);
    }
}
