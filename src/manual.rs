//! What shells and `man` know of the command line: made from the arguments' own definition.

use std::io::{self, ErrorKind, Write};
use std::path::Path;

use clap::Command;
use clap_complete::Shell;

/// Prints a shell's completions.
///
/// # Errors
/// If they cannot be written.
pub fn completions(mut command: Command, shell: Shell) -> io::Result<()> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    print(&script)
}

/// Prints the page of the whole command, in roff.
///
/// # Errors
/// If it cannot be written.
pub fn page(command: Command) -> io::Result<()> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    print(&page)
}

/// Writes a page for the whole command and one for each of its commands into a folder, which is made if it is
/// not there.
///
/// # Errors
/// If they cannot be written; the message names the folder.
pub fn pages(command: Command, folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(command, folder))
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", folder.display())))
}

fn print(bytes: &[u8]) -> io::Result<()> {
    let mut output = io::stdout().lock();
    match output.write_all(bytes).and_then(|()| output.flush()) {
        // Whoever reads no further has what they wanted.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
