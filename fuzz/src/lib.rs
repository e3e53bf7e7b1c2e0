//! The targets that `tests/bad_input.rs` runs over the corpus, for libFuzzer to run over anything.
//! `scripts/fuzz.sh` builds and runs them.

#[path = "../../tests/bad_input/targets/mod.rs"]
pub mod targets;
