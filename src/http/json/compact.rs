//! Checking and compacting JSON text without making it again.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::limits;

/// What is wrong with a text that the grammar of JSON allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// An object has two members of this name, escapes resolved.
    DuplicateKey(String),
    /// Arrays and objects are nested deeper than [`limits::JSON_DEPTH_MAX`].
    TooDeep,
    /// An escape is half of a surrogate pair: no character at all.
    LoneSurrogate,
    /// A control character, escaped or not, where none may be.
    Control,
}

/// A fault and the byte of the value's text at which it is.
pub(super) type Result<T> = std::result::Result<T, (Fault, usize)>;

/// What a value may hold, by where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Arrays and objects around the value.
    pub depth: usize,
    /// Whether strings may hold control characters.
    pub controls: bool,
}

/// Appends `value` to `out` without the white space outside of strings. Number lexemes, the order
/// of members and escapes stay as they are.
///
/// serde_json has checked the grammar of a [`RawValue`]: this checks what it has not, in one pass.
pub(super) fn compact(value: &RawValue, rules: Rules, out: &mut Vec<u8>) -> Result<()> {
    let text = value.get();
    // Open arrays and objects; for an object, where its names begin in `names`.
    let mut open: Vec<Option<usize>> = Vec::new();
    let mut names: Vec<(Cow<'_, str>, usize)> = Vec::new();
    let mut name_comes = false;
    let mut at = 0;
    while let Some(&byte) = text.as_bytes().get(at) {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => {
                at += 1;
                continue;
            }
            b'"' => {
                let lexeme = string(text, at, rules)?;
                out.extend_from_slice(lexeme.as_bytes());
                if name_comes {
                    names.push((unescape(lexeme), at));
                    name_comes = false;
                }
                at += lexeme.len();
                continue;
            }
            b'{' | b'[' => {
                if rules.depth + open.len() == limits::JSON_DEPTH_MAX {
                    return Err((Fault::TooDeep, at));
                }
                name_comes = byte == b'{';
                open.push(name_comes.then_some(names.len()));
            }
            b'}' | b']' => {
                name_comes = false;
                if let Some(Some(first)) = open.pop() {
                    check_distinct(&mut names[first..])?;
                    names.truncate(first);
                }
            }
            b',' => name_comes = matches!(open.last(), Some(Some(_))),
            _ => {}
        }
        out.push(byte);
        at += 1;
    }
    Ok(())
}

/// Refuses names of one object of which two are equal; each comes with where it is.
///
/// By sorting: an object of very many members must not cost the square of their number.
pub(super) fn check_distinct(names: &mut [(Cow<'_, str>, usize)]) -> Result<()> {
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err((Fault::DuplicateKey(pair[1].0.clone().into_owned()), pair[1].1)),
        None => Ok(()),
    }
}

/// What a string's lexeme, checked by [`compact`], stands for.
pub(super) fn unescape(lexeme: &str) -> Cow<'_, str> {
    if lexeme.contains('\\') {
        Cow::Owned(
            serde_json::from_str(lexeme).expect("the grammar and the surrogates were checked"),
        )
    } else {
        Cow::Borrowed(&lexeme[1..lexeme.len() - 1])
    }
}

/// The lexeme, quotes included, of the string that begins at `start`.
fn string(text: &str, start: usize, rules: Rules) -> Result<&str> {
    let bytes = text.as_bytes();
    let mut at = start + 1;
    loop {
        let control = match bytes[at] {
            b'"' => return Ok(&text[start..=at]),
            b'\\' => {
                let (length, control) = escape(&text[at..]).ok_or((Fault::LoneSurrogate, at))?;
                if control && !rules.controls {
                    return Err((Fault::Control, at));
                }
                at += length;
                continue;
            }
            0x7F => true,
            // U+0080 to U+009F. Those below U+0020 are not in the grammar.
            0xC2 => bytes[at + 1] < 0xA0,
            _ => false,
        };
        if control && !rules.controls {
            return Err((Fault::Control, at));
        }
        at += 1;
    }
}

/// The length of the escape at the beginning of `text`, and whether it is a control character.
/// `None` if it is a lone surrogate.
fn escape(text: &str) -> Option<(usize, bool)> {
    match text.as_bytes()[1] {
        b'u' => match unit(text)? {
            0xD800..=0xDBFF => {
                let low = text.get(6..).and_then(unit)?;
                (0xDC00..=0xDFFF).contains(&low).then_some((12, false))
            }
            0xDC00..=0xDFFF => None,
            unit => Some((6, matches!(unit, 0..=0x1F | 0x7F..=0x9F))),
        },
        other => Some((2, matches!(other, b'b' | b'f' | b'n' | b'r' | b't'))),
    }
}

/// The UTF-16 unit of the `\uXXXX` at the beginning of `text`.
fn unit(text: &str) -> Option<u16> {
    u16::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: Rules = Rules { depth: 0, controls: true };
    const NO_CONTROLS: Rules = Rules { depth: 0, controls: false };

    fn compacted(text: &str, rules: Rules) -> Result<String> {
        let value: &RawValue = serde_json::from_str(text).unwrap();
        let mut out = Vec::new();
        compact(value, rules, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn keeps_lexemes_order_and_escapes() {
        let text = "{ \"b\" :\t[ 1.0 , -0, 1E+2,123456789012345678901234567890 ],\r\n \
            \"a\" : \"x  \\u00e9\\\"\\ud83d\\ude00 é\" , \"\":{ } , \"c\":[ [ ] ,null,true ] }";
        assert_eq!(
            compacted(text, NO_CONTROLS).unwrap(),
            r#"{"b":[1.0,-0,1E+2,123456789012345678901234567890],"a":"x  \u00e9\"\ud83d\ude00 é","":{},"c":[[],null,true]}"#
        );
    }

    #[test]
    fn finds_two_members_of_one_name_at_any_depth() {
        let cases = [
            (r#"{"a":1,"a":2}"#, "a", 7),
            (r#"[{"b":{"é":1,"x":[{"é":1}],"\u00e9":2}}]"#, "é", 29),
            (r#"{"":1,"":1}"#, "", 6),
        ];
        for (text, name, at) in cases {
            assert_eq!(compacted(text, ALL), Err((Fault::DuplicateKey(name.into()), at)), "{text}");
        }
        // Equal names in different objects, and values equal to names, are no duplicates.
        assert!(compacted(r#"{"a":{"a":"a"},"b":["a","a",{"a":"b"}],"c":"a"}"#, ALL).is_ok());
    }

    #[test]
    fn finds_lone_surrogates_in_names_and_values() {
        let lone =
            [r"\ud800", r"\udc00", r"\ud800\u0041", r"\ud83d\n", r"\ud800\ud800", r"\uDBFFx"];
        for lone in lone {
            for text in [format!(r#"["{lone}"]"#), format!(r#"{{"{lone}":1}}"#)] {
                assert_eq!(compacted(&text, ALL), Err((Fault::LoneSurrogate, 2)), "{text}");
            }
        }
        assert!(compacted(r#""\\ud800 \uD83D\uDE00""#, ALL).is_ok());
    }

    #[test]
    fn finds_control_characters_however_they_are_written() {
        let controls =
            [r"\u0000", r"\u001F", r"\n", r"\t", r"\b", r"\f", r"\r", r"\u007f", r"\u009f"];
        for control in controls.into_iter().chain(["\u{7f}", "\u{80}", "\u{9f}"]) {
            let text = format!("\"a{control}\"");
            assert_eq!(compacted(&text, NO_CONTROLS), Err((Fault::Control, 2)), "{control:?}");
            assert_eq!(compacted(&text, ALL), Ok(text));
        }
        assert!(compacted("\"\u{a0}\\u0020\\/\\\\n\\u00a0\"", NO_CONTROLS).is_ok());
    }

    #[test]
    fn nesting_ends_at_the_bound() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let most = limits::JSON_DEPTH_MAX;
        assert!(compacted(&nested(most), ALL).is_ok());
        assert_eq!(compacted(&nested(most + 1), ALL), Err((Fault::TooDeep, most)));
        let inside = Rules { depth: 1, ..ALL };
        assert_eq!(compacted(&nested(most), inside), Err((Fault::TooDeep, most - 1)));
        assert!(compacted(&nested(100_000), ALL).is_err());
    }

    /// A value as pieces of text between which white space may stand.
    fn pieces() -> impl Strategy<Value = Vec<String>> {
        let string =
            r#""([a-z é😀{}:,\[\]]|\\["\\/bfnrt]|\\u00[0-9a-fA-F]{2}|\\ud83d\\ude00){0,6}"#;
        let scalar = prop_oneof![
            r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,5})?([eE][+-]?[0-9]{1,2})?",
            string.prop_map(|lexeme| lexeme + "\""),
            prop::sample::select(vec!["true", "false", "null"]).prop_map(str::to_owned),
        ];
        let leaf = scalar.prop_map(|lexeme| vec![lexeme]);
        leaf.prop_recursive(5, 60, 6, move |inner| {
            let joined = |open: &str, items: Vec<Vec<String>>, close: &str| {
                let mut all = vec![open.to_owned()];
                for (index, item) in items.into_iter().enumerate() {
                    all.extend((index > 0).then(|| ",".to_owned()));
                    all.extend(item);
                }
                all.push(close.to_owned());
                all
            };
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6)
                    .prop_map(move |items| joined("[", items, "]")),
                prop::collection::vec((string, inner), 0..6).prop_map(move |members| {
                    let member = |(index, (name, value)): (usize, (String, Vec<String>))| {
                        // The index at the end makes names distinct.
                        let mut all = vec![format!("{name}#{index}\""), ":".to_owned()];
                        all.extend(value);
                        all
                    };
                    joined("{", members.into_iter().enumerate().map(member).collect(), "}")
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn removes_white_space_and_nothing_else(
            pieces in pieces(),
            spaces in prop::collection::vec("[ \t\r\n]{0,2}", 1..20),
        ) {
            let spaced = pieces.iter().zip(spaces.iter().cycle()).flat_map(|(a, b)| [b, a]);
            let spaced: String = spaced.cloned().collect();
            let compact = compacted(spaced.trim(), ALL).unwrap();
            prop_assert_eq!(&compact, &pieces.concat());
            let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
            prop_assert_eq!(parse(&compact), parse(&spaced));
        }
    }
}
