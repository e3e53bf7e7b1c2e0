//! What the exit codes of all commands mean.

use std::process::ExitCode;

/// It was done, and came out well; a check was admitted.
pub const DONE: u8 = 0;
/// The answer is no: a check was refused, something in a summary is wrong, a file or a setting on this
/// machine cannot be used.
pub const FAILED: u8 = 1;
/// The arguments are not understood. clap exits with it.
pub const USAGE: u8 = 2;
/// No node answered, or none to the end. What became of the request may be unknown.
pub const UNREACHABLE: u8 = 3;
/// The cluster does not take the request as it stands, and will not when it is sent again.
pub const REJECTED: u8 = 4;

/// The codes as `--help` and the manual show them.
pub const HELP: &str = "Exit codes:
  0  done; a check was admitted
  1  the answer is no: a check was refused, something in a summary is wrong, or a file or a
     setting on this machine cannot be used
  2  the arguments are not understood
  3  no node answered, or none to the end; what became of the request may be unknown
  4  the cluster does not take the request as it stands: the message says why";

/// [`DONE`] if it came out well, and otherwise [`FAILED`].
pub(super) fn of(good: bool) -> ExitCode {
    ExitCode::from(if good { DONE } else { FAILED })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_and_the_operators_page_list_every_code() {
        let page = include_str!("../../docs/operating.md");
        for code in [DONE, FAILED, USAGE, UNREACHABLE, REJECTED] {
            assert!(HELP.lines().any(|line| line.starts_with(&format!("  {code}  "))), "{code}");
            assert!(page.lines().any(|line| line.starts_with(&format!("| {code} | "))), "{code}");
        }
    }
}
