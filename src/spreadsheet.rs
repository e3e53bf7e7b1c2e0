//! Cells that a spreadsheet would run, made harmless in exports and made again in imports.
//!
//! A spreadsheet runs a cell that begins with one of some characters as a formula. Such a cell gets
//! an apostrophe in front, and so does one that would begin so behind apostrophes of its own: the
//! rule can be undone. A reader takes one apostrophe away wherever `^'+[trigger]` matches.

use std::borrow::Cow;

/// What a cell must not begin with: OWASP's list, NUL, and the full-width forms.
const TRIGGERS: [char; 12] = ['=', '+', '-', '@', '\t', '\r', '\n', '\0', '＝', '＋', '－', '＠'];

/// The text as a cell that no spreadsheet runs.
pub fn escape(text: &str) -> Cow<'_, str> {
    if is_harmless(text.trim_start_matches('\'')) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(format!("'{text}"))
    }
}

/// The text of a cell that [`escape`] has made.
pub fn unescape(cell: &str) -> &str {
    match cell.strip_prefix('\'') {
        Some(rest) if !is_harmless(rest.trim_start_matches('\'')) => rest,
        _ => cell,
    }
}

/// Whether no spreadsheet runs the cell.
pub fn is_harmless(cell: &str) -> bool {
    !cell.starts_with(TRIGGERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_apostrophe_is_added_and_taken_away() {
        for (text, cell) in
            [("=1+1", "'=1+1"), ("'@x", "''@x"), ("'fine", "'fine"), ("", ""), ("＝1", "'＝1")]
        {
            assert_eq!(escape(text), cell);
            assert_eq!(unescape(cell), text);
        }
    }
}
