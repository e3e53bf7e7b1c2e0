#![no_main]

use libfuzzer_sys::fuzz_target;
use tallykeep_fuzz::targets::run;

fuzz_target!(|input: &[u8]| run("batch_body", input));
