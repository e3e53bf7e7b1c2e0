//! Inputs to begin with, and how others are made of them.

use std::fmt::Write;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::mutation::mutated;
use super::targets::{TARGETS, Verdict};

/// Mutations of the corpus that a target is given, always the same ones.
const MUTATIONS: u64 = 200_000;
/// The inputs that are kept for a target, by name.
pub fn kept(target: &str) -> Vec<(String, Vec<u8>)> {
    let dir = folder(target);
    let entries = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut inputs: Vec<_> = entries
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
        })
        .collect();
    inputs.sort();
    inputs
}

/// Where the inputs of a target are kept.
pub fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

/// Gives a target its corpus, and mutations of it.
///
/// # Panics
/// If what the target asks for does not hold, or if the corpus has nothing that is taken or nothing
/// that is refused: then it would show nothing.
pub fn hold(target: &str) {
    let (_, body) = TARGETS.into_iter().find(|(name, _)| *name == target).expect("a target");
    let inputs = kept(target);
    let mut verdicts: Vec<Verdict> = Vec::new();
    for (name, input) in &inputs {
        verdicts.push(run(target, name, input, body));
    }
    for wanted in [Verdict::Taken, Verdict::Refused] {
        assert!(verdicts.contains(&wanted), "no input of fuzz/corpus/{target} is {wanted:?}");
    }
    let seeds: Vec<&[u8]> = inputs.iter().map(|(_, input)| &input[..]).collect();
    for number in 0..MUTATIONS {
        // A generator for each, so that one can be made again without those before it.
        let input = mutated(&mut StdRng::seed_from_u64(number), &seeds);
        run(target, &format!("mutation {number}"), &input, body);
    }
}

/// Runs a target; if it fails, keeps the input and tells where.
fn run(target: &str, name: &str, input: &[u8], body: fn(&[u8]) -> Verdict) -> Verdict {
    catch_unwind(AssertUnwindSafe(|| body(input))).unwrap_or_else(|panic| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bad-{target}"));
        fs::write(&path, input).unwrap();
        let digits = input.iter().take(512).fold(String::new(), |mut digits, byte| {
            write!(digits, "{byte:02x}").unwrap();
            digits
        });
        eprintln!("{target} fails for {name}, kept in {}: {digits}", path.display());
        resume_unwind(panic)
    })
}
