//! The bodies of `/check` and `/reset`. Members that they do not know are ignored, as by the
//! guide's own implementation; not those of operators' bodies, a policy's and a credit's.

use serde::de::{IgnoredAny, MapAccess};

use super::value::{Field, Members, Value, read};
use super::{check_name, invalid, shown};
use crate::error::{Error, Result};
use crate::limits;

/// Guide, "POST /check".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckBody {
    /// Whose requests are counted: 1 to [`limits::NAME_BYTES_MAX`] bytes, no control characters.
    pub identifier: String,
    /// The sort of limiter, within the same bounds.
    pub type_: Option<String>,
    /// The limit; without one there is a `type_`, whose policy is applied.
    pub config: Option<Config>,
}

/// A limit, within its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Requests that one window admits: 0 to [`limits::REQUESTS_MAX`].
    pub requests: u64,
    /// The window in ms: [`limits::WINDOW_MS_MIN`] to [`limits::WINDOW_MS_MAX`].
    pub window_ms: u64,
}

/// Guide, "POST /reset".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResetBody {
    /// Whose count is forgotten, within the bounds of [`CheckBody::identifier`].
    pub identifier: String,
    /// The sort of limiter, within the same bounds.
    pub type_: Option<String>,
}

/// What of a count is given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreditBody {
    /// Whose count becomes less, within the bounds of [`CheckBody::identifier`].
    pub identifier: String,
    /// How many: 1 to [`limits::REQUESTS_MAX`].
    pub amount: u64,
    /// Whose policy the answer tells, within the same bounds as the identifier.
    pub type_: Option<String>,
}

/// Reads the body of `/check`.
///
/// # Errors
/// `malformed_json`; `duplicate_key` for a known member; `invalid_field` naming the member and its
/// bound; `config_required` where there is neither `config` nor `type`.
pub fn check(body: &[u8]) -> Result<CheckBody> {
    let members: CheckMembers<'_> = read(body)?;
    let (identifier, type_) = names(members.identifier, members.type_)?;
    let config = match members.config.value("config")? {
        None if type_.is_some() => None,
        None => {
            let message = "config must be there: {\"requests\":…,\"windowMs\":…}; or a type for which a \
                           policy is stored";
            return Err(Error::invalid("config_required", message));
        }
        Some(Value::Object(config)) => Some(limit(config, "config.requests", "config.windowMs")?),
        Some(_) => return Err(invalid("config", "be an object")),
    };
    Ok(CheckBody { identifier, type_, config })
}

/// Reads the body of `PUT /admin/policies/{type}`: a limit, and nothing else.
///
/// # Errors
/// As [`check`], and `unknown_member`.
pub fn policy(body: &[u8]) -> Result<Config> {
    let PolicyMembers { config, unknown } = read(body)?;
    refuse(unknown, "a policy; requests and windowMs are")?;
    limit(config, "requests", "windowMs")
}

/// Reads the body of `POST /admin/limiters/…/credit`.
///
/// # Errors
/// As [`check`], but for `config`, and `unknown_member`.
pub fn credit(body: &[u8]) -> Result<CreditBody> {
    let CreditMembers { identifier, amount, type_, unknown } = read(body)?;
    refuse(unknown, "a credit; identifier, amount and type are")?;
    let (identifier, type_) = names(identifier, type_)?;
    let amount = within(amount, "amount", 1, limits::REQUESTS_MAX)?;
    Ok(CreditBody { identifier, amount, type_ })
}

/// Refuses a body with a member that it does not have.
fn refuse(unknown: Option<String>, whose: &str) -> Result<()> {
    unknown.map_or(Ok(()), |unknown| {
        let message = format!("{:?} is no member of {whose}", shown(&unknown));
        Err(Error::invalid("unknown_member", message))
    })
}

/// The limit, whose members are named so in errors.
fn limit(config: ConfigMembers<'_>, requests: &str, window_ms: &str) -> Result<Config> {
    let (least, most) = (limits::WINDOW_MS_MIN, limits::WINDOW_MS_MAX);
    Ok(Config {
        requests: within(config.requests, requests, 0, limits::REQUESTS_MAX)?,
        window_ms: within(config.window_ms, window_ms, least, most)?,
    })
}

/// Reads the body of `/reset`.
///
/// # Errors
/// As [`check`], but for `config`.
pub fn reset(body: &[u8]) -> Result<ResetBody> {
    let members: CheckMembers<'_> = read(body)?;
    let (identifier, type_) = names(members.identifier, members.type_)?;
    Ok(ResetBody { identifier, type_ })
}

fn names(identifier: Field<'_>, type_: Field<'_>) -> Result<(String, Option<String>)> {
    let identifier = identifier.text("identifier")?.unwrap_or_default();
    check_name("identifier", &identifier)?;
    let type_ = type_.text("type")?;
    if let Some(type_) = &type_ {
        check_name("type", type_)?;
    }
    Ok((identifier.into_owned(), type_.map(|type_| type_.into_owned())))
}

fn within(field: Field<'_>, member: &str, least: u64, most: u64) -> Result<u64> {
    field.integer(member, least..=most)?.ok_or_else(|| {
        invalid(member, format_args!("be there: a JSON integer from {least} to {most}"))
    })
}

/// The body of `/check`; that of `/reset` has some of its members.
#[derive(Default)]
struct CheckMembers<'de> {
    identifier: Field<'de>,
    type_: Field<'de>,
    config: Field<'de, ConfigMembers<'de>>,
}

#[derive(Default)]
struct ConfigMembers<'de> {
    requests: Field<'de>,
    window_ms: Field<'de>,
}

#[derive(Default)]
struct PolicyMembers<'de> {
    config: ConfigMembers<'de>,
    /// The first member of another name.
    unknown: Option<String>,
}

#[derive(Default)]
struct CreditMembers<'de> {
    identifier: Field<'de>,
    amount: Field<'de>,
    type_: Field<'de>,
    /// The first member of another name.
    unknown: Option<String>,
}

impl<'de> Members<'de> for CreditMembers<'de> {
    fn take<A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
    ) -> std::result::Result<(), A::Error> {
        match name {
            "identifier" => self.identifier.take(map),
            "amount" => self.amount.take(map),
            "type" => self.type_.take(map),
            _ => {
                self.unknown.get_or_insert_with(|| name.to_owned());
                map.next_value::<IgnoredAny>().map(|_| ())
            }
        }
    }
}

impl<'de> Members<'de> for PolicyMembers<'de> {
    fn take<A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
    ) -> std::result::Result<(), A::Error> {
        if !matches!(name, "requests" | "windowMs") {
            self.unknown.get_or_insert_with(|| name.to_owned());
        }
        self.config.take(name, map)
    }
}

impl<'de> Members<'de> for CheckMembers<'de> {
    fn take<A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
    ) -> std::result::Result<(), A::Error> {
        match name {
            "identifier" => self.identifier.take(map),
            "type" => self.type_.take(map),
            "config" => self.config.take(map),
            _ => map.next_value::<IgnoredAny>().map(|_| ()),
        }
    }
}

impl<'de> Members<'de> for ConfigMembers<'de> {
    fn take<A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
    ) -> std::result::Result<(), A::Error> {
        match name {
            "requests" => self.requests.take(map),
            "windowMs" => self.window_ms.take(map),
            _ => map.next_value::<IgnoredAny>().map(|_| ()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_guides_bodies() {
        let body =
            br#" {"identifier":"user-123","config":{"requests":100,"windowMs":60000,"x":[1]},
            "type":"wix","more":{"a":[{}]}} "#;
        let config = Config { requests: 100, window_ms: 60_000 };
        let (identifier, type_) = ("user-123".to_owned(), Some("wix".to_owned()));
        let config = Some(config);
        assert_eq!(check(body), Ok(CheckBody { identifier, type_, config }));
        for body in [
            r#"{"identifier":"u","type":"wix"}"#,
            r#"{"config":null,"type":"wix","identifier":"u"}"#,
        ] {
            let (identifier, type_) = ("u".to_owned(), Some("wix".to_owned()));
            let expected = CheckBody { identifier, type_, config: None };
            assert_eq!(check(body.as_bytes()), Ok(expected));
        }
        let body = br#"{"identifier":"\u00e9\/","type":null}"#;
        assert_eq!(reset(body), Ok(ResetBody { identifier: "é/".to_owned(), type_: None }));
    }

    #[test]
    fn the_bounds_themselves_are_allowed() {
        let name = "é".repeat(limits::NAME_BYTES_MAX / 2);
        for (requests, window_ms) in
            [(0, limits::WINDOW_MS_MIN), (limits::REQUESTS_MAX, limits::WINDOW_MS_MAX)]
        {
            let body = format!(
                r#"{{"identifier":"{name}","config":{{"requests":{requests},"windowMs":{window_ms}}}}}"#
            );
            let config = Config { requests, window_ms };
            assert_eq!(check(body.as_bytes()).unwrap().config, Some(config));
            let body = format!(r#"{{"requests":{requests},"windowMs":{window_ms}}}"#);
            assert_eq!(policy(body.as_bytes()), Ok(config));
        }
    }

    #[test]
    fn refuses_and_says_why() {
        let long = format!(r#"{{"identifier":"{}"}}"#, "x".repeat(513));
        let cases: &[(&str, &str, &str)] = &[
            ("", "malformed_json", "EOF"),
            ("null", "malformed_json", "another type"),
            (r#"["u",null,{"requests":1,"windowMs":1}]"#, "malformed_json", "another type"),
            (r#"{"identifier":"u""#, "malformed_json", "EOF"),
            (r#"{"identifier":"u"} x"#, "malformed_json", "trailing"),
            (r#"{"identifier":"\ud800"}"#, "lone_surrogate", "hex escape"),
            (r#"{"identifier":"\ud800x"}"#, "lone_surrogate", "hex escape"),
            (r#"{"identifier":"\ud800\n"}"#, "lone_surrogate", "hex escape"),
            (r#"{"identifier":"\ud800\u0041"}"#, "lone_surrogate", "surrogate"),
            (r#"{"identifier":"\udc00"}"#, "lone_surrogate", "surrogate"),
            (r#"{"\udc00":1}"#, "lone_surrogate", "surrogate"),
            (r#"{"identifier":"\u12"}"#, "malformed_json", "escape"),
            ("{}", "invalid_field", "identifier must be a string of 1 to 512 bytes"),
            (r#"{"identifier":""}"#, "invalid_field", "identifier must be a string of 1"),
            (&long, "invalid_field", "1 to 512"),
            (r#"{"identifier":7}"#, "invalid_field", "identifier must be a string"),
            (r#"{"identifier":"a\u0007"}"#, "invalid_field", "control characters"),
            (r#"{"identifier":"a\u0085"}"#, "invalid_field", "control characters"),
            (r#"{"identifier":"u","type":[]}"#, "invalid_field", "type must be a string"),
            (r#"{"identifier":"u","type":""}"#, "invalid_field", "type must be"),
            (r#"{"identifier":"u"}"#, "config_required", "config must be there"),
            (r#"{"identifier":"u","config":null}"#, "config_required", "config"),
            (r#"{"identifier":"u","config":[1,2]}"#, "invalid_field", "config must be an object"),
            (r#"{"identifier":"u","identifier":"u"}"#, "duplicate_key", "identifier"),
            (r#"{"identifier":"u","\u0069dentifier":"u"}"#, "duplicate_key", "identifier"),
        ];
        for (body, code, part) in cases {
            let error = check(body.as_bytes()).unwrap_err();
            assert_eq!(error.code, *code, "{body}");
            assert!(error.message.contains(part), "{body}: {error}");
        }
    }

    #[test]
    fn only_json_integers_within_the_bounds_are_numbers() {
        for number in ["1.0", "1.5", "1e2", "-1", "-0", "\"2\"", "true", "[]", "9007199254740992"]
            .into_iter()
            .chain(["18446744073709551616", "null"])
        {
            let body =
                format!(r#"{{"identifier":"u","config":{{"requests":{number},"windowMs":1}}}}"#);
            let error = check(body.as_bytes()).unwrap_err();
            assert_eq!(error.code, "invalid_field");
            assert!(error.message.contains("config.requests"), "{error}");
            assert!(error.message.contains("from 0 to 9007199254740991"), "{error}");
        }
        for window in ["0", "34560000001"] {
            let body =
                format!(r#"{{"identifier":"u","config":{{"requests":1,"windowMs":{window}}}}}"#);
            let error = check(body.as_bytes()).unwrap_err();
            assert!(error.message.contains("config.windowMs"), "{error}");
            assert!(error.message.contains("from 1 to 34560000000"), "{error}");
        }
        let body = r#"{"identifier":"u","config":{"requests":1,"windowMs":1,"requests":1}}"#;
        assert_eq!(check(body.as_bytes()).unwrap_err().code, "duplicate_key");
    }

    #[test]
    fn a_credit_says_whose_and_how_many() {
        let (identifier, type_) = ("u".to_owned(), Some("wix".to_owned()));
        let expected = CreditBody { identifier, amount: 5, type_ };
        assert_eq!(credit(br#"{"identifier":"u","amount":5,"type":"wix"}"#), Ok(expected));
        let most = format!(r#"{{"identifier":"u","amount":{}}}"#, limits::REQUESTS_MAX);
        assert_eq!(credit(most.as_bytes()).unwrap().amount, limits::REQUESTS_MAX);
        for (body, code, part) in [
            ("", "malformed_json", "EOF"),
            ("[]", "malformed_json", "another type"),
            (r#"{"amount":1}"#, "invalid_field", "identifier must be a string"),
            (r#"{"identifier":"u"}"#, "invalid_field", "amount must be there"),
            (r#"{"identifier":"u","amount":0}"#, "invalid_field", "from 1 to 9007199254740991"),
            (r#"{"identifier":"u","amount":-1}"#, "invalid_field", "amount must be"),
            (r#"{"identifier":"u","amount":1.0}"#, "invalid_field", "amount must be"),
            (r#"{"identifier":"u","amount":"1"}"#, "invalid_field", "amount must be"),
            (r#"{"identifier":"u","amount":9007199254740992}"#, "invalid_field", "amount must be"),
            (r#"{"identifier":"u","amount":1,"type":7}"#, "invalid_field", "type must be"),
            (r#"{"identifier":"u","amount":1,"amont":1}"#, "unknown_member", "\"amont\""),
            (r#"{"identifier":"u","amount":1,"amount":1}"#, "duplicate_key", "amount"),
        ] {
            let error = credit(body.as_bytes()).unwrap_err();
            assert_eq!(error.code, code, "{body}");
            assert!(error.message.contains(part), "{body}: {error}");
        }
    }

    #[test]
    fn a_policy_is_a_limit_and_nothing_else() {
        for (body, code, part) in [
            ("", "malformed_json", "EOF"),
            ("[1,2]", "malformed_json", "another type"),
            ("{}", "invalid_field", "requests must be there"),
            (r#"{"requests":1}"#, "invalid_field", "windowMs must be there"),
            (r#"{"requests":-1,"windowMs":1}"#, "invalid_field", "requests must be a JSON integer"),
            (r#"{"requests":1,"windowMs":0}"#, "invalid_field", "from 1 to 34560000000"),
            (r#"{"requests":1,"windowMs":1,"window":1}"#, "unknown_member", "\"window\""),
            (r#"{"requests":1,"windowMs":1,"requests":1}"#, "duplicate_key", "requests"),
        ] {
            let error = policy(body.as_bytes()).unwrap_err();
            assert_eq!(error.code, code, "{body}");
            assert!(error.message.contains(part), "{body}: {error}");
        }
    }
}
