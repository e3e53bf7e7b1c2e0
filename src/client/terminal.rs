//! What is shown to people: texts that cannot steer their terminal, in columns.
//!
//! An audit log holds what strangers wrote. Shown as it is, it could move the cursor, hide what stands
//! before it, or order letters from right to left, and so show something else than what is there.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, ErrorKind, Write as _};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::Error;

/// Between two columns.
const GAP: &str = "  ";

/// The text with everything spelt out that has no place of its own on a line: control characters, and
/// those that are invisible or turn the direction of writing.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\n' => plain.push_str("\\n"),
            '\r' => plain.push_str("\\r"),
            '\t' => plain.push_str("\\t"),
            hidden if is_hidden(hidden) => {
                write!(plain, "\\u{{{:x}}}", u32::from(hidden)).expect("a string takes all");
            }
            shown => plain.push(shown),
        }
    }
    Cow::Owned(plain)
}

/// Characters of Unicode's categories Cc, Zl and Zp, and those of Cf that hide or turn text.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// The beginning of a text, as wide as `width` columns allow.
pub(super) fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if text.width() <= width {
        return Cow::Borrowed(text);
    }
    let (mut shown, mut used) = (String::new(), 1);
    for character in text.chars() {
        used += character.width().unwrap_or(0);
        if used > width {
            break;
        }
        shown.push(character);
    }
    shown.push('…');
    Cow::Owned(shown)
}

/// A table that may come in parts: a column is as wide as its widest cell so far.
pub(super) struct Table<const N: usize> {
    widths: [usize; N],
}

impl<const N: usize> Table<N> {
    pub(super) fn new() -> Self {
        Self { widths: [0; N] }
    }

    /// The next rows, of cells that are [`plain`].
    pub(super) fn lines(&mut self, rows: &[[String; N]]) -> String {
        for row in rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = cell.width().max(*width);
            }
        }
        let mut text = String::new();
        for row in rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(self.widths) {
                let padding = width.saturating_sub(cell.width()) + GAP.len();
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', padding));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Rows of cells under each other.
pub(super) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    Table::new().lines(rows)
}

/// Writes to standard output; false if nobody reads it any more, as behind `| head`.
///
/// # Errors
/// Whatever else is wrong with it.
pub(super) fn print(bytes: &[u8]) -> Result<bool, Error> {
    let mut output = io::stdout().lock();
    match output.write_all(bytes).and_then(|()| output.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(source) => Err(Error::Write { path: "standard output".into(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_shown_steers_a_terminal() {
        assert_eq!(plain("\u{1b}[2J\u{7f}\u{9b}31m"), r"\u{1b}[2J\u{7f}\u{9b}31m");
        assert_eq!(plain("a\nb\r\tc\0"), r"a\nb\r\tc\u{0}");
        assert_eq!(
            plain("a\u{202e}b\u{200b}\u{2066}\u{e0041}"),
            r"a\u{202e}b\u{200b}\u{2066}\u{e0041}"
        );
        for text in ["", r#"{"é":"日本","\n":"\u001b"}"#, "👍🏽 naïve"] {
            assert_eq!(plain(text), text);
        }
        for number in 0..=0x1_ffff {
            let Some(character) = char::from_u32(number) else { continue };
            let shown = plain(&character.to_string()).into_owned();
            assert!(!shown.contains(char::is_control), "{number:x}");
            assert!(shown.len() > 4 || !shown.contains(is_hidden), "{number:x}");
        }
    }

    #[test]
    fn a_text_is_cut_where_its_columns_end() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abcde…");
        assert_eq!(cut("日本語日本", 6), "日本…");
        assert_eq!(cut("e\u{301}e\u{301}e\u{301}", 2), "e\u{301}…");
    }

    #[test]
    fn columns_stand_under_each_other_in_every_script() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned);
        let mut table = Table::new();
        assert_eq!(
            table.lines(&[row(["A", "B", "C"]), row(["日本", "é", "x"])]),
            "A     B  C\n日本  é  x\n"
        );
        assert_eq!(table.lines(&[row(["a", "bcd", ""])]), "a     bcd\n");
        assert_eq!(table.lines(&[row(["a", "", "z"])]), "a          z\n");
    }
}
